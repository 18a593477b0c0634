// Generated from events/schemas by events/types/generate. Do not edit.

/**
 * What goes in, a trigger, and what comes out, an event.
 */
export type Message = Trigger | BridgeEvent;
/**
 * The body of a trigger, as a producer writes it. Unknown fields are ignored.
 */
export type Trigger = ChatTrigger | AccountTrigger;
/**
 * Any event of the bridge: its `detail-type` tells which.
 */
export type BridgeEvent = SyncDoneEvent | SyncErrorEvent | ChatDeletedEvent | ErrorEnvelopeEvent;

/**
 * The body of a trigger that names its chat.
 */
export interface ChatTrigger {
  account_id?: null;
  /**
   * What to do: `sync`, unless it says otherwise.
   */
  action?: ("sync" | "cancel") | null;
  /**
   * Whether the sync must begin after the request: `false`, unless it says otherwise. A run in flight that began earlier is not
   * joined; the trigger waits until it is over. `fresh_for_seconds` is then ignored.
   */
  after_request?: boolean | null;
  /**
   * The chat: at most 512 bytes, no control characters, neither `.` nor `..`.
   */
  chat_id: string;
  /**
   * Returned in the event: at most 256 bytes.
   */
  correlation_id?: string | null;
  /**
   * If the last sync, with the same `resync`, is done, and finished at most this many seconds before the request, its event answers the
   * trigger, and nothing is synced: at most 30 days.
   */
  fresh_for_seconds?: number | null;
  /**
   * Two triggers for one subject with the same key are one request: at most 256 bytes.
   */
  idempotency_key?: string | null;
  /**
   * Returned in the event, byte for byte: at most 1 KiB of JSON.
   */
  metadata?: {
    [k: string]: unknown;
  } | null;
  resync?: null;
  /**
   * The workspace, whose key and base URL the calls have; `default` if absent.
   */
  workspace?: string | null;
}
/**
 * The body of a trigger that names its account.
 */
export interface AccountTrigger {
  /**
   * The account: at most 512 bytes, no control characters, neither `.` nor `..`.
   */
  account_id: string;
  /**
   * What to do: `sync`, unless it says otherwise.
   */
  action?: ("sync" | "cancel") | null;
  /**
   * Whether the sync must begin after the request: `false`, unless it says otherwise. A run in flight that began earlier is not
   * joined; the trigger waits until it is over. `fresh_for_seconds` is then ignored.
   */
  after_request?: boolean | null;
  chat_id?: null;
  /**
   * Returned in the event: at most 256 bytes.
   */
  correlation_id?: string | null;
  /**
   * If the last sync, with the same `resync`, is done, and finished at most this many seconds before the request, its event answers the
   * trigger, and nothing is synced: at most 30 days.
   */
  fresh_for_seconds?: number | null;
  /**
   * Two triggers for one subject with the same key are one request: at most 256 bytes.
   */
  idempotency_key?: string | null;
  /**
   * Returned in the event, byte for byte: at most 1 KiB of JSON.
   */
  metadata?: {
    [k: string]: unknown;
  } | null;
  resync?: ResyncOptions | null;
  /**
   * The workspace, whose key and base URL the calls have; `default` if absent.
   */
  workspace?: string | null;
}
/**
 * The options of an account's sync.
 */
export interface ResyncOptions {
  /**
   * The beginning of the time to sync, in milliseconds since 1970.
   */
  after?: number | null;
  /**
   * The end of the time to sync, in milliseconds since 1970.
   */
  before?: number | null;
  /**
   * How many chats make a chunk.
   */
  chunk_size?: number | null;
  /**
   * The `LinkedIn` product.
   */
  linkedin_product?: "classic" | "recruiter" | "sales_navigator" | null;
  /**
   * Whether the sync may be partial.
   */
  partial?: boolean | null;
}
/**
 * An event with the detail-type SYNC_DONE.
 */
export interface SyncDoneEvent {
  version: "0";
  /**
   * EventBridge's own id. A repeat has another one: compare `event_id`.
   */
  id: string;
  /**
   * `postpress.bridge`, or the value of `BRIDGE_EVENT_SOURCE`.
   */
  source: string;
  /**
   * The AWS account.
   */
  account: string;
  time: string;
  region: string;
  /**
   * The id of the chat or account, if there is one.
   */
  resources: string[];
  "detail-type": "SYNC_DONE";
  detail: ChatEnded | AccountEnded;
}
/**
 * The `detail` of SYNC_DONE, SYNC_ERROR, CHAT_DELETED: of a chat.
 */
export interface ChatEnded {
  account_id?: never;
  /**
   * The chat, if there is one.
   */
  chat_id: string;
  chunks?: never;
  /**
   * What ended the run, or `fresh` for a trigger that an earlier run answers.
   */
  ended_by: "answer" | "retries" | "deadline" | "polls" | "cancelled" | "fresh";
  error?: never;
  /**
   * Identifies the ending, however often it is published: use it to drop repeats.
   */
  event_id: string;
  /**
   * When the ending was decided.
   */
  finished_at: string;
  input?: never;
  /**
   * The provider's object that the sync is: `ChatHistorySync` or `AccountResync`.
   */
  object: "ChatHistorySync";
  origin?: never;
  /**
   * Calls made, or possibly made before a crash.
   */
  polls: number;
  /**
   * When SQS accepted the run's first trigger.
   */
  requested_at: string;
  /**
   * How often `SYNC_STARTED` followed `SYNC_RUNNING`: at least so often the sync restarted.
   */
  restarts: number;
  resync?: never;
  /**
   * The run that ended.
   */
  run_id: string;
  /**
   * The version of this schema.
   */
  schema_version: "1";
  /**
   * The provider's terminal status.
   */
  status: "SYNC_DONE" | "SYNC_ERROR" | "CHAT_DELETED";
  /**
   * The triggers that this event answers.
   */
  triggers: AnsweredTrigger[];
  truncated?: never;
  /**
   * The workspace, unless it is `default`.
   */
  workspace?: string;
}
/**
 * A trigger as the run table keeps it and as events contain it.
 */
export interface AnsweredTrigger {
  /**
   * The producer's own id, unchanged.
   */
  correlation_id?: string;
  /**
   * The producer's idempotency key, if it set one.
   */
  idempotency_key?: string;
  /**
   * Whether the run was already in flight when the trigger arrived: the sync may have begun before the request.
   */
  joined: boolean;
  /**
   * The SQS message id of the message that carried it.
   */
  message_id: string;
  /**
   * The producer's own data, byte for byte.
   */
  metadata?: {
    [k: string]: unknown;
  };
  /**
   * When SQS accepted it.
   */
  requested_at: string;
}
/**
 * The `detail` of SYNC_DONE, SYNC_ERROR, CHAT_DELETED: of an account.
 */
export interface AccountEnded {
  /**
   * The account, if there is one.
   */
  account_id: string;
  chat_id?: never;
  /**
   * The chunks of an account's sync that were done.
   */
  chunks: number;
  /**
   * What ended the run, or `fresh` for a trigger that an earlier run answers.
   */
  ended_by: "answer" | "retries" | "deadline" | "polls" | "cancelled" | "fresh";
  error?: never;
  /**
   * Identifies the ending, however often it is published: use it to drop repeats.
   */
  event_id: string;
  /**
   * When the ending was decided.
   */
  finished_at: string;
  input?: never;
  /**
   * The provider's object that the sync is: `ChatHistorySync` or `AccountResync`.
   */
  object: "AccountResync";
  origin?: never;
  /**
   * Calls made, or possibly made before a crash.
   */
  polls: number;
  /**
   * When SQS accepted the run's first trigger.
   */
  requested_at: string;
  /**
   * How often `SYNC_STARTED` followed `SYNC_RUNNING`: at least so often the sync restarted.
   */
  restarts: number;
  resync?: Resync;
  /**
   * The run that ended.
   */
  run_id: string;
  /**
   * The version of this schema.
   */
  schema_version: "1";
  /**
   * The provider's terminal status.
   */
  status: "SYNC_DONE" | "SYNC_ERROR" | "CHAT_DELETED";
  /**
   * The triggers that this event answers.
   */
  triggers: AnsweredTrigger[];
  truncated?: never;
  /**
   * The workspace, unless it is `default`.
   */
  workspace?: string;
}
/**
 * The options of an account's sync, as the trigger that started it has them.
 */
export interface Resync {
  /**
   * The beginning of the time to sync, in milliseconds since 1970.
   */
  after?: number;
  /**
   * The end of the time to sync, in milliseconds since 1970.
   */
  before?: number;
  /**
   * How many chats make a chunk.
   */
  chunk_size?: number;
  /**
   * The `LinkedIn` product.
   */
  linkedin_product?: "classic" | "recruiter" | "sales_navigator";
  /**
   * Whether the sync may be partial.
   */
  partial?: boolean;
}
/**
 * An event with the detail-type SYNC_ERROR.
 */
export interface SyncErrorEvent {
  version: "0";
  /**
   * EventBridge's own id. A repeat has another one: compare `event_id`.
   */
  id: string;
  /**
   * `postpress.bridge`, or the value of `BRIDGE_EVENT_SOURCE`.
   */
  source: string;
  /**
   * The AWS account.
   */
  account: string;
  time: string;
  region: string;
  /**
   * The id of the chat or account, if there is one.
   */
  resources: string[];
  "detail-type": "SYNC_ERROR";
  detail: ChatEnded | AccountEnded;
}
/**
 * An event with the detail-type CHAT_DELETED.
 */
export interface ChatDeletedEvent {
  version: "0";
  /**
   * EventBridge's own id. A repeat has another one: compare `event_id`.
   */
  id: string;
  /**
   * `postpress.bridge`, or the value of `BRIDGE_EVENT_SOURCE`.
   */
  source: string;
  /**
   * The AWS account.
   */
  account: string;
  time: string;
  region: string;
  /**
   * The id of the chat or account, if there is one.
   */
  resources: string[];
  "detail-type": "CHAT_DELETED";
  detail: ChatEnded | AccountEnded;
}
/**
 * An event with the detail-type ERROR_ENVELOPE.
 */
export interface ErrorEnvelopeEvent {
  version: "0";
  /**
   * EventBridge's own id. A repeat has another one: compare `event_id`.
   */
  id: string;
  /**
   * `postpress.bridge`, or the value of `BRIDGE_EVENT_SOURCE`.
   */
  source: string;
  /**
   * The AWS account.
   */
  account: string;
  time: string;
  region: string;
  /**
   * The id of the chat or account, if there is one.
   */
  resources: string[];
  "detail-type": "ERROR_ENVELOPE";
  detail:
    | ChatFailed
    | AccountFailed
    | ChatNotAccepted
    | AccountNotAccepted
    | ChatUnknownWorkspace
    | AccountUnknownWorkspace
    | ChatInvalidTrigger
    | AccountInvalidTrigger
    | InvalidTrigger;
}
/**
 * The `detail` of ERROR_ENVELOPE of a run: of a chat.
 */
export interface ChatFailed {
  account_id?: never;
  /**
   * The chat, if there is one.
   */
  chat_id: string;
  chunks?: never;
  /**
   * What ended the run, or `fresh` for a trigger that an earlier run answers.
   */
  ended_by: "answer" | "retries" | "deadline" | "polls" | "cancelled" | "fresh";
  error: ErrorEnvelope;
  /**
   * Identifies the ending, however often it is published: use it to drop repeats.
   */
  event_id: string;
  /**
   * When the ending was decided.
   */
  finished_at: string;
  input?: never;
  /**
   * The provider's object that the sync is: `ChatHistorySync` or `AccountResync`.
   */
  object: "ChatHistorySync";
  /**
   * Who produced the error.
   */
  origin: "postpress" | "bridge";
  /**
   * Calls made, or possibly made before a crash.
   */
  polls: number;
  /**
   * When SQS accepted the run's first trigger.
   */
  requested_at: string;
  /**
   * How often `SYNC_STARTED` followed `SYNC_RUNNING`: at least so often the sync restarted.
   */
  restarts: number;
  resync?: never;
  /**
   * The run that ended.
   */
  run_id: string;
  /**
   * The version of this schema.
   */
  schema_version: "1";
  status?: never;
  /**
   * The triggers that this event answers.
   */
  triggers: AnsweredTrigger[];
  truncated?: never;
  /**
   * The workspace, unless it is `default`.
   */
  workspace?: string;
}
/**
 * The error, in the provider's format.
 */
export interface ErrorEnvelope {
  /**
   * Human-readable explanation.
   */
  detail?: string;
  /**
   * Request identifier for support.
   */
  instance?: string;
  /**
   * HTTP status code.
   */
  status: number;
  /**
   * Short error title.
   */
  title: string;
  /**
   * Error type identifier: `errors/…` is postpress's, `bridge/…` is ours.
   */
  type: string;
}
/**
 * The `detail` of ERROR_ENVELOPE of a run: of an account.
 */
export interface AccountFailed {
  /**
   * The account, if there is one.
   */
  account_id: string;
  chat_id?: never;
  /**
   * The chunks of an account's sync that were done.
   */
  chunks: number;
  /**
   * What ended the run, or `fresh` for a trigger that an earlier run answers.
   */
  ended_by: "answer" | "retries" | "deadline" | "polls" | "cancelled" | "fresh";
  error: ErrorEnvelope1;
  /**
   * Identifies the ending, however often it is published: use it to drop repeats.
   */
  event_id: string;
  /**
   * When the ending was decided.
   */
  finished_at: string;
  input?: never;
  /**
   * The provider's object that the sync is: `ChatHistorySync` or `AccountResync`.
   */
  object: "AccountResync";
  /**
   * Who produced the error.
   */
  origin: "postpress" | "bridge";
  /**
   * Calls made, or possibly made before a crash.
   */
  polls: number;
  /**
   * When SQS accepted the run's first trigger.
   */
  requested_at: string;
  /**
   * How often `SYNC_STARTED` followed `SYNC_RUNNING`: at least so often the sync restarted.
   */
  restarts: number;
  resync?: Resync;
  /**
   * The run that ended.
   */
  run_id: string;
  /**
   * The version of this schema.
   */
  schema_version: "1";
  status?: never;
  /**
   * The triggers that this event answers.
   */
  triggers: AnsweredTrigger[];
  truncated?: never;
  /**
   * The workspace, unless it is `default`.
   */
  workspace?: string;
}
/**
 * The error, in the provider's format.
 */
export interface ErrorEnvelope1 {
  /**
   * Human-readable explanation.
   */
  detail?: string;
  /**
   * Request identifier for support.
   */
  instance?: string;
  /**
   * HTTP status code.
   */
  status: number;
  /**
   * Short error title.
   */
  title: string;
  /**
   * Error type identifier: `errors/…` is postpress's, `bridge/…` is ours.
   */
  type: string;
}
/**
 * The `detail` of ERROR_ENVELOPE of a trigger that was not accepted: of a chat.
 */
export interface ChatNotAccepted {
  account_id?: never;
  /**
   * The chat, if there is one.
   */
  chat_id: string;
  chunks?: never;
  ended_by?: never;
  error: ErrorEnvelope2;
  /**
   * Identifies the ending, however often it is published: use it to drop repeats.
   */
  event_id: string;
  finished_at?: never;
  input?: never;
  /**
   * The provider's object that the sync is: `ChatHistorySync` or `AccountResync`.
   */
  object: "ChatHistorySync";
  /**
   * Who produced the error.
   */
  origin: "postpress" | "bridge";
  polls?: never;
  requested_at?: never;
  restarts?: never;
  resync?: never;
  run_id?: never;
  /**
   * The version of this schema.
   */
  schema_version: "1";
  status?: never;
  /**
   * The triggers that this event answers.
   */
  triggers: AnsweredTrigger[];
  truncated?: never;
  /**
   * The workspace, unless it is `default`.
   */
  workspace?: string;
}
/**
 * The error, in the provider's format.
 */
export interface ErrorEnvelope2 {
  /**
   * Human-readable explanation.
   */
  detail?: string;
  /**
   * Request identifier for support.
   */
  instance?: string;
  /**
   * HTTP status code.
   */
  status: number;
  /**
   * Short error title.
   */
  title: string;
  /**
   * Error type identifier: `errors/…` is postpress's, `bridge/…` is ours.
   */
  type: string;
}
/**
 * The `detail` of ERROR_ENVELOPE of a trigger that was not accepted: of an account.
 */
export interface AccountNotAccepted {
  /**
   * The account, if there is one.
   */
  account_id: string;
  chat_id?: never;
  chunks?: never;
  ended_by?: never;
  error: ErrorEnvelope3;
  /**
   * Identifies the ending, however often it is published: use it to drop repeats.
   */
  event_id: string;
  finished_at?: never;
  input?: never;
  /**
   * The provider's object that the sync is: `ChatHistorySync` or `AccountResync`.
   */
  object: "AccountResync";
  /**
   * Who produced the error.
   */
  origin: "postpress" | "bridge";
  polls?: never;
  requested_at?: never;
  restarts?: never;
  resync?: Resync;
  run_id?: never;
  /**
   * The version of this schema.
   */
  schema_version: "1";
  status?: never;
  /**
   * The triggers that this event answers.
   */
  triggers: AnsweredTrigger[];
  truncated?: never;
  /**
   * The workspace, unless it is `default`.
   */
  workspace?: string;
}
/**
 * The error, in the provider's format.
 */
export interface ErrorEnvelope3 {
  /**
   * Human-readable explanation.
   */
  detail?: string;
  /**
   * Request identifier for support.
   */
  instance?: string;
  /**
   * HTTP status code.
   */
  status: number;
  /**
   * Short error title.
   */
  title: string;
  /**
   * Error type identifier: `errors/…` is postpress's, `bridge/…` is ours.
   */
  type: string;
}
/**
 * The `detail` of ERROR_ENVELOPE of a trigger whose workspace is not configured: of a chat.
 */
export interface ChatUnknownWorkspace {
  account_id?: never;
  /**
   * The chat, if there is one.
   */
  chat_id: string;
  chunks?: never;
  ended_by?: never;
  error: ErrorEnvelope4;
  /**
   * Identifies the ending, however often it is published: use it to drop repeats.
   */
  event_id: string;
  finished_at?: never;
  input?: never;
  /**
   * The provider's object that the sync is: `ChatHistorySync` or `AccountResync`.
   */
  object: "ChatHistorySync";
  /**
   * Who produced the error.
   */
  origin: "postpress" | "bridge";
  polls?: never;
  requested_at?: never;
  restarts?: never;
  resync?: never;
  run_id?: never;
  /**
   * The version of this schema.
   */
  schema_version: "1";
  status?: never;
  /**
   * The triggers that this event answers.
   */
  triggers: AnsweredTrigger[];
  truncated?: never;
  /**
   * The workspace, unless it is `default`.
   */
  workspace: string;
}
/**
 * The error, in the provider's format.
 */
export interface ErrorEnvelope4 {
  /**
   * Human-readable explanation.
   */
  detail?: string;
  /**
   * Request identifier for support.
   */
  instance?: string;
  /**
   * HTTP status code.
   */
  status: number;
  /**
   * Short error title.
   */
  title: string;
  /**
   * Error type identifier: `errors/…` is postpress's, `bridge/…` is ours.
   */
  type: string;
}
/**
 * The `detail` of ERROR_ENVELOPE of a trigger whose workspace is not configured: of an account.
 */
export interface AccountUnknownWorkspace {
  /**
   * The account, if there is one.
   */
  account_id: string;
  chat_id?: never;
  chunks?: never;
  ended_by?: never;
  error: ErrorEnvelope5;
  /**
   * Identifies the ending, however often it is published: use it to drop repeats.
   */
  event_id: string;
  finished_at?: never;
  input?: never;
  /**
   * The provider's object that the sync is: `ChatHistorySync` or `AccountResync`.
   */
  object: "AccountResync";
  /**
   * Who produced the error.
   */
  origin: "postpress" | "bridge";
  polls?: never;
  requested_at?: never;
  restarts?: never;
  resync?: Resync;
  run_id?: never;
  /**
   * The version of this schema.
   */
  schema_version: "1";
  status?: never;
  /**
   * The triggers that this event answers.
   */
  triggers: AnsweredTrigger[];
  truncated?: never;
  /**
   * The workspace, unless it is `default`.
   */
  workspace: string;
}
/**
 * The error, in the provider's format.
 */
export interface ErrorEnvelope5 {
  /**
   * Human-readable explanation.
   */
  detail?: string;
  /**
   * Request identifier for support.
   */
  instance?: string;
  /**
   * HTTP status code.
   */
  status: number;
  /**
   * Short error title.
   */
  title: string;
  /**
   * Error type identifier: `errors/…` is postpress's, `bridge/…` is ours.
   */
  type: string;
}
/**
 * The `detail` of ERROR_ENVELOPE of an invalid trigger: of a chat.
 */
export interface ChatInvalidTrigger {
  account_id?: never;
  /**
   * The chat, if there is one.
   */
  chat_id: string;
  chunks?: never;
  ended_by?: never;
  error: ErrorEnvelope6;
  /**
   * Identifies the ending, however often it is published: use it to drop repeats.
   */
  event_id: string;
  finished_at?: never;
  /**
   * The body of an invalid trigger, cut to 8 KiB.
   */
  input: string;
  /**
   * The provider's object that the sync is: `ChatHistorySync` or `AccountResync`.
   */
  object: "ChatHistorySync";
  /**
   * Who produced the error.
   */
  origin: "postpress" | "bridge";
  polls?: never;
  requested_at?: never;
  restarts?: never;
  resync?: never;
  run_id?: never;
  /**
   * The version of this schema.
   */
  schema_version: "1";
  status?: never;
  /**
   * The triggers that this event answers.
   */
  triggers: AnsweredTrigger[];
  /**
   * Whether `input` was cut.
   */
  truncated?: boolean;
  /**
   * The workspace, unless it is `default`.
   */
  workspace?: string;
}
/**
 * The error, in the provider's format.
 */
export interface ErrorEnvelope6 {
  /**
   * Human-readable explanation.
   */
  detail?: string;
  /**
   * Request identifier for support.
   */
  instance?: string;
  /**
   * HTTP status code.
   */
  status: number;
  /**
   * Short error title.
   */
  title: string;
  /**
   * Error type identifier: `errors/…` is postpress's, `bridge/…` is ours.
   */
  type: string;
}
/**
 * The `detail` of ERROR_ENVELOPE of an invalid trigger: of an account.
 */
export interface AccountInvalidTrigger {
  /**
   * The account, if there is one.
   */
  account_id: string;
  chat_id?: never;
  chunks?: never;
  ended_by?: never;
  error: ErrorEnvelope7;
  /**
   * Identifies the ending, however often it is published: use it to drop repeats.
   */
  event_id: string;
  finished_at?: never;
  /**
   * The body of an invalid trigger, cut to 8 KiB.
   */
  input: string;
  /**
   * The provider's object that the sync is: `ChatHistorySync` or `AccountResync`.
   */
  object: "AccountResync";
  /**
   * Who produced the error.
   */
  origin: "postpress" | "bridge";
  polls?: never;
  requested_at?: never;
  restarts?: never;
  resync?: Resync;
  run_id?: never;
  /**
   * The version of this schema.
   */
  schema_version: "1";
  status?: never;
  /**
   * The triggers that this event answers.
   */
  triggers: AnsweredTrigger[];
  /**
   * Whether `input` was cut.
   */
  truncated?: boolean;
  /**
   * The workspace, unless it is `default`.
   */
  workspace?: string;
}
/**
 * The error, in the provider's format.
 */
export interface ErrorEnvelope7 {
  /**
   * Human-readable explanation.
   */
  detail?: string;
  /**
   * Request identifier for support.
   */
  instance?: string;
  /**
   * HTTP status code.
   */
  status: number;
  /**
   * Short error title.
   */
  title: string;
  /**
   * Error type identifier: `errors/…` is postpress's, `bridge/…` is ours.
   */
  type: string;
}
/**
 * The `detail` of ERROR_ENVELOPE of an invalid trigger: of neither a chat nor an account.
 */
export interface InvalidTrigger {
  account_id?: never;
  chat_id?: never;
  chunks?: never;
  ended_by?: never;
  error: ErrorEnvelope8;
  /**
   * Identifies the ending, however often it is published: use it to drop repeats.
   */
  event_id: string;
  finished_at?: never;
  /**
   * The body of an invalid trigger, cut to 8 KiB.
   */
  input: string;
  object?: never;
  /**
   * Who produced the error.
   */
  origin: "postpress" | "bridge";
  polls?: never;
  requested_at?: never;
  restarts?: never;
  resync?: never;
  run_id?: never;
  /**
   * The version of this schema.
   */
  schema_version: "1";
  status?: never;
  /**
   * The triggers that this event answers.
   */
  triggers: AnsweredTrigger[];
  /**
   * Whether `input` was cut.
   */
  truncated?: boolean;
  workspace?: never;
}
/**
 * The error, in the provider's format.
 */
export interface ErrorEnvelope8 {
  /**
   * Human-readable explanation.
   */
  detail?: string;
  /**
   * Request identifier for support.
   */
  instance?: string;
  /**
   * HTTP status code.
   */
  status: number;
  /**
   * Short error title.
   */
  title: string;
  /**
   * Error type identifier: `errors/…` is postpress's, `bridge/…` is ours.
   */
  type: string;
}
