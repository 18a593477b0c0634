//! Least privilege: each role allows what its function was observed doing, and nothing else.

use std::collections::BTreeSet;
use std::time::Duration;

use aws_sdk_dynamodb::types::AttributeValue;
use http::header::{AUTHORIZATION, CONTENT_TYPE};
use http::request::Builder;
use http::{Request, StatusCode};
use serde_json::{Value, json};
use tokio::time::{sleep, timeout};

use super::account::Account;
use super::stack::Stack;
use crate::harness::emulator;
use crate::harness::proxy::{Of, Proxy, SeenRequest};

/// The account and region of the emulator.
const HERE: &str = "us-east-1:123456789012";
const LONG: Duration = Duration::from_mins(3);

/// What IAM requires for a request: the action and the resource's ARN.
/// <https://docs.aws.amazon.com/service-authorization/latest/reference/reference_policies_actions-resources-contextkeys.html>
fn asked_for(seen: &SeenRequest) -> Vec<(String, String)> {
    let text = |name: &str| seen.body[name].as_str().unwrap_or_else(|| panic!("no {name}: {seen:?}"));
    let queue = || format!("arn:aws:sqs:{HERE}:{}", text("QueueUrl").rsplit('/').next().unwrap());
    let table = || format!("arn:aws:dynamodb:{HERE}:table/{}", text("TableName"));
    let operation = seen.operation.as_str();
    match operation {
        // A batch requires the permission of a single request.
        "SendMessage" | "SendMessageBatch" => vec![("sqs:SendMessage".to_owned(), queue())],
        "ChangeMessageVisibility" | "ChangeMessageVisibilityBatch" => {
            vec![("sqs:ChangeMessageVisibility".to_owned(), queue())]
        }
        "GetItem" | "PutItem" | "UpdateItem" => vec![(format!("dynamodb:{operation}"), table())],
        "Query" => vec![("dynamodb:Query".to_owned(), format!("{}/index/{}", table(), text("IndexName")))],
        "PutEvents" => {
            let bus =
                |entry: &Value| format!("arn:aws:events:{HERE}:event-bus/{}", entry["EventBusName"].as_str().unwrap());
            seen.entries().iter().map(|entry| ("events:PutEvents".to_owned(), bus(entry))).collect()
        }
        "GetSecretValue" => vec![("secretsmanager:GetSecretValue".to_owned(), text("SecretId").to_owned())],
        other => panic!("{other} is new; say here what it asks for: {seen:?}"),
    }
}

/// Checks that the role allows what was observed and `besides`, which others do on its behalf, and nothing else.
fn assert_exact(stack: &Stack, role: &str, seen: &[SeenRequest], besides: &[(&str, &str)]) {
    let logs = stack.permissions[role].iter().filter(|(action, _)| action.starts_with("logs:"));
    let [create, put] = &logs.collect::<Vec<_>>()[..] else { panic!("{role}: {:?}", stack.permissions[role]) };
    assert_eq!((create.0.as_str(), put.0.as_str()), ("logs:CreateLogStream", "logs:PutLogEvents"));
    let group = format!("arn:aws:logs:{HERE}:log-group:");
    assert!(create.1.starts_with(&group) && create.1 == put.1, "{role} logs to its own group: {create:?}, {put:?}");

    let traces = [("xray:PutTraceSegments", "*"), ("xray:PutTelemetryRecords", "*")];
    let besides =
        besides.iter().chain(&traces).map(|(action, resource)| ((*action).to_owned(), (*resource).to_owned()));
    let logs = [create, put].map(|permission| (*permission).clone());
    let needed: BTreeSet<_> = seen.iter().flat_map(asked_for).chain(besides).chain(logs).collect();
    let granted = &stack.permissions[role];
    let missing: Vec<_> = needed.difference(granted).collect();
    let spare: Vec<_> = granted.difference(&needed).collect();
    assert!(missing.is_empty() && spare.is_empty(), "{role}: missing {missing:#?}, spare {spare:#?}");
}

/// Makes the run of this chat look lost.
async fn lose(account: &Account, chat: &str) {
    let long_ago = || AttributeValue::N("1".to_owned());
    let update = aws_sdk_dynamodb::Client::new(&account.aws.sdk).update_item().table_name(&account.aws.table);
    let update = update
        .key("subject", AttributeValue::S(format!("default/chat/{chat}")))
        .condition_expression("attribute_exists(subject)")
        .update_expression("SET lease_until_ms = :long_ago, sweep_at_ms = :long_ago")
        .expression_attribute_values(":long_ago", long_ago());
    update.send().await.unwrap();
}

#[tokio::test]
async fn the_workers_role_is_exact() {
    const LOST: &str = "done-in-1h";
    let account = Account::deploy().await;
    let proxy = Proxy::start(emulator::endpoint()).await;
    let worker = account.worker(proxy.endpoint());
    let seen = async |operation| {
        while proxy.seen(Of(operation, "")).is_empty() {
            sleep(Duration::from_millis(50)).await;
        }
    };
    let scene = async {
        // A run that ends at its first poll, another one, and a trigger that joins it.
        for (chat, key) in [("done-in-2s", "1"), (LOST, "2"), (LOST, "3")] {
            account.aws.put(&json!({"chat_id": chat, "idempotency_key": key}).to_string()).await;
        }
        // From a newer version: returned.
        account.aws.put(r#"{"postpress_bridge": "poll", "v": 1000}"#).await;
        seen("ChangeMessageVisibilityBatch").await;
        seen("PutEvents").await;
        // A sweep that finds a lost run.
        lose(&account, LOST).await;
        account.aws.put(account.sweep()).await;
        seen("Query").await;
    };
    let worked = timeout(LONG, account.mapping().run(&worker, scene)).await;
    let figures = worked.unwrap_or_else(|_| panic!("{:?}\n{}", proxy.take_tally(), worker.function.log()));
    assert!(figures.failed.is_empty(), "{figures:?}");

    let queue = account.bridge.output("QueueArn");
    let mapping = ["sqs:ReceiveMessage", "sqs:DeleteMessage", "sqs:GetQueueAttributes"].map(|action| (action, queue));
    assert_exact(&account.bridge, "SyncWorkerRole", &proxy.all_seen(), &mapping);
}

#[tokio::test]
async fn the_webhooks_role_is_exact() {
    let account = Account::deploy().await;
    let proxy = Proxy::start(emulator::endpoint()).await;
    let front = account.webhook(proxy.endpoint());
    let bearer = format!("Bearer {}", account.token().await);
    let status = async |request: Builder, body: &'static str| {
        let request = request.header(AUTHORIZATION, &bearer).header(CONTENT_TYPE, "application/json");
        front.answer(&request.body(body.into()).unwrap()).await.status()
    };
    assert_eq!(status(Request::post("/v1/syncs"), r#"{"chat_id": "c"}"#).await, StatusCode::ACCEPTED);
    assert_eq!(status(Request::get("/v1/chats/c/sync"), "").await, StatusCode::NOT_FOUND, "{}", front.log());
    assert_exact(&account.bridge, "WebhookRole", &proxy.all_seen(), &[]);
}

#[tokio::test]
async fn schedule_and_rule_have_one_permission_each() {
    let account = Account::deploy().await;
    let only = |action: &str, resource: &str| BTreeSet::from([(action.to_owned(), resource.to_owned())]);
    let bridge = &account.bridge;
    assert_eq!(bridge.permissions["SweepRole"], only("sqs:SendMessage", bridge.output("QueueArn")));
    let rule = &account.http_webhook.permissions["RuleRole"];
    // A queue stands for the destination.
    let destination = account.destination_url.rsplit('/').next().unwrap();
    assert_eq!(*rule, only("events:InvokeApiDestination", &format!("arn:aws:sqs:{HERE}:{destination}")));
}
