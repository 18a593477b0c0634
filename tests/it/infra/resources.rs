//! What the template creates, and what its parameters change.

use aws_sdk_dynamodb::types::{BillingMode, KeyType, ProjectionType, TableDescription};
use aws_sdk_sqs::types::QueueAttributeName;
use postpress_bridge::message::SWEEP_BODY;
use postpress_bridge::plan::{Deployment, SyncProfile, month};
use postpress_bridge::settings::{Config, FromEnv, WorkerSettings};
use serde_json::{Value, json};

use super::stack::{BRIDGE, Stack, default_of, properties, template};
use crate::harness::emulator;

async fn attributes(queue_url: &str) -> impl Fn(QueueAttributeName) -> String {
    let sqs = aws_sdk_sqs::Client::new(&emulator::sdk(&emulator::endpoint()));
    let request = sqs.get_queue_attributes().queue_url(queue_url).attribute_names(QueueAttributeName::All);
    let attributes = request.send().await.unwrap().attributes.unwrap();
    move |name| attributes.get(&name).cloned().unwrap_or_else(|| panic!("no {name}: {attributes:?}"))
}

#[tokio::test]
async fn messages_are_dead_letters_after_ten_receives() {
    use QueueAttributeName::{
        MessageRetentionPeriod, QueueArn, RedrivePolicy, SqsManagedSseEnabled, VisibilityTimeout,
    };
    let stack = Stack::create(BRIDGE, &[]).await;
    let dead_letters = attributes(stack.output("DeadLettersUrl")).await;
    let queue = attributes(stack.output("QueueUrl")).await;
    let redrive: Value = serde_json::from_str(&queue(RedrivePolicy)).unwrap();
    assert_eq!(redrive, json!({"deadLetterTargetArn": dead_letters(QueueArn), "maxReceiveCount": 10}));
    assert_eq!(queue(QueueArn), stack.output("QueueArn"));
    assert_eq!((&*queue(VisibilityTimeout), &*queue(MessageRetentionPeriod)), ("380", "345600"));
    assert_eq!(dead_letters(MessageRetentionPeriod), "1209600");
    assert_eq!((&*queue(SqsManagedSseEnabled), &*dead_letters(SqsManagedSseEnabled)), ("true", "true"));
}

fn keys<'a>(
    schema: impl IntoIterator<Item = &'a aws_sdk_dynamodb::types::KeySchemaElement>,
) -> Vec<(&'a str, KeyType)> {
    schema.into_iter().map(|key| (key.attribute_name(), key.key_type().clone())).collect()
}

#[tokio::test]
async fn the_run_table_is_on_demand_and_indexes_open_runs() {
    let stack = Stack::create(BRIDGE, &[]).await;
    let dynamodb = aws_sdk_dynamodb::Client::new(&emulator::sdk(&emulator::endpoint()));
    let described = dynamodb.describe_table().table_name(stack.output("TableName")).send().await.unwrap();
    let table: TableDescription = described.table.unwrap();
    assert_eq!(table.billing_mode_summary().unwrap().billing_mode(), Some(&BillingMode::PayPerRequest));
    assert_eq!(keys(table.key_schema()), [("subject", KeyType::Hash)]);
    let [index] = table.global_secondary_indexes() else { panic!("{table:?}") };
    assert_eq!(index.index_name(), Some("open"));
    assert_eq!(keys(index.key_schema()), [("open", KeyType::Hash), ("sweep_at_ms", KeyType::Range)]);
    assert_eq!(index.projection().unwrap().projection_type(), Some(&ProjectionType::KeysOnly));

    // The emulator's CloudFormation ignores these.
    let runs = stack.properties("Runs");
    assert_eq!(runs["TimeToLiveSpecification"], json!({"AttributeName": "expires_at", "Enabled": true}));
    assert_eq!(runs["PointInTimeRecoverySpecification"]["PointInTimeRecoveryEnabled"], true);
    assert_eq!(stack.template["Resources"]["Runs"]["DeletionPolicy"], "Retain");
}

#[tokio::test]
async fn a_table_may_have_the_capacity_that_the_plan_prints() {
    let plan = Deployment { is_provisioned: true, ..Deployment::default() };
    let month = month(1e6, &SyncProfile::default(), &plan).unwrap();
    let capacity = month.capacity.unwrap();
    let stack = Stack::create(BRIDGE, &[("TableCapacity", &capacity.to_string())]).await;
    let dynamodb = aws_sdk_dynamodb::Client::new(&emulator::sdk(&emulator::endpoint()));
    let described = dynamodb.describe_table().table_name(stack.output("TableName")).send().await.unwrap();
    let table = described.table.unwrap();
    let [index] = table.global_secondary_indexes() else { panic!("{table:?}") };
    let units = [table.provisioned_throughput(), index.provisioned_throughput()].map(|provisioned| {
        let provisioned = provisioned.unwrap();
        (provisioned.write_capacity_units().unwrap(), provisioned.read_capacity_units().unwrap())
    });
    assert_eq!(units, [(7, 1), (3, 1)], "{capacity}");
    let parameter = &template(BRIDGE).await["Parameters"]["TableCapacity"];
    assert_eq!(parameter["AllowedPattern"], "0,0,0,0|[1-9][0-9]{0,4},[1-9][0-9]{0,4},[1-9][0-9]{0,4},[1-9][0-9]{0,4}");
}

#[tokio::test]
async fn the_bus_archives_our_events() {
    let stack = Stack::create(BRIDGE, &[("ArchiveRetentionDays", "7")]).await;
    let events = aws_sdk_eventbridge::Client::new(&emulator::sdk(&emulator::endpoint()));
    let bus = events.describe_event_bus().name(stack.output("EventBusName")).send().await.unwrap();
    assert_eq!(bus.arn(), Some(stack.output("EventBusArn")));
    let archives = events.list_archives().event_source_arn(stack.output("EventBusArn")).send().await.unwrap();
    let [archive] = archives.archives() else { panic!("{archives:?}") };
    assert_eq!(archive.retention_days(), Some(7));
    assert_eq!(stack.properties("Archive")["EventPattern"], json!({"source": [{"Ref": "EventSource"}]}));
}

#[tokio::test]
async fn the_schedule_sends_a_sweep() {
    let template = template(BRIDGE).await;
    let schedule = properties(&template, "Sweep");
    assert_eq!(schedule["Target"]["Input"], SWEEP_BODY);
    assert_eq!(schedule["Target"]["Arn"], json!({"Fn::GetAtt": ["Queue", "Arn"]}));
    assert_eq!(schedule["ScheduleExpression"], json!({"Fn::Sub": "rate(${SweepEveryMinutes} minutes)"}));
}

#[tokio::test]
async fn only_the_mapping_limits_the_workers_concurrency() {
    let template = template(BRIDGE).await;
    let worker = &template["Resources"]["SyncWorker"];
    assert_eq!(worker["Properties"]["RecursiveLoop"], "Allow");
    assert_eq!(worker["Properties"]["ReservedConcurrentExecutions"], Value::Null);
    assert_eq!(worker["Metadata"]["BuildMethod"], "rust-cargolambda");
    assert_eq!(default_of(&template, "Architecture"), "arm64");
    let mapping = properties(&template, "SyncWorkerMessages");
    assert_eq!(mapping["FunctionResponseTypes"], json!(["ReportBatchItemFailures"]));
    assert_eq!(mapping["ScalingConfig"], json!({"MaximumConcurrency": {"Ref": "MaximumConcurrency"}}));
    assert_eq!(mapping["MaximumBatchingWindowInSeconds"], json!({"Ref": "BatchWindowSeconds"}));
    assert_ne!(default_of(&template, "BatchWindowSeconds"), "0", "only batches that fill are cheap");
}

#[tokio::test]
async fn a_public_url_allows_calls_through_it_only() {
    let template = template(BRIDGE).await;
    let permissions = template["Resources"].as_object().unwrap().values();
    let permissions: Vec<_> = permissions.filter(|resource| resource["Type"] == "AWS::Lambda::Permission").collect();
    let granted = |action: &str, how: (&str, Value)| {
        let is = |permission: &&&Value| {
            let properties = &permission["Properties"];
            properties["Action"] == action && properties[how.0] == how.1 && properties["Principal"] == "*"
        };
        permissions.iter().find(is).is_some_and(|permission| permission["Condition"] == "ChecksSignatures")
    };
    assert!(granted("lambda:InvokeFunctionUrl", ("FunctionUrlAuthType", "NONE".into())));
    assert!(granted("lambda:InvokeFunction", ("InvokedViaFunctionUrl", true.into())));
    assert_eq!(permissions.len(), 2);
}

#[tokio::test]
async fn only_named_producers_may_send_and_only_over_tls() {
    let template = template(BRIDGE).await;
    let [refused, producers] =
        &properties(&template, "QueueAccess")["PolicyDocument"]["Statement"].as_array().unwrap()[..]
    else {
        panic!("{template}")
    };
    assert_eq!([&refused["Effect"], &refused["Action"], &refused["Principal"]], ["Deny", "sqs:*", "*"]);
    assert_eq!(refused["Condition"], json!({"Bool": {"aws:SecureTransport": "false"}}));
    assert_eq!([&producers["Fn::If"][0], &producers["Fn::If"][2]["Ref"]], ["HasProducers", "AWS::NoValue"]);
    let allowed = &producers["Fn::If"][1];
    assert_eq!([&allowed["Effect"], &allowed["Action"]], ["Allow", "sqs:SendMessage"]);
    assert_eq!(allowed["Resource"], json!({"Fn::GetAtt": ["Queue", "Arn"]}), "and nothing on the dead letters");
    assert_eq!(allowed["Condition"], json!({"ArnLike": {"aws:SourceArn": {"Ref": "ProducerArns"}}}));
}

/// The worker's settings in the environment from the stack.
fn settings(stack: &Stack) -> WorkerSettings {
    let environment = &stack.environments["SyncWorker"];
    WorkerSettings::read(&|name| environment.get(name).cloned()).unwrap()
}

#[tokio::test]
async fn unset_parameters_are_the_programs_defaults() {
    let settings = settings(&Stack::create(BRIDGE, &[]).await);
    assert_eq!((settings.config, settings.provider.workspaces), (Config::default(), None));
}

#[tokio::test]
async fn existing_resources_are_used_instead_of_new_ones() {
    const KEY: &str = "arn:aws:kms:us-east-1:123456789012:key/1";
    const SECRET: &str = "arn:aws:secretsmanager:us-east-1:123456789012:secret:ours-AbCdEf";
    const WORKSPACES: &str = "arn:aws:secretsmanager:us-east-1:123456789012:secret:tenants-AbCdEf";
    let stack = Stack::create(
        BRIDGE,
        &[
            ("EventBusName", "default"),
            ("ApiKeySecretId", &format!("{SECRET}#key")),
            ("WorkspacesSecretId", &format!("{WORKSPACES}#all")),
            ("KmsKeyArn", KEY),
            ("WebhookAuth", "iam"),
            ("CallTimeoutSeconds", "20"),
        ],
    )
    .await;
    let settings = settings(&stack);
    assert_eq!((&*settings.event_bus, stack.output("EventBusName")), ("default", "default"));
    let [worker, webhook] = ["SyncWorker", "Webhook"].map(|function| &stack.environments[function]);
    assert_eq!(worker["POSTPRESS_API_KEY_SECRET_ID"], format!("{SECRET}#key"));
    let workspaces = settings.provider.workspaces.unwrap();
    assert_eq!((&*workspaces.id, workspaces.field.as_deref()), (WORKSPACES, Some("all")));
    assert_eq!(webhook["BRIDGE_WEBHOOK_AUTH"], "iam");
    assert!(!webhook.keys().any(|name| name.ends_with("SECRET_ID")), "{webhook:?}");

    let worker = &stack.permissions["SyncWorkerRole"];
    let may = |action: &str, resource: &str| worker.contains(&(action.to_owned(), resource.to_owned()));
    assert!(may("events:PutEvents", "arn:aws:events:us-east-1:123456789012:event-bus/default"));
    assert!(may("secretsmanager:GetSecretValue", SECRET) && may("secretsmanager:GetSecretValue", WORKSPACES));
    for role in ["SyncWorkerRole", "WebhookRole", "SweepRole"] {
        for action in ["kms:Decrypt", "kms:GenerateDataKey"] {
            assert!(stack.permissions[role].contains(&(action.to_owned(), KEY.to_owned())), "{role}: {action}");
        }
    }
    for made in ["ApiKeySecretArn", "WebhookSecretArn", "WebhookTokenArn"] {
        assert!(!stack.outputs.contains_key(made), "{made}");
    }
    let queue = attributes(stack.output("QueueUrl")).await;
    assert_eq!(queue(QueueAttributeName::KmsMasterKeyId), KEY);
    assert_eq!(queue(QueueAttributeName::VisibilityTimeout), "560");
}
