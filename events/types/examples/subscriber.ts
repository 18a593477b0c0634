// A subscriber on Lambda, the target of an EventBridge rule: records in a table how each sync ended.
//
// EventBridge may deliver an ending twice, always with the same event_id. That is the table's key, and what is recorded is
// written only if it is new: a repeat changes nothing, and an ending whose write fails is delivered again.

import { ConditionalCheckFailedException, DynamoDBClient, PutItemCommand } from "@aws-sdk/client-dynamodb";
import type { BridgeEvent } from "../postpress-bridge.js";

const dynamodb = new DynamoDBClient();

/** How the sync ended, in one line. The compiler knows the fields of each kind of event, and that no kind is missing. */
export function summary(event: BridgeEvent): string {
  switch (event["detail-type"]) {
    case "SYNC_DONE":
      return event.detail.ended_by === "fresh" ? "an earlier sync is fresh enough" : `done in ${event.detail.polls} calls`;
    case "SYNC_ERROR":
      return `postpress gave up after ${event.detail.polls} calls`;
    case "CHAT_DELETED":
      return "the chat no longer exists";
    case "ERROR_ENVELOPE":
      return `${event.detail.error.type}: ${event.detail.error.detail ?? event.detail.error.title}`;
  }
}

export async function handler(event: BridgeEvent): Promise<void> {
  const { event_id, triggers, chat_id, account_id } = event.detail;
  const item = {
    event_id: { S: event_id },
    subject: { S: chat_id ?? account_id ?? "unknown" },
    summary: { S: summary(event) },
    answers: { L: triggers.map((trigger) => ({ S: trigger.correlation_id ?? trigger.message_id })) },
  };
  const record = new PutItemCommand({
    TableName: process.env["TABLE"],
    Item: item,
    ConditionExpression: "attribute_not_exists(event_id)",
  });
  try {
    await dynamodb.send(record);
  } catch (error) {
    if (!(error instanceof ConditionalCheckFailedException)) throw error;
    console.log(`${event_id} is a repeat`);
  }
}
