//! `doctor`: the real program, with AWS and the provider on loopback.

use std::net::Ipv4Addr;
use std::process::Output;

use postpress_bridge::simulator::{Faults, Server, Simulator};
use rustls::version::TLS13;
use serde_json::Value;
use tokio::process::Command;

use crate::harness::emulator::{CREDENTIAL, Emulated, REGION, endpoint};
use crate::harness::provider_client::history;
use crate::harness::proxy::{Fault, Of, Proxy};
use crate::harness::raw_server::{Move, RawServer, reply};
use crate::harness::tls_server::TlsServer;
use crate::terminal::program;

const ENVELOPE: &str = r#"{"title": "Not found", "type": "errors/resource_not_found", "status": 404}"#;

/// The program with only the base URL, a key and the state directory set.
fn doctor(base_url: &str) -> Command {
    let mut command = program();
    command
        .args(["doctor", "--json"])
        .env("POSTPRESS_BASE_URL", base_url)
        .env("POSTPRESS_API_KEY", "pp_live_hush")
        .env("XDG_STATE_HOME", std::env::temp_dir());
    command
}

/// The same for a deployed bridge.
fn deployed(base_url: &str, aws: &Emulated, endpoint: &str) -> Command {
    let mut command = doctor(base_url);
    command
        .env("AWS_ENDPOINT_URL", endpoint)
        .env("AWS_REGION", REGION)
        .env("AWS_ACCESS_KEY_ID", CREDENTIAL)
        .env("AWS_SECRET_ACCESS_KEY", CREDENTIAL)
        .env("AWS_EC2_METADATA_DISABLED", "true")
        .env("BRIDGE_QUEUE_URL", &aws.queue_url)
        .env("BRIDGE_TABLE", &aws.table)
        .env("BRIDGE_EVENT_BUS", &aws.bus);
    command
}

/// The findings: each check, its result and text.
struct Found {
    code: Option<i32>,
    checks: Vec<(String, String, String)>,
    text: String,
}

impl Found {
    async fn by(mut command: Command) -> Self {
        let Output { status, stdout, stderr } = command.output().await.unwrap();
        let (text, stderr) = (String::from_utf8(stdout).unwrap(), String::from_utf8_lossy(&stderr));
        assert!(!text.contains("hush") && !stderr.contains("hush"), "{text}{stderr}");
        let report: Value = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}{stderr}"));
        let checks = report["checks"].as_array().unwrap().iter().map(|check| {
            let field = |name: &str| check[name].as_str().unwrap_or_default().to_owned();
            (field("check"), field("result"), format!("{} → {}", field("found"), field("remedy")))
        });
        Self { code: status.code(), checks: checks.collect(), text }
    }

    /// The results of a check, in order.
    fn results(&self, check: &str) -> Vec<&str> {
        self.checks.iter().filter(|(name, ..)| name == check).map(|(_, result, _)| &result[..]).collect()
    }

    /// Asserts that there is such a finding.
    fn assert_has(&self, check: &str, result: &str, text: &str) {
        let is_it = |(name, outcome, found): &(String, String, String)| {
            name == check && outcome == result && found.contains(text)
        };
        assert!(self.checks.iter().any(is_it), "no {check} {result} with {text} in {}", self.text);
    }
}

/// A simulated provider, and its base URL.
async fn provider() -> (Simulator, String) {
    let simulator = Simulator::new(Faults::default());
    let server = Server::bind((Ipv4Addr::LOCALHOST, 0).into(), simulator.clone()).await.unwrap();
    let base_url = server.base_url();
    tokio::spawn(server.run(std::future::pending()));
    (simulator, base_url)
}

#[tokio::test]
async fn terminal_without_faults_starts_no_sync() {
    let (simulator, base_url) = provider().await;
    let folder = tempfile::tempdir().unwrap();
    let state = folder.path().join("runs.sqlite3");
    let mut command = doctor(&base_url);
    command.env("BRIDGE_STATE_FILE", &state);
    let found = Found::by(command).await;
    assert_eq!(found.code, Some(0), "{}", found.text);
    for check in ["settings", "state file", "base URL", "API key", "clock"] {
        assert_eq!(found.results(check), ["well"], "{check}: {}", found.text);
    }
    found.assert_has("AWS", "skipped", "neither BRIDGE_QUEUE_URL nor BRIDGE_TABLE is set");
    let total = simulator.stats().total;
    assert_eq!((total.calls, total.syncs_started), (1, 0));
    assert!(!state.exists(), "doctor creates nothing");
}

#[tokio::test]
async fn all_faults_are_listed() {
    let (simulator, base_url) = provider().await;
    let mut command = doctor(&base_url);
    let below_a_file = concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml/runs.sqlite3");
    command.env("BRIDGE_STATE_FILE", below_a_file).env("POSTPRESS_API_KEY", "expired");
    command.env("BRIDGE_MAX_POLLS", "many").env("BRIDGE_LOG", "a=b=c");
    let found = Found::by(command).await;
    assert_eq!(found.code, Some(1));
    found.assert_has("settings", "fault", "BRIDGE_MAX_POLLS");
    found.assert_has("settings", "fault", "BRIDGE_LOG");
    found.assert_has("state file", "fault", "BRIDGE_STATE_FILE");
    found.assert_has("API key", "fault", "401 errors/expired_credentials");
    assert_eq!(found.results("base URL"), ["well"]);
    assert_eq!(simulator.stats().total.calls, 0);
}

#[tokio::test]
async fn base_url_is_checked_without_a_key() {
    let (_, base_url) = provider().await;
    let mut command = doctor(&base_url);
    command.env_remove("POSTPRESS_API_KEY");
    let found = Found::by(command).await;
    assert_eq!(found.code, Some(1));
    found.assert_has("settings", "fault", "POSTPRESS_API_KEY");
    assert_eq!((found.results("base URL"), found.results("API key")), (vec!["well"], vec!["skipped"]));
}

#[tokio::test]
async fn right_base_url_is_found_for_a_wrong_one() {
    // The server answers one request per connection, and has to say so.
    let once = |head: &str, body: &str| reply(&format!("{head}\r\nconnection: close"), body);
    let html = || once("404 Not Found\r\ncontent-type: text/html", "<html>");
    let envelope = || once("404 Not Found\r\ncontent-type: application/json", ENVELOPE);
    for (path, answers, right) in [
        ("/v1", vec![html(), envelope()], Some("/api/v1")),
        ("/api/v1", vec![once("404 Not Found", ""), envelope()], Some("/v1")),
        ("", vec![html(), html(), envelope()], Some("/api/v1")),
        ("/v1", vec![once("200 OK\r\ncontent-type: text/html", "<html>"), html()], None),
    ] {
        let calls = answers.len();
        let server = RawServer::start(answers.into_iter().map(|answer| vec![Move::Read, answer])).await;
        let found = Found::by(doctor(&format!("http://{}{path}", server.address()))).await;
        assert_eq!(found.code, Some(1), "{}", found.text);
        let expected = match right {
            Some(right) => format!("set POSTPRESS_BASE_URL to http://{}{right}, which is", server.address()),
            None => "at this host neither path".to_owned(),
        };
        found.assert_has("base URL", "fault", &expected);
        assert_eq!(server.seen().requests.len(), calls, "{:?}", server.seen().requests);
        assert!(server.seen().requests.iter().all(|head| head.contains("/chats/resource_not_found~doctor/sync ")));
    }
}

#[tokio::test]
async fn other_servers_are_reported_with_a_remedy() {
    let chat = "resource_not_found~doctor";
    let moved = "301 Moved Permanently\r\nlocation: https://www.postpress.ai/";
    for (answer, code, result, text) in [
        (reply(moved, ""), 1, "fault", "a redirect to `https://www.postpress.ai/`"),
        (reply("503 Service Unavailable\r\ndate: Tue, 24 Nov 2020 10:00:00 GMT", "busy"), 0, "warning", "again later"),
        (reply("200 OK", history(chat, "SYNC_STARTED")), 1, "fault", "A SYNC MAY HAVE BEEN STARTED"),
    ] {
        let server = RawServer::start([vec![Move::Read, answer]]).await;
        let found = Found::by(doctor(&format!("http://{}/v1", server.address()))).await;
        assert_eq!(found.code, Some(code), "{}", found.text);
        found.assert_has("base URL", result, text);
        assert_eq!((found.results("API key"), server.seen().requests.len()), (vec!["skipped"], 1));
        assert_eq!(found.results("clock"), [""; 0], "another server's clock says nothing");
    }
}

#[tokio::test]
async fn wrong_host_and_kind_of_key_are_reported() {
    let session = r#"{"title": "No client session", "type": "errors/no_client_session", "status": 503}"#;
    for (answer, key, code, base_url, kind) in [
        (reply("404 Not Found", ENVELOPE), "pp_live_hush", 0, ("well", "is postpress's"), "it is a live key"),
        (reply("404 Not Found", ENVELOPE), "pp_test_hush", 0, ("well", "is postpress's"), "it is a sandbox key"),
        (reply("404 Not Found", ENVELOPE), "sk-hush", 0, ("well", "is postpress's"), "the kind of the key is unknown"),
        (
            reply("503 Service Unavailable", session),
            "pp_live_hush",
            1,
            ("fault", "your postpress dashboard shows"),
            "it is a live key",
        ),
        (reply("301 Moved Permanently\r\nlocation: /x", ""), "pp_test_hush", 1, ("fault", "redirect"), "a sandbox key"),
    ] {
        let server = RawServer::start([vec![Move::Read, answer]]).await;
        let mut command = doctor(&format!("http://{}/v1", server.address()));
        command.env("POSTPRESS_API_KEY", key);
        let found = Found::by(command).await;
        assert_eq!(found.code, Some(code), "{}", found.text);
        found.assert_has("base URL", base_url.0, base_url.1);
        assert!(
            found.checks.iter().any(|(check, _, found)| check == "API key" && found.contains(kind)),
            "{}",
            found.text
        );
    }
}

#[tokio::test]
async fn stored_secrets_of_the_webhook_are_checked() {
    let (_, base_url) = provider().await;
    let aws = Emulated::new().await;
    let secrets = aws_sdk_secretsmanager::Client::new(&aws.sdk);
    let name = format!("webhook-{}", uuid::Uuid::new_v4());
    let json = r#"{"token": "hush-hush-hush-hush"}"#;
    secrets.create_secret().name(&name).secret_string(json).send().await.unwrap();
    for (reference, result, text) in [
        (name.clone(), "fault", "name its field: `ID#field` (it has `token`)"),
        (format!("{name}#tokens"), "fault", "it has no field `tokens` (it has `token`)"),
        (format!("{name}#token"), "well", "are well-formed"),
        ("no-such-secret".to_owned(), "fault", "check BRIDGE_WEBHOOK_TOKEN_SECRET_ID"),
    ] {
        let mut command = deployed(&base_url, &aws, &endpoint());
        command.env("BRIDGE_WEBHOOK_TOKEN_SECRET_ID", &reference);
        Found::by(command).await.assert_has("webhook", result, text);
    }
}

#[tokio::test]
async fn unreachable_provider_and_untrusted_certificate_are_told_apart() {
    let unreachable = Found::by(doctor("http://127.0.0.1:9/v1")).await;
    unreachable.assert_has("base URL", "fault", "DNS and the firewall");
    let server = TlsServer::start("127.0.0.1", &TLS13, String::new());
    let found = Found::by(doctor(&format!("https://{}/v1", server.address))).await;
    found.assert_has("base URL", "fault", "its certificate is not trusted");
    assert_eq!((unreachable.code, found.code), (Some(1), Some(1)));
    server.request().unwrap_err();
}

#[tokio::test]
async fn wrong_clock_is_a_warning() {
    let answer = reply("404 Not Found\r\ndate: Tue, 24 Nov 2020 10:00:00 GMT", ENVELOPE);
    let server = RawServer::start([vec![Move::Read, answer]]).await;
    let found = Found::by(doctor(&format!("http://{}/v1", server.address()))).await;
    assert_eq!(found.code, Some(0), "{}", found.text);
    found.assert_has("clock", "warning", "ahead of postpress's");
}

#[tokio::test]
async fn every_part_of_a_deployed_bridge_is_checked() {
    let (simulator, base_url) = provider().await;
    let aws = Emulated::new().await;
    let found = Found::by(deployed(&base_url, &aws, &endpoint())).await;
    assert_eq!(found.code, Some(1), "{}", found.text);
    for check in ["settings", "AWS", "base URL", "API key"] {
        assert_eq!(found.results(check), ["well"], "{check}: {}", found.text);
    }
    found.assert_has("queue", "well", "0 visible");
    found.assert_has("queue", "warning", "after 5 receives");
    found.assert_has("dead letters", "well", "there are none");
    found.assert_has("dead letters", "warning", "kept for 4.0 days");
    found.assert_has("table", "well", "billed per request");
    found.assert_has("table", "fault", "enable TTL on `expires_at`");
    found.assert_has("table", "warning", "point-in-time recovery");
    found.assert_has("bus", "well", "that may match the source `postpress.bridge`: 1");
    assert_eq!(found.checks.iter().filter(|(_, result, _)| result == "fault").count(), 1, "{}", found.text);
    assert_eq!(simulator.stats().total.syncs_started, 0);
}

#[tokio::test]
async fn correct_deployment_has_no_fault_and_no_warning() {
    let (_, base_url) = provider().await;
    let aws = Emulated::with(std::time::Duration::from_secs(270), 10).await;
    aws.configure_as_documented().await;
    let found = Found::by(deployed(&base_url, &aws, &endpoint())).await;
    assert_eq!(found.code, Some(0), "{}", found.text);
    assert!(found.checks.iter().all(|(_, result, _)| result == "well"), "{}", found.text);
}

impl Emulated {
    async fn configure_as_documented(&self) {
        use aws_sdk_dynamodb::types::{PointInTimeRecoverySpecification, TimeToLiveSpecification};
        let sqs = aws_sdk_sqs::Client::new(&self.sdk);
        let retention = aws_sdk_sqs::types::QueueAttributeName::MessageRetentionPeriod;
        let set = sqs.set_queue_attributes().queue_url(&self.dead_letter_url).attributes(retention, "1209600");
        set.send().await.unwrap();
        let dynamodb = aws_sdk_dynamodb::Client::new(&self.sdk);
        let ttl = TimeToLiveSpecification::builder().enabled(true).attribute_name("expires_at").build().unwrap();
        dynamodb.update_time_to_live().table_name(&self.table).time_to_live_specification(ttl).send().await.unwrap();
        let recovery =
            PointInTimeRecoverySpecification::builder().point_in_time_recovery_enabled(true).build().unwrap();
        let update = dynamodb.update_continuous_backups().table_name(&self.table);
        update.point_in_time_recovery_specification(recovery).send().await.unwrap();
    }
}

#[tokio::test]
async fn missing_resource_is_a_fault_and_the_rest_is_checked() {
    let (_, base_url) = provider().await;
    let aws = Emulated::new().await;
    for (variable, value, check) in [
        ("BRIDGE_QUEUE_URL", format!("{}-of-another", aws.queue_url), "queue"),
        ("BRIDGE_TABLE", "no-such-table".to_owned(), "table"),
        ("BRIDGE_EVENT_BUS", "no-such-bus".to_owned(), "bus"),
    ] {
        let mut command = deployed(&base_url, &aws, &endpoint());
        command.env(variable, value);
        let found = Found::by(command).await;
        assert_eq!(found.code, Some(1));
        found.assert_has(check, "fault", variable);
        for other in ["queue", "table", "bus"].into_iter().filter(|other| *other != check) {
            found.assert_has(other, "well", "");
        }
    }
}

#[tokio::test]
async fn missing_permission_is_unknown_and_no_fault() {
    let (_, base_url) = provider().await;
    let aws = Emulated::with(std::time::Duration::from_secs(270), 10).await;
    aws.configure_as_documented().await;
    for (operation, check, action) in [
        ("GetQueueAttributes", "queue", "sqs:GetQueueAttributes"),
        ("GetQueueUrl", "dead letters", "sqs:GetQueueUrl"),
        ("DescribeTable", "table", "dynamodb:DescribeTable"),
        ("DescribeTimeToLive", "table", "dynamodb:DescribeTimeToLive"),
        ("DescribeContinuousBackups", "table", "dynamodb:DescribeContinuousBackups"),
        ("DescribeEventBus", "bus", "events:DescribeEventBus"),
        ("ListRules", "bus", "events:ListRules"),
    ] {
        let proxy = Proxy::start(endpoint()).await;
        proxy.once(Of(operation, ""), Fault::Answers(400, "AccessDeniedException"));
        let found = Found::by(deployed(&base_url, &aws, proxy.endpoint())).await;
        assert!(proxy.all_faults_occurred(), "{operation}");
        assert_eq!(found.code, Some(0), "{operation}: {}", found.text);
        found.assert_has(check, "unknown", action);
    }
}

#[tokio::test]
async fn requests_to_aws_time_out() {
    let (_, base_url) = provider().await;
    let (aws, proxy) = (Emulated::new().await, Proxy::start(endpoint()).await);
    for operation in ["GetQueueAttributes", "DescribeTable", "DescribeEventBus"] {
        proxy.once(Of(operation, ""), Fault::Hangs);
    }
    let found = Found::by(deployed(&base_url, &aws, proxy.endpoint())).await;
    for check in ["queue", "table", "bus"] {
        found.assert_has(check, "fault", "did not answer within 5s");
    }
}

#[tokio::test]
async fn missing_region_or_credentials_are_reported() {
    let (_, base_url) = provider().await;
    let aws = Emulated::new().await;
    for (variable, value, text) in [
        ("AWS_REGION", None, "set AWS_REGION"),
        ("AWS_REGION", Some(""), "set AWS_REGION"),
        ("AWS_ACCESS_KEY_ID", None, "there are no credentials"),
    ] {
        let mut command = deployed(&base_url, &aws, &endpoint());
        command.env_remove(variable).envs(value.map(|value| (variable, value)));
        let found = Found::by(command).await;
        assert_eq!(found.code, Some(1));
        found.assert_has("AWS", "fault", text);
        found.assert_has("AWS", "skipped", "nothing in AWS");
        assert_eq!(found.results("base URL"), ["well"]);
    }
}

#[tokio::test]
async fn stored_key_is_read_and_tried_and_never_shown() {
    let (simulator, base_url) = provider().await;
    let aws = Emulated::new().await;
    let secrets = aws_sdk_secretsmanager::Client::new(&aws.sdk);
    let text = r#"{"key": "pp_live_hush", "broken": "pp_live_hush\n"}"#;
    secrets.create_secret().name(&aws.table).secret_string(text).send().await.unwrap();
    for (field, result, key, text) in [
        ("#key", "well", "well", "well-formed"),
        ("#other", "fault", "skipped", "field `other`"),
        ("#broken", "fault", "skipped", "white space"),
        ("", "fault", "skipped", "POSTPRESS_API_KEY_SECRET_ID"),
        ("-of-another", "fault", "skipped", "ResourceNotFoundException"),
    ] {
        let mut command = deployed(&base_url, &aws, &endpoint());
        command.env_remove("POSTPRESS_API_KEY").env("POSTPRESS_API_KEY_SECRET_ID", format!("{}{field}", aws.table));
        let found = Found::by(command).await;
        found.assert_has("secret", result, text);
        assert_eq!((found.results("API key"), found.results("base URL")), (vec![key], vec!["well"]), "{}", found.text);
    }
    assert_eq!(simulator.stats().total.syncs_started, 0);
}

#[tokio::test]
async fn every_workspace_has_one_finding_and_no_key_is_shown() {
    let (simulator, base_url) = provider().await;
    let aws = Emulated::new().await;
    let secrets = aws_sdk_secretsmanager::Client::new(&aws.sdk);
    let elsewhere = format!("{base_url}/elsewhere");
    let text = serde_json::json!({
        "acme": {"api_key": "pp_live_hush"}, "broken": {"api_key": "pp_live_hush\n"}, "default": {"api_key": "pp_live_hush"},
        "lost": {"api_key": "pp_live_hush", "base_url": elsewhere}, "refused": {"api_key": "expired"},
    });
    let name = format!("workspaces-{}", aws.table);
    secrets.create_secret().name(&name).secret_string(text.to_string()).send().await.unwrap();
    let mut command = deployed(&base_url, &aws, &endpoint());
    command.env("BRIDGE_WORKSPACES_SECRET_ID", &name);
    let found = Found::by(command).await;
    found.assert_has("workspaces", "well", "their secret can be read; it has 4");
    found.assert_has("workspace", "well", "`acme`: postpress accepts it");
    found.assert_has("workspace", "fault", "`broken`: `api_key`");
    found.assert_has("workspace", "fault", "an entry `default`");
    found.assert_has("workspace", "fault", "`lost`: ");
    found.assert_has("workspace", "fault", "`refused`: postpress rejects the key");
    assert_eq!(found.results("workspace").len(), 5, "{}", found.text);
    assert!(!found.text.contains("hush"), "{}", found.text);
    assert_eq!(simulator.stats().total.syncs_started, 0);
    assert_eq!(found.results("API key"), ["well"], "{}", found.text);
}

#[tokio::test]
async fn default_output_is_a_table() {
    let (_, base_url) = provider().await;
    let mut command = program();
    command.arg("doctor").env("POSTPRESS_BASE_URL", &base_url).env("POSTPRESS_API_KEY", "key");
    let output = command.env("BRIDGE_MAX_POLLS", "many").env("HOME", std::env::temp_dir()).output().await.unwrap();
    let table = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(1), "{table}");
    assert!(table.starts_with(" FAULT") && table.contains("\n ok "), "{table}");
    assert!(table.contains("→ ") && table.ends_with("faults: 1, warnings: 0\n"), "{table}");
    assert!(!table.contains('\u{1b}'), "no colours without a terminal: {table:?}");
}
