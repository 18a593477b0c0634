//! Every command reports invalid AWS settings, missing resources and missing permissions immediately, in one line, with a remedy.

use std::fs;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;
use tokio::process::Command;

use crate::harness::emulator::{CREDENTIAL, Emulated, REGION, endpoint};
use crate::harness::proxy::{Fault, Of, Proxy};
use crate::harness::raw_server::{Move, RawServer};
use crate::terminal::program;

const HINT: &str = "run `postpress-bridge doctor`\n";
/// One second, of which the program itself needs a fraction.
const IMMEDIATE: Duration = Duration::from_secs(1);
/// How many extra attempts a command gets, because other tests keep the machine busy.
const BUSY_MAX: usize = 4;

/// The commands that access AWS.
const COMMANDS: [&[&str]; 8] = [
    &["status", "c"],
    &["runs"],
    &["runs", "--ended"],
    &["trigger", "c", "d"],
    &["trigger", "c", "--wait"],
    &["sync", "c", "d"],
    &["redrive", "--yes"],
    &["work", "--until-idle", "5s"],
];

/// A user's machine: a home directory, and an instance metadata address that never answers.
struct Machine {
    home: TempDir,
    metadata: RawServer,
}

impl Machine {
    async fn new() -> Self {
        let metadata = RawServer::start(std::iter::repeat_n(vec![Move::Hang], 100)).await;
        Self { home: tempfile::tempdir().unwrap(), metadata }
    }

    fn aws_config(&self, text: &str) -> PathBuf {
        let path = self.home.path().join(".aws/config");
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, text).unwrap();
        path
    }

    /// A command with all settings of the bridge, and none of AWS.
    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = program();
        command
            .args(arguments)
            .env("HOME", self.home.path())
            .env("BRIDGE_STATE_FILE", self.home.path().join(format!("{}.sqlite3", uuid::Uuid::new_v4())))
            .env("AWS_EC2_METADATA_SERVICE_ENDPOINT", format!("http://{}", self.metadata.address()))
            .env("BRIDGE_QUEUE_URL", "https://sqs.eu-west-1.amazonaws.com/123456789012/bridge")
            .env("BRIDGE_TABLE", "runs")
            .env("POSTPRESS_API_KEY", "pp_live_hush")
            .env("POSTPRESS_BASE_URL", "http://127.0.0.1:9/v1");
        command
    }
}

/// Asserts that the command ends immediately with one line that has this fault, its remedy and the hint.
async fn assert_said(mut command: Command, found: &str, remedy: &str) {
    let what = format!("{:?}", command.as_std());
    let began = Instant::now();
    let output = command.output().await.unwrap();
    let took = began.elapsed();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!((output.status.code(), output.stdout.len()), (Some(2), 0), "{what}: {stderr}");
    assert_eq!(stderr.lines().count(), 1, "{what}: {stderr}");
    assert!(stderr.contains(found) && stderr.contains(remedy), "{what}: {stderr}");
    assert!(stderr.ends_with(HINT) && !stderr.contains("hush"), "{what}: {stderr}");
    let mut fastest = took;
    for _ in 0..BUSY_MAX {
        if fastest < IMMEDIATE {
            return;
        }
        let began = Instant::now();
        command.output().await.unwrap();
        fastest = fastest.min(began.elapsed());
    }
    assert!(fastest < IMMEDIATE, "{what}: {fastest:?}");
}

/// Asserts that `doctor` has the same finding, without the hint.
async fn assert_doctor_says(mut command: Command, found: &str, remedy: &str) {
    let output = command.output().await.unwrap();
    let (stdout, stderr) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert_eq!((output.status.code(), &*stderr), (Some(1), ""), "{stdout}");
    let report: Value = serde_json::from_str(&stdout).unwrap();
    let is_it = |check: &Value| {
        let says = |field: &str, text: &str| check[field].as_str().is_some_and(|said| said.contains(text));
        check["result"] == "fault" && says("found", found) && says("remedy", remedy)
    };
    assert!(report["checks"].as_array().unwrap().iter().any(is_it), "no {found} with {remedy} in {stdout}");
    assert!(!stdout.contains(HINT.trim_end()), "{stdout}");
}

#[tokio::test]
async fn invalid_aws_settings_are_reported_immediately() {
    let keys = [("AWS_ACCESS_KEY_ID", CREDENTIAL), ("AWS_SECRET_ACCESS_KEY", CREDENTIAL)];
    let region = ("AWS_REGION", REGION);
    let unreachable = ("AWS_ENDPOINT_URL", "http://127.0.0.1:1");
    let log_in = "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY";
    for (name, variables, config, found, remedy) in [
        ("nothing", vec![], "", "there is no AWS region", "set AWS_REGION"),
        ("no region", keys.to_vec(), "", "there is no AWS region", "set AWS_REGION"),
        ("no credentials", vec![region, ("AWS_RETRY_MODE", "legacy")], "", "there are no credentials", log_in),
        ("no such profile", vec![("AWS_PROFILE", "nope"), region], "[default]\n", "AWS_PROFILE is `nope`", "unset it"),
        ("no profile at all", vec![("AWS_PROFILE", "nope"), region], "", "AWS_PROFILE is `nope`", "unset it"),
        ("no such profile, no region", vec![("AWS_PROFILE", "nope")], "[default]\n", "AWS_PROFILE is `nope`", "unset"),
        (
            "single sign-on",
            vec![("AWS_PROFILE", "sso")],
            "[profile sso]\nregion = eu-west-1\nsso_start_url = https://x.awsapps.com/start\nsso_region = eu-west-1\n\
             sso_account_id = 123456789012\nsso_role_name = r\n",
            "single sign-on",
            "--features login",
        ),
        (
            "a process",
            vec![("AWS_PROFILE", "process"), region],
            "[profile process]\ncredential_process = /bin/false\n",
            "a process",
            "--features login",
        ),
        (
            "dual-stack at an endpoint",
            [&keys[..], &[region, unreachable, ("AWS_USE_DUALSTACK_ENDPOINT", "true")]].concat(),
            "",
            "ualstack",
            "AWS_USE_DUALSTACK_ENDPOINT",
        ),
        (
            "FIPS at an endpoint",
            [&keys[..], &[region, unreachable, ("AWS_USE_FIPS_ENDPOINT", "true")]].concat(),
            "",
            "FIPS",
            "AWS_USE_FIPS_ENDPOINT",
        ),
        (
            "a malformed endpoint",
            [&keys[..], &[region, ("AWS_ENDPOINT_URL", "localhost:4566")]].concat(),
            "",
            "AWS_ENDPOINT_URL is not a URL",
            "http://localhost:4566",
        ),
        (
            "a zone",
            [&keys[..], &[("AWS_REGION", "eu-west-1a")]].concat(),
            "",
            "\"eu-west-1a\" is invalid",
            "set AWS_REGION",
        ),
        ("unreachable", [&keys[..], &[region, unreachable]].concat(), "", "no connection to AWS", "AWS_ENDPOINT_URL"),
    ] {
        let machine = Machine::new().await;
        machine.aws_config(config);
        for arguments in COMMANDS {
            let mut command = machine.command(arguments);
            command.envs(variables.iter().copied());
            assert_said(command, found, remedy).await;
        }
        if name != "unreachable" {
            let mut doctor = machine.command(&["doctor", "--json"]);
            doctor.envs(variables.iter().copied());
            assert_doctor_says(doctor, found, remedy).await;
        }
    }
}

#[tokio::test]
async fn missing_table_or_queue_is_reported_immediately() {
    let (machine, aws) = (Machine::new().await, Emulated::new().await);
    let on = |arguments: &[&str], queue: &str, table: &str| {
        let mut command = machine.command(arguments);
        command
            .env("AWS_ENDPOINT_URL", endpoint())
            .env("AWS_REGION", REGION)
            .env("AWS_ACCESS_KEY_ID", CREDENTIAL)
            .env("AWS_SECRET_ACCESS_KEY", CREDENTIAL)
            .env("BRIDGE_QUEUE_URL", queue)
            .env("BRIDGE_TABLE", table);
        command
    };
    let elsewhere = format!("{}-of-another", aws.queue_url);
    for arguments in COMMANDS {
        let uses_table = !matches!(arguments, ["redrive", ..] | ["trigger", "c", "d"]);
        let uses_queue = !matches!(arguments, ["status", ..] | ["runs", ..]);
        if uses_table {
            let command = on(arguments, &aws.queue_url, "no-such-table");
            assert_said(command, "there is no table `no-such-table`", "check BRIDGE_TABLE").await;
        }
        if uses_queue {
            let found = format!("there is no queue {elsewhere}");
            assert_said(on(arguments, &elsewhere, &aws.table), &found, "check BRIDGE_QUEUE_URL").await;
        }
    }
    assert!(aws.queue_is_empty().await, "nothing was sent");
}

#[tokio::test]
async fn missing_permission_is_named() {
    let (machine, aws) = (Machine::new().await, Emulated::new().await);
    for (arguments, operation, action) in [
        (&["status", "c"][..], "GetItem", "dynamodb:GetItem"),
        (&["runs"], "Query", "dynamodb:Query"),
        (&["trigger", "c", "d"], "SendMessageBatch", "sqs:SendMessage "),
        (&["redrive", "--yes"], "GetQueueAttributes", "sqs:GetQueueAttributes"),
        (&["work", "--until-idle", "5s"], "ReceiveMessage", "sqs:ReceiveMessage"),
        (&["work", "--until-idle", "5s"], "GetItem", "dynamodb:GetItem"),
    ] {
        let proxy = Proxy::start(endpoint()).await;
        for _ in 0..20 {
            proxy.once(Of(operation, ""), Fault::Answers(400, "AccessDeniedException"));
        }
        let mut command = machine.command(arguments);
        command
            .env("AWS_ENDPOINT_URL", proxy.endpoint())
            .env("AWS_REGION", REGION)
            .env("AWS_ACCESS_KEY_ID", CREDENTIAL)
            .env("AWS_SECRET_ACCESS_KEY", CREDENTIAL)
            .env("BRIDGE_QUEUE_URL", &aws.queue_url)
            .env("BRIDGE_TABLE", &aws.table);
        assert_said(command, "AccessDeniedException", &format!("allow the IAM action {action}")).await;
    }
}

#[tokio::test]
async fn instance_metadata_is_the_last_resort_and_never_waited_for() {
    let machine = Machine::new().await;
    assert_said(machine.command(&["status", "c"]), "there is no AWS region", "set AWS_REGION").await;
    assert_eq!(machine.metadata.seen().connections, 1, "without a region it is not asked for credentials");
    let mut command = machine.command(&["status", "c"]);
    command.env("AWS_REGION", REGION);
    assert_said(command, "there are no credentials", "log in to AWS").await;
    assert_eq!(machine.metadata.seen().connections, 2);
    let mut command = machine.command(&["status", "c"]);
    command.env("AWS_REGION", REGION).env("AWS_EC2_METADATA_DISABLED", "true");
    assert_said(command, "there are no credentials", "log in to AWS").await;
    assert_eq!(machine.metadata.seen().connections, 2, "it is not asked if it is disabled");
}

#[tokio::test]
async fn doctor_names_unknown_variables_but_not_their_values() {
    let machine = Machine::new().await;
    let mut command = machine.command(&["doctor", "--json"]);
    command.env_remove("BRIDGE_TABLE").env_remove("BRIDGE_QUEUE_URL");
    command.env("BRIDGE_TABEL", "hush").env("POSTPRESS_KEY", "hush").env("BRIDGE_QUUE_URL", "hush");
    let output = command.output().await.unwrap();
    let report = String::from_utf8_lossy(&output.stdout);
    for (variable, nearest) in [
        ("BRIDGE_TABEL", "BRIDGE_TABLE"),
        ("POSTPRESS_KEY", "POSTPRESS_API_KEY"),
        ("BRIDGE_QUUE_URL", "BRIDGE_QUEUE_URL"),
    ] {
        assert!(report.contains(&format!("`{variable}` is not a setting")), "{report}");
        assert!(report.contains(&format!("rename it to `{nearest}`")), "{report}");
    }
    assert!(!report.contains("hush"), "{report}");
}
