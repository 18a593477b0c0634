//! AWS's list prices and quotas: us-east-1, November 2026, in USD, without any free tier. The only place that has them.
//!
//! Prices change rarely and quotas can be raised. Both differ by region: quotas of EventBridge are a tenth of these in small
//! regions.

/// When the prices and quotas were gathered.
pub const AS_OF: &str = "November 2026";
/// Where they apply.
pub const REGION: &str = "us-east-1";

/// Seconds of a month: 730 hours, as [AWS's calculator](https://calculator.aws/) counts.
pub const MONTH_SECONDS: f64 = 730.0 * 3600.0;
/// Bytes of a GB, as AWS bills storage, logs and memory.
pub const GB: f64 = 1024.0 * 1024.0 * 1024.0;

const MILLION: f64 = 1e6;

/// [Lambda](https://aws.amazon.com/lambda/pricing/): one request.
pub const LAMBDA_REQUEST: f64 = 0.20 / MILLION;
/// [Lambda](https://aws.amazon.com/lambda/pricing/): a GB-second on arm64, first tier.
pub const LAMBDA_GB_SECOND: f64 = 0.000_013_333_4;

/// [SQS](https://aws.amazon.com/sqs/pricing/): one request of a standard queue, of up to ten messages and 64 KB.
pub const SQS_REQUEST: f64 = 0.40 / MILLION;

/// [DynamoDB on demand](https://aws.amazon.com/dynamodb/pricing/on-demand/): a write request unit (1 KB).
pub const DYNAMODB_WRITE: f64 = 0.625 / MILLION;
/// [DynamoDB on demand](https://aws.amazon.com/dynamodb/pricing/on-demand/): a read request unit (4 KB, strongly consistent).
pub const DYNAMODB_READ: f64 = 0.125 / MILLION;
/// [DynamoDB provisioned](https://aws.amazon.com/dynamodb/pricing/provisioned/): a write unit a second, for a month.
pub const PROVISIONED_WRITE_MONTH: f64 = 0.000_65 * 730.0;
/// [DynamoDB provisioned](https://aws.amazon.com/dynamodb/pricing/provisioned/): a read unit a second, for a month.
pub const PROVISIONED_READ_MONTH: f64 = 0.000_13 * 730.0;
/// The share of a provisioned capacity that should be used on average: the target that
/// [DynamoDB's auto scaling](https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/AutoScaling.html) has by default.
pub const PROVISIONED_USE: f64 = 0.7;
/// [DynamoDB on demand](https://aws.amazon.com/dynamodb/pricing/on-demand/): a GB-month in the table.
pub const DYNAMODB_GB_MONTH: f64 = 0.25;
/// [DynamoDB on demand](https://aws.amazon.com/dynamodb/pricing/on-demand/): a GB-month of point-in-time recovery.
pub const DYNAMODB_RECOVERY_GB_MONTH: f64 = 0.20;

/// [EventBridge](https://aws.amazon.com/eventbridge/pricing/): a custom event, for each 64 KB.
pub const EVENT: f64 = 1.00 / MILLION;
/// Bytes that are billed as one event ([EventBridge](https://aws.amazon.com/eventbridge/pricing/)).
pub const EVENT_CHUNK_BYTES: f64 = 64.0 * 1024.0;
/// [EventBridge](https://aws.amazon.com/eventbridge/pricing/): a GB put into the archive.
pub const ARCHIVE_GB: f64 = 0.10;
/// [EventBridge](https://aws.amazon.com/eventbridge/pricing/): a GB-month in the archive.
pub const ARCHIVE_GB_MONTH: f64 = 0.023;
/// [EventBridge Scheduler](https://aws.amazon.com/eventbridge/pricing/): one invocation.
pub const SCHEDULED: f64 = 1.00 / MILLION;

/// [X-Ray](https://aws.amazon.com/xray/pricing/): a recorded trace.
pub const TRACE: f64 = 5.00 / MILLION;

/// [CloudWatch](https://aws.amazon.com/cloudwatch/pricing/): a GB of a Lambda's logs, first tier.
pub const LOGS_GB: f64 = 0.50;
/// [CloudWatch](https://aws.amazon.com/cloudwatch/pricing/): a GB-month of stored logs, compressed.
pub const LOGS_GB_MONTH: f64 = 0.03;
/// Share of a log's bytes that its storage takes, by the examples of [CloudWatch](https://aws.amazon.com/cloudwatch/pricing/).
pub const LOGS_COMPRESSION: f64 = 0.15;
/// [CloudWatch](https://aws.amazon.com/cloudwatch/pricing/): a custom metric for a month, charged for the hours with values.
pub const METRIC: f64 = 0.30;
/// [CloudWatch](https://aws.amazon.com/cloudwatch/pricing/): a metric that an alarm watches, for a month.
pub const ALARM_METRIC: f64 = 0.10;
/// [CloudWatch](https://aws.amazon.com/cloudwatch/pricing/): a dashboard for a month.
pub const DASHBOARD: f64 = 3.00;

/// [Secrets Manager](https://aws.amazon.com/secrets-manager/pricing/): a secret for a month.
pub const SECRET: f64 = 0.40;

/// Pollers that Lambda keeps on a standard queue at low traffic. It may go down to two, but not with a maximum concurrency,
/// which the template sets ([Lambda](https://docs.aws.amazon.com/lambda/latest/dg/services-sqs-scaling.html)).
pub const POLLERS: f64 = 5.0;
/// The longest that a receive waits for a message
/// ([SQS](https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/quotas-queues.html)), and that Lambda may
/// gather a batch at very low traffic, whatever the window
/// ([Lambda](https://docs.aws.amazon.com/lambda/latest/dg/services-sqs-configure.html)), in seconds.
pub const LONG_POLL_SECONDS: f64 = 20.0;
/// Messages of one receive, send or delete
/// ([SQS](https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/quotas-messages.html)).
pub const SQS_BATCH: f64 = 10.0;
/// Messages in flight on a standard queue: received or made invisible, and not deleted. Delayed messages do not count
/// ([SQS](https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/quotas-queues.html)).
pub const SQS_IN_FLIGHT: f64 = 120_000.0;

/// Invocations that X-Ray always records for a function, per second
/// ([Lambda](https://docs.aws.amazon.com/lambda/latest/dg/services-xray.html)).
pub const TRACES_PER_SECOND: f64 = 1.0;
/// Share of the other invocations that it records (the same page).
pub const TRACES_SHARE: f64 = 0.05;

/// Concurrent invocations of an account, in all its functions; new accounts start with fewer
/// ([Lambda](https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html)).
pub const LAMBDA_CONCURRENCY: f64 = 1000.0;

/// Bytes of a write request unit
/// ([DynamoDB](https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/read-write-operations.html)).
pub const WRITE_UNIT_BYTES: usize = 1024;
/// Bytes of a read request unit (the same page).
pub const READ_UNIT_BYTES: usize = 4096;
/// Units of a query that finds nothing: half a unit, eventually consistent (the same page).
pub const EMPTY_QUERY_UNITS: f64 = 0.5;
/// Bytes that each stored item takes besides its own
/// ([DynamoDB](https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/CapacityUnitCalculations.html)).
pub const ITEM_OVERHEAD_BYTES: usize = 100;
/// Write units a second of a table on demand
/// ([DynamoDB](https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/ServiceQuotas.html)).
pub const TABLE_WRITES: f64 = 40_000.0;
/// Write units a second that a new table takes at once; it then doubles within half an hour
/// ([DynamoDB](https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/on-demand-capacity-mode.html)).
pub const NEW_TABLE_WRITES: f64 = 4000.0;
/// Write units a second of one partition
/// ([DynamoDB](https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/bp-partition-key-design.html)).
pub const PARTITION_WRITES: f64 = 1000.0;

/// Requests a second to PutEvents, 400 to 10,000 by region
/// ([EventBridge](https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-quota.html)).
pub const PUT_EVENTS: f64 = 10_000.0;
/// Invocations of rules' targets a second, 750 to 18,750 by region; more are delayed (the same page).
pub const TARGET_INVOCATIONS: f64 = 18_750.0;
