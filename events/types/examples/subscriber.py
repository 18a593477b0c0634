"""A subscriber on Lambda, the target of an EventBridge rule: records in a table how each sync ended.

EventBridge may deliver an ending twice, always with the same event_id. That is the table's key, and what is recorded is
written only if it is new: a repeat changes nothing, and an ending whose write fails is delivered again.
"""

import os
from typing import assert_never

import boto3

from postpress_bridge import BridgeEvent

dynamodb = boto3.client("dynamodb")


def summary(event: BridgeEvent) -> str:
    """How the sync ended, in one line. mypy knows the fields of each kind of event, and that no kind is missing."""
    if event["detail-type"] == "SYNC_DONE":
        if event["detail"]["ended_by"] == "fresh":
            return "an earlier sync is fresh enough"
        return f"done in {event['detail']['polls']} calls"
    if event["detail-type"] == "SYNC_ERROR":
        return f"postpress gave up after {event['detail']['polls']} calls"
    if event["detail-type"] == "CHAT_DELETED":
        return "the chat no longer exists"
    if event["detail-type"] == "ERROR_ENVELOPE":
        error = event["detail"]["error"]
        return f"{error['type']}: {error.get('detail', error['title'])}"
    assert_never(event)


def handler(event: BridgeEvent, context: object) -> None:
    detail = event["detail"]
    answers = [trigger.get("correlation_id", trigger["message_id"]) for trigger in detail["triggers"]]
    try:
        dynamodb.put_item(
            TableName=os.environ["TABLE"],
            Item={
                "event_id": {"S": detail["event_id"]},
                # The id of the chat or account; an invalid trigger may have none.
                "subject": {"S": next(iter(event["resources"]), "unknown")},
                "summary": {"S": summary(event)},
                "answers": {"L": [{"S": answer} for answer in answers]},
            },
            ConditionExpression="attribute_not_exists(event_id)",
        )
    except dynamodb.exceptions.ConditionalCheckFailedException:
        print(f"{detail['event_id']} is a repeat")
