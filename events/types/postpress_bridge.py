# Generated from events/schemas by events/types/generate. Do not edit.

from __future__ import annotations

from typing import Any, Literal, NotRequired, TypeAlias, TypedDict


class ResyncOptions(TypedDict):
    """
    The options of an account's sync.
    """

    after: NotRequired[int | None]
    """
    The beginning of the time to sync, in milliseconds since 1970.
    """
    before: NotRequired[int | None]
    """
    The end of the time to sync, in milliseconds since 1970.
    """
    chunk_size: NotRequired[int | None]
    """
    How many chats make a chunk.
    """
    linkedin_product: NotRequired[Literal["classic", "recruiter", "sales_navigator"] | None]
    """
    The `LinkedIn` product.
    """
    partial: NotRequired[bool | None]
    """
    Whether the sync may be partial.
    """


class ChatTrigger(TypedDict):
    """
    The body of a trigger that names its chat.
    """

    account_id: NotRequired[None]
    action: NotRequired[Literal["sync", "cancel"] | None]
    """
    What to do: `sync`, unless it says otherwise.
    """
    after_request: NotRequired[bool | None]
    """
    Whether the sync must begin after the request: `false`, unless it says otherwise. A run in flight that began earlier is not
    joined; the trigger waits until it is over. `fresh_for_seconds` is then ignored.
    """
    chat_id: str
    """
    The chat: at most 512 bytes, no control characters, neither `.` nor `..`.
    """
    correlation_id: NotRequired[str | None]
    """
    Returned in the event: at most 256 bytes.
    """
    fresh_for_seconds: NotRequired[int | None]
    """
    If the last sync, with the same `resync`, is done, and finished at most this many seconds before the request, its event answers the
    trigger, and nothing is synced: at most 30 days.
    """
    idempotency_key: NotRequired[str | None]
    """
    Two triggers for one subject with the same key are one request: at most 256 bytes.
    """
    metadata: NotRequired[dict[str, Any] | None]
    """
    Returned in the event, byte for byte: at most 1 KiB of JSON.
    """
    resync: NotRequired[None]
    workspace: NotRequired[str | None]
    """
    The workspace, whose key and base URL the calls have; `default` if absent.
    """


class AccountTrigger(TypedDict):
    """
    The body of a trigger that names its account.
    """

    account_id: str
    """
    The account: at most 512 bytes, no control characters, neither `.` nor `..`.
    """
    action: NotRequired[Literal["sync", "cancel"] | None]
    """
    What to do: `sync`, unless it says otherwise.
    """
    after_request: NotRequired[bool | None]
    """
    Whether the sync must begin after the request: `false`, unless it says otherwise. A run in flight that began earlier is not
    joined; the trigger waits until it is over. `fresh_for_seconds` is then ignored.
    """
    chat_id: NotRequired[None]
    correlation_id: NotRequired[str | None]
    """
    Returned in the event: at most 256 bytes.
    """
    fresh_for_seconds: NotRequired[int | None]
    """
    If the last sync, with the same `resync`, is done, and finished at most this many seconds before the request, its event answers the
    trigger, and nothing is synced: at most 30 days.
    """
    idempotency_key: NotRequired[str | None]
    """
    Two triggers for one subject with the same key are one request: at most 256 bytes.
    """
    metadata: NotRequired[dict[str, Any] | None]
    """
    Returned in the event, byte for byte: at most 1 KiB of JSON.
    """
    resync: NotRequired[ResyncOptions | None]
    workspace: NotRequired[str | None]
    """
    The workspace, whose key and base URL the calls have; `default` if absent.
    """


Trigger: TypeAlias = ChatTrigger | AccountTrigger
"""
The body of a trigger, as a producer writes it. Unknown fields are ignored.
"""


EndedBy: TypeAlias = Literal["answer", "retries", "deadline", "polls", "cancelled", "fresh"]
"""
What ended the run of an event, or why the event repeats an earlier ending.
"""


class ErrorEnvelope(TypedDict):
    """
    `{title, detail?, instance?, type, status}`: "every error response follows the same envelope".
    """

    detail: NotRequired[str]
    """
    Human-readable explanation.
    """
    instance: NotRequired[str]
    """
    Request identifier for support.
    """
    status: int
    """
    HTTP status code.
    """
    title: str
    """
    Short error title.
    """
    type: str
    """
    Error type identifier: `errors/…` is postpress's, `bridge/…` is ours.
    """


FinalStatus: TypeAlias = Literal["SYNC_DONE", "SYNC_ERROR", "CHAT_DELETED"]
"""
A status of an ended sync. After `SYNC_DONE` and `SYNC_ERROR`, the next call starts the whole sync again.
"""


Origin: TypeAlias = Literal["postpress", "bridge"]
"""
Who produced an error.
"""


class AnsweredTrigger(TypedDict):
    """
    A trigger as the run table keeps it and as events contain it.
    """

    correlation_id: NotRequired[str]
    """
    The producer's own id, unchanged.
    """
    idempotency_key: NotRequired[str]
    """
    The producer's idempotency key, if it set one.
    """
    joined: bool
    """
    Whether the run was already in flight when the trigger arrived: the sync may have begun before the request.
    """
    message_id: str
    """
    The SQS message id of the message that carried it.
    """
    metadata: NotRequired[dict[str, Any]]
    """
    The producer's own data, byte for byte.
    """
    requested_at: str
    """
    When SQS accepted it.
    """


class Resync(TypedDict):
    """
    The options of an account's sync, as the trigger that started it has them.
    """

    after: NotRequired[int]
    """
    The beginning of the time to sync, in milliseconds since 1970.
    """
    before: NotRequired[int]
    """
    The end of the time to sync, in milliseconds since 1970.
    """
    chunk_size: NotRequired[int]
    """
    How many chats make a chunk.
    """
    linkedin_product: NotRequired[Literal["classic", "recruiter", "sales_navigator"]]
    """
    The `LinkedIn` product.
    """
    partial: NotRequired[bool]
    """
    Whether the sync may be partial.
    """


class ChatEnded(TypedDict):
    """
    The `detail` of SYNC_DONE, SYNC_ERROR, CHAT_DELETED: of a chat.
    """

    chat_id: str
    """
    The chat, if there is one.
    """
    ended_by: EndedBy
    """
    What ended the run, or `fresh` for a trigger that an earlier run answers.
    """
    event_id: str
    """
    Identifies the ending, however often it is published: use it to drop repeats.
    """
    finished_at: str
    """
    When the ending was decided.
    """
    object: Literal["ChatHistorySync"]
    """
    The provider's object that the sync is: `ChatHistorySync` or `AccountResync`.
    """
    polls: int
    """
    Calls made, or possibly made before a crash.
    """
    requested_at: str
    """
    When SQS accepted the run's first trigger.
    """
    restarts: int
    """
    How often `SYNC_STARTED` followed `SYNC_RUNNING`: at least so often the sync restarted.
    """
    run_id: str
    """
    The run that ended.
    """
    schema_version: Literal["1"]
    """
    The version of this schema.
    """
    status: FinalStatus
    """
    The provider's terminal status.
    """
    triggers: list[AnsweredTrigger]
    """
    The triggers that this event answers.
    """
    workspace: NotRequired[str]
    """
    The workspace, unless it is `default`.
    """


class AccountEnded(TypedDict):
    """
    The `detail` of SYNC_DONE, SYNC_ERROR, CHAT_DELETED: of an account.
    """

    account_id: str
    """
    The account, if there is one.
    """
    chunks: int
    """
    The chunks of an account's sync that were done.
    """
    ended_by: EndedBy
    """
    What ended the run, or `fresh` for a trigger that an earlier run answers.
    """
    event_id: str
    """
    Identifies the ending, however often it is published: use it to drop repeats.
    """
    finished_at: str
    """
    When the ending was decided.
    """
    object: Literal["AccountResync"]
    """
    The provider's object that the sync is: `ChatHistorySync` or `AccountResync`.
    """
    polls: int
    """
    Calls made, or possibly made before a crash.
    """
    requested_at: str
    """
    When SQS accepted the run's first trigger.
    """
    restarts: int
    """
    How often `SYNC_STARTED` followed `SYNC_RUNNING`: at least so often the sync restarted.
    """
    resync: NotRequired[Resync]
    run_id: str
    """
    The run that ended.
    """
    schema_version: Literal["1"]
    """
    The version of this schema.
    """
    status: FinalStatus
    """
    The provider's terminal status.
    """
    triggers: list[AnsweredTrigger]
    """
    The triggers that this event answers.
    """
    workspace: NotRequired[str]
    """
    The workspace, unless it is `default`.
    """


class ChatFailed(TypedDict):
    """
    The `detail` of ERROR_ENVELOPE of a run: of a chat.
    """

    chat_id: str
    """
    The chat, if there is one.
    """
    ended_by: EndedBy
    """
    What ended the run, or `fresh` for a trigger that an earlier run answers.
    """
    error: ErrorEnvelope
    """
    The error, in the provider's format.
    """
    event_id: str
    """
    Identifies the ending, however often it is published: use it to drop repeats.
    """
    finished_at: str
    """
    When the ending was decided.
    """
    object: Literal["ChatHistorySync"]
    """
    The provider's object that the sync is: `ChatHistorySync` or `AccountResync`.
    """
    origin: Origin
    """
    Who produced the error.
    """
    polls: int
    """
    Calls made, or possibly made before a crash.
    """
    requested_at: str
    """
    When SQS accepted the run's first trigger.
    """
    restarts: int
    """
    How often `SYNC_STARTED` followed `SYNC_RUNNING`: at least so often the sync restarted.
    """
    run_id: str
    """
    The run that ended.
    """
    schema_version: Literal["1"]
    """
    The version of this schema.
    """
    triggers: list[AnsweredTrigger]
    """
    The triggers that this event answers.
    """
    workspace: NotRequired[str]
    """
    The workspace, unless it is `default`.
    """


class AccountFailed(TypedDict):
    """
    The `detail` of ERROR_ENVELOPE of a run: of an account.
    """

    account_id: str
    """
    The account, if there is one.
    """
    chunks: int
    """
    The chunks of an account's sync that were done.
    """
    ended_by: EndedBy
    """
    What ended the run, or `fresh` for a trigger that an earlier run answers.
    """
    error: ErrorEnvelope
    """
    The error, in the provider's format.
    """
    event_id: str
    """
    Identifies the ending, however often it is published: use it to drop repeats.
    """
    finished_at: str
    """
    When the ending was decided.
    """
    object: Literal["AccountResync"]
    """
    The provider's object that the sync is: `ChatHistorySync` or `AccountResync`.
    """
    origin: Origin
    """
    Who produced the error.
    """
    polls: int
    """
    Calls made, or possibly made before a crash.
    """
    requested_at: str
    """
    When SQS accepted the run's first trigger.
    """
    restarts: int
    """
    How often `SYNC_STARTED` followed `SYNC_RUNNING`: at least so often the sync restarted.
    """
    resync: NotRequired[Resync]
    run_id: str
    """
    The run that ended.
    """
    schema_version: Literal["1"]
    """
    The version of this schema.
    """
    triggers: list[AnsweredTrigger]
    """
    The triggers that this event answers.
    """
    workspace: NotRequired[str]
    """
    The workspace, unless it is `default`.
    """


class ChatNotAccepted(TypedDict):
    """
    The `detail` of ERROR_ENVELOPE of a trigger that was not accepted: of a chat.
    """

    chat_id: str
    """
    The chat, if there is one.
    """
    error: ErrorEnvelope
    """
    The error, in the provider's format.
    """
    event_id: str
    """
    Identifies the ending, however often it is published: use it to drop repeats.
    """
    object: Literal["ChatHistorySync"]
    """
    The provider's object that the sync is: `ChatHistorySync` or `AccountResync`.
    """
    origin: Origin
    """
    Who produced the error.
    """
    schema_version: Literal["1"]
    """
    The version of this schema.
    """
    triggers: list[AnsweredTrigger]
    """
    The triggers that this event answers.
    """
    workspace: NotRequired[str]
    """
    The workspace, unless it is `default`.
    """


class AccountNotAccepted(TypedDict):
    """
    The `detail` of ERROR_ENVELOPE of a trigger that was not accepted: of an account.
    """

    account_id: str
    """
    The account, if there is one.
    """
    error: ErrorEnvelope
    """
    The error, in the provider's format.
    """
    event_id: str
    """
    Identifies the ending, however often it is published: use it to drop repeats.
    """
    object: Literal["AccountResync"]
    """
    The provider's object that the sync is: `ChatHistorySync` or `AccountResync`.
    """
    origin: Origin
    """
    Who produced the error.
    """
    resync: NotRequired[Resync]
    schema_version: Literal["1"]
    """
    The version of this schema.
    """
    triggers: list[AnsweredTrigger]
    """
    The triggers that this event answers.
    """
    workspace: NotRequired[str]
    """
    The workspace, unless it is `default`.
    """


class ChatUnknownWorkspace(TypedDict):
    """
    The `detail` of ERROR_ENVELOPE of a trigger whose workspace is not configured: of a chat.
    """

    chat_id: str
    """
    The chat, if there is one.
    """
    error: ErrorEnvelope
    """
    The error, in the provider's format.
    """
    event_id: str
    """
    Identifies the ending, however often it is published: use it to drop repeats.
    """
    object: Literal["ChatHistorySync"]
    """
    The provider's object that the sync is: `ChatHistorySync` or `AccountResync`.
    """
    origin: Origin
    """
    Who produced the error.
    """
    schema_version: Literal["1"]
    """
    The version of this schema.
    """
    triggers: list[AnsweredTrigger]
    """
    The triggers that this event answers.
    """
    workspace: str
    """
    The workspace, unless it is `default`.
    """


class AccountUnknownWorkspace(TypedDict):
    """
    The `detail` of ERROR_ENVELOPE of a trigger whose workspace is not configured: of an account.
    """

    account_id: str
    """
    The account, if there is one.
    """
    error: ErrorEnvelope
    """
    The error, in the provider's format.
    """
    event_id: str
    """
    Identifies the ending, however often it is published: use it to drop repeats.
    """
    object: Literal["AccountResync"]
    """
    The provider's object that the sync is: `ChatHistorySync` or `AccountResync`.
    """
    origin: Origin
    """
    Who produced the error.
    """
    resync: NotRequired[Resync]
    schema_version: Literal["1"]
    """
    The version of this schema.
    """
    triggers: list[AnsweredTrigger]
    """
    The triggers that this event answers.
    """
    workspace: str
    """
    The workspace, unless it is `default`.
    """


class ChatInvalidTrigger(TypedDict):
    """
    The `detail` of ERROR_ENVELOPE of an invalid trigger: of a chat.
    """

    chat_id: str
    """
    The chat, if there is one.
    """
    error: ErrorEnvelope
    """
    The error, in the provider's format.
    """
    event_id: str
    """
    Identifies the ending, however often it is published: use it to drop repeats.
    """
    input: str
    """
    The body of an invalid trigger, cut to 8 KiB.
    """
    object: Literal["ChatHistorySync"]
    """
    The provider's object that the sync is: `ChatHistorySync` or `AccountResync`.
    """
    origin: Origin
    """
    Who produced the error.
    """
    schema_version: Literal["1"]
    """
    The version of this schema.
    """
    triggers: list[AnsweredTrigger]
    """
    The triggers that this event answers.
    """
    truncated: NotRequired[bool]
    """
    Whether `input` was cut.
    """
    workspace: NotRequired[str]
    """
    The workspace, unless it is `default`.
    """


class AccountInvalidTrigger(TypedDict):
    """
    The `detail` of ERROR_ENVELOPE of an invalid trigger: of an account.
    """

    account_id: str
    """
    The account, if there is one.
    """
    error: ErrorEnvelope
    """
    The error, in the provider's format.
    """
    event_id: str
    """
    Identifies the ending, however often it is published: use it to drop repeats.
    """
    input: str
    """
    The body of an invalid trigger, cut to 8 KiB.
    """
    object: Literal["AccountResync"]
    """
    The provider's object that the sync is: `ChatHistorySync` or `AccountResync`.
    """
    origin: Origin
    """
    Who produced the error.
    """
    resync: NotRequired[Resync]
    schema_version: Literal["1"]
    """
    The version of this schema.
    """
    triggers: list[AnsweredTrigger]
    """
    The triggers that this event answers.
    """
    truncated: NotRequired[bool]
    """
    Whether `input` was cut.
    """
    workspace: NotRequired[str]
    """
    The workspace, unless it is `default`.
    """


class InvalidTrigger(TypedDict):
    """
    The `detail` of ERROR_ENVELOPE of an invalid trigger: of neither a chat nor an account.
    """

    error: ErrorEnvelope
    """
    The error, in the provider's format.
    """
    event_id: str
    """
    Identifies the ending, however often it is published: use it to drop repeats.
    """
    input: str
    """
    The body of an invalid trigger, cut to 8 KiB.
    """
    origin: Origin
    """
    Who produced the error.
    """
    schema_version: Literal["1"]
    """
    The version of this schema.
    """
    triggers: list[AnsweredTrigger]
    """
    The triggers that this event answers.
    """
    truncated: NotRequired[bool]
    """
    Whether `input` was cut.
    """


SyncDoneEvent = TypedDict(
    "SyncDoneEvent",
    {
        "version": Literal["0"],
        "id": str,
        "source": str,
        "account": str,
        "time": str,
        "region": str,
        "resources": list[str],
        "detail-type": Literal["SYNC_DONE"],
        "detail": ChatEnded | AccountEnded,
    },
)


SyncErrorEvent = TypedDict(
    "SyncErrorEvent",
    {
        "version": Literal["0"],
        "id": str,
        "source": str,
        "account": str,
        "time": str,
        "region": str,
        "resources": list[str],
        "detail-type": Literal["SYNC_ERROR"],
        "detail": ChatEnded | AccountEnded,
    },
)


ChatDeletedEvent = TypedDict(
    "ChatDeletedEvent",
    {
        "version": Literal["0"],
        "id": str,
        "source": str,
        "account": str,
        "time": str,
        "region": str,
        "resources": list[str],
        "detail-type": Literal["CHAT_DELETED"],
        "detail": ChatEnded | AccountEnded,
    },
)


ErrorEnvelopeEvent = TypedDict(
    "ErrorEnvelopeEvent",
    {
        "version": Literal["0"],
        "id": str,
        "source": str,
        "account": str,
        "time": str,
        "region": str,
        "resources": list[str],
        "detail-type": Literal["ERROR_ENVELOPE"],
        "detail": ChatFailed | AccountFailed | ChatNotAccepted | AccountNotAccepted | ChatUnknownWorkspace | AccountUnknownWorkspace | ChatInvalidTrigger | AccountInvalidTrigger | InvalidTrigger,
    },
)


BridgeEvent: TypeAlias = SyncDoneEvent | SyncErrorEvent | ChatDeletedEvent | ErrorEnvelopeEvent
"""
Any event of the bridge: its `detail-type` tells which.
"""


Message: TypeAlias = Trigger | BridgeEvent
"""
What goes in, a trigger, and what comes out, an event.
"""
