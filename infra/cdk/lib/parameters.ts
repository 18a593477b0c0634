// Generated from template.yaml by `npm run parameters`. Do not edit.

/** The parameters of the template. Those left out have the template's defaults. */
export interface BridgeParameters {
  /** What /chats/{chat_id}/sync is appended to. `postpress-bridge doctor` checks it. Default: https://api.postpress.ai/v1. */
  readonly postpressBaseUrl?: string;
  /** ARN of the Secrets Manager secret that holds the API key, or ARN#field for a field of a JSON secret. Empty: the stack creates a secret, and you put the key into it (output ApiKeySecretArn). */
  readonly apiKeySecretId?: string;
  /** ARN of the Secrets Manager secret that holds the keys and base URLs of other workspaces, or ARN#field for a field of a JSON secret. Empty: there is only the default workspace. docs/reference/settings.md describes its content. */
  readonly workspacesSecretId?: string;
  /** Time limit of one call to the provider. The function's timeout and the queue's visibility timeout follow from it. Default: 10. */
  readonly callTimeoutSeconds?: 5 | 10 | 20 | 30;
  /** The most concurrent invocations of the worker, each with one batch. It limits the load on the provider, which sees at most this times BatchSize concurrent calls. Default: 10. */
  readonly maximumConcurrency?: number;
  /** The most calls a second to the provider, all invocations together: what your key allows. Empty: only the provider's 429s slow the calls. */
  readonly callsPerSecond?: string;
  /** How many of these calls may begin at once after a pause. Empty: those of one second. */
  readonly callsBurst?: string;
  /** The delay after the first call. Default: 5. */
  readonly pollInitialSeconds?: number;
  /** Growth of the delay from one call to the next; at least 1. Default: 1.5. */
  readonly pollFactor?: string;
  /** The longest delay. SQS allows at most 900 s. Default: 300. */
  readonly pollMaxSeconds?: number;
  /** How long a run may last before it ends as bridge/deadline_exceeded. Default: 86400. */
  readonly runDeadlineSeconds?: number;
  /** How many calls a run may make. Together with RunDeadlineSeconds it stops loops, because Lambda's loop detection has to be off. Default: 1000. */
  readonly maxPolls?: number;
  /** The number of calls above which a run triggers an alarm. With the default schedule a whole day takes about 330 at most; raise it if you poll faster. Default: 400. */
  readonly longRunPolls?: number;
  /** How long failures in a row may last. Default: 3600. */
  readonly retrySeconds?: number;
  /** How long after a run's first call an account that is not connected may still be connecting. 0 ends the run at once. Default: 120. */
  readonly connectGraceSeconds?: number;
  /** ARNs of the EventBridge rules and SNS topics that put triggers on the queue; wildcards are allowed. A program with an IAM role needs no entry here, only sqs:SendMessage in its own policy. */
  readonly producerArns?: readonly string[];
  /** Name of an event bus that exists in this account and region. Empty: the stack creates one. If the bus does not exist, EventBridge reports success and drops the event. */
  readonly eventBusName?: string;
  /** The `source` of the events. An event with this source is never treated as a trigger. Default: postpress.bridge. */
  readonly eventSource?: string;
  /** How long the archive keeps the events for replays. Default: 30. */
  readonly archiveRetentionDays?: number;
  /** signature: a Standard Webhooks signature or a bearer token, whose secrets the stack creates. iam: the function's URL requires AWS credentials instead. Default: signature. */
  readonly webhookAuth?: "signature" | "iam";
  /** The processor architecture. arm64 is a fifth cheaper. Default: arm64. */
  readonly architecture?: "arm64" | "x86_64";
  /** Memory of each function, which also determines its CPU share. The worker mostly waits, so more memory costs more and is hardly faster. Default: 128. */
  readonly memoryMegabytes?: number;
  /** The most messages of one invocation, all of which call the provider concurrently. More than 10 need a batch window. Default: 10. */
  readonly batchSize?: number;
  /** How long to wait for a batch to fill. Full batches cost less than half of single messages, but each trigger waits longer. Default: 5. */
  readonly batchWindowSeconds?: number;
  /** How often the worker looks for lost runs. An alarm goes off after half an hour without a completed sweep. Default: 5. */
  readonly sweepEveryMinutes?: number;
  /** How long logs are kept. Default: 30. */
  readonly logRetentionDays?: 1 | 3 | 5 | 7 | 14 | 30 | 60 | 90 | 120 | 150 | 180 | 365 | 400 | 545 | 731 | 1096 | 1827 | 3653;
  /** A `tracing` filter. At `info` a run logs its start and its end, and no line per poll. Default: info. */
  readonly logFilter?: string;
  /** Active: Lambda traces a request per second and a twentieth of the rest with X-Ray, which at low traffic is nearly every invocation, at 5 USD a million traces. PassThrough: it traces those whose sender does. Default: PassThrough. */
  readonly tracing?: "Active" | "PassThrough";
  /** SNS topic that the alarms notify. Empty: they only change their state. */
  readonly alarmTopicArn?: string;
  /** Your KMS key for queues, table and secrets. Empty: keys that AWS owns or manages. Its policy must delegate to this account's IAM policies, as a new key's policy does; with ProducerArns it must let events.amazonaws.com and sns.amazonaws.com use it too. */
  readonly kmsKeyArn?: string;
  /** Your KMS key of the secrets in ApiKeySecretId and WorkspacesSecretId, if they have one. Its policy must delegate to this account's IAM policies, as a new key's policy does. Empty: KmsKeyArn, or Secrets Manager's own key, which needs no permission. */
  readonly secretsKmsKeyArn?: string;
  /** Concurrency reserved for the webhook, and its limit: a flood of requests then cannot throttle the worker. 0: no reservation, because an account must keep 100 unreserved (10 in a new account, which therefore cannot reserve any). Default: 0. */
  readonly webhookConcurrency?: number;
  /** Write units a second that the run table and its index can serve at once (warm throughput), at least 4000, for a first load above the 4,000 of a new table. It is charged once and cannot be lowered. 0: the initial one. Default: 0. */
  readonly tableWarmWrites?: string;
  /** Provisioned capacity of the run table, which costs about half as much for steady traffic of a million syncs a month or more: write units a second of the table, write units of its index, read units of the table, read units of its index, as `postpress-bridge plan --provisioned` prints them. Traffic above it is throttled: endings come late, and after hours of it messages become dead letters. 0,0,0,0: on demand. Default: 0,0,0,0. */
  readonly tableCapacity?: string;
}
