//! The figures in `docs/capacity.md` and `docs/alternatives.md` are those of `plan`, and its defaults are the template's.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use postpress_bridge::plan::Deployment;
use postpress_bridge::plan::cost::{ALARM_METRICS, SECRETS};
use serde_json::Value;

/// Set it to write the figures into `docs/capacity.md` instead of comparing them.
const UPDATE: &str = "UPDATE_DOCS";

fn path(file: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(file)
}

fn read(file: &str) -> String {
    fs::read_to_string(path(file)).unwrap()
}

/// The output of `plan` with these arguments.
fn plan(arguments: &str) -> String {
    let mut command = Command::new(env!("CARGO_BIN_EXE_postpress-bridge"));
    let output = command.env_clear().arg("plan").args(arguments.split_whitespace()).output().unwrap();
    assert!(output.status.success(), "plan {arguments}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// A month of a million syncs with these arguments.
fn million(arguments: &str) -> Value {
    let figures: Value = serde_json::from_str(&plan(&format!("--syncs 1000000 {arguments} --json"))).unwrap();
    figures["months"][0].clone()
}

/// The text with the figures of today: in each block that shows a command and its output, and in the last cell of each table
/// row that begins with options of `plan`.
fn with_figures(text: &str) -> String {
    const BLOCK: &str = "$ postpress-bridge plan";
    let mut lines = text.lines();
    let mut updated = String::new();
    while let Some(line) = lines.next() {
        if let Some(arguments) = line.strip_prefix(BLOCK) {
            updated += &format!("{line}\n{}```\n", plan(arguments));
            lines.find(|line| *line == "```").expect("the block ends");
        } else if let Some((options, _)) = line.strip_prefix("| `").and_then(|rest| rest.split_once("` |")) {
            let (row, _) = line.strip_suffix(" |").and_then(|line| line.rsplit_once("| ")).expect("a row of a table");
            let total = million(options.trim_start_matches("plan"))["total_usd"].as_f64().unwrap();
            updated += &format!("{row}| {total:.2} |\n");
        } else {
            updated += &format!("{line}\n");
        }
    }
    updated
}

#[test]
fn capacity_has_the_planners_figures() {
    const FILE: &str = "docs/capacity.md";
    let text = read(FILE);
    assert!(text.matches("$ postpress-bridge plan").count() >= 2 && text.matches("\n| `").count() >= 5, "{text}");
    let updated = with_figures(&text);
    if std::env::var_os(UPDATE).is_some() {
        fs::write(path(FILE), updated).unwrap();
    } else {
        assert_eq!(text, updated, "run this test with {UPDATE}=1");
    }
}

#[test]
fn capacity_explains_every_limit() {
    let text = read("docs/capacity.md");
    let figures: Value = serde_json::from_str(&plan("--json")).unwrap();
    let limits = figures["limits"].as_array().unwrap();
    assert!(limits.len() >= 8, "{figures}");
    for limit in limits {
        let row = format!("\n| {} | ", limit["name"].as_str().unwrap());
        assert!(text.contains(&row), "no row {row}");
    }
}

#[test]
fn alternatives_have_the_planners_figures() {
    let text = read("docs/alternatives.md");
    let comparable = |month: &Value| -> f64 {
        let lines =
            ["lambda", "sqs_sends_and_deletes", "sqs_receives", "dynamodb_writes", "dynamodb_rest", "eventbridge"];
        lines.iter().map(|line| month["usd"][line].as_f64().unwrap()).sum()
    };
    let [batches, single] = ["", "--batch-window 0s"].map(million);
    for (row, usd) in [
        ("| the bridge, all of it |", batches["total_usd"].as_f64().unwrap()),
        ("| the bridge, what the other rows count |", comparable(&batches)),
        ("| the same, without a batch window |", comparable(&single)),
    ] {
        let line = text.lines().find(|line| line.starts_with(row)).unwrap_or_else(|| panic!("no row {row}"));
        assert!(line.ends_with(&format!("| {usd:.2} |")), "{usd:.2}: {line}");
    }
}

/// The default of a parameter of the template.
fn default_of<'a>(template: &'a str, parameter: &str) -> &'a str {
    let (_, declared) = template.split_once(&format!("\n  {parameter}:\n")).unwrap();
    let (_, default) = declared.split_once("Default: ").unwrap();
    default.lines().next().unwrap().trim_matches('"')
}

#[test]
fn defaults_are_the_templates() {
    let template = read("infra/template.yaml");
    let number = |parameter| default_of(&template, parameter).parse::<f64>().unwrap();
    let deployment = Deployment::default();
    assert_eq!(f64::from(deployment.batch_size), number("BatchSize"));
    assert_eq!(deployment.batch_window.as_secs_f64(), number("BatchWindowSeconds"));
    assert_eq!(f64::from(deployment.max_concurrency), number("MaximumConcurrency"));
    assert_eq!(f64::from(deployment.memory_megabytes), number("MemoryMegabytes"));
    assert_eq!(deployment.sweep_every.as_secs_f64(), 60.0 * number("SweepEveryMinutes"));
    assert_eq!(deployment.archive_days, number("ArchiveRetentionDays"));
    assert_eq!(deployment.log_days, number("LogRetentionDays"));
    let call_timeout = default_of(&template, "CallTimeoutSeconds");
    let timeouts = format!("\"{call_timeout}\": {{ Function: {},", deployment.function_timeout.as_secs());
    assert!(template.contains(&timeouts), "{timeouts}");
    assert_eq!(default_of(&template, "Architecture"), "arm64", "the prices are for arm64");
}

#[test]
fn alarms_and_secrets_are_counted() {
    let template = read("infra/template.yaml");
    let (resources, _) = template.split_once("AWS::CloudWatch::Dashboard").unwrap();
    let (_, alarms) = resources.split_once("Type: AWS::CloudWatch::Alarm").unwrap();
    assert_eq!(alarms.matches("MetricName: ").count(), ALARM_METRICS as usize, "ALARM_METRICS in src/plan/cost.rs");
    let secrets = template.matches("Type: AWS::SecretsManager::Secret").count();
    assert_eq!(secrets, SECRETS as usize, "SECRETS in src/plan/cost.rs");
}

#[test]
fn settings_change_the_plan() {
    let calls = |variable: &[(&str, &str)]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_postpress-bridge"));
        command.env_clear().envs(variable.iter().copied()).args(["plan", "--json"]).output().unwrap()
    };
    let poll = |output: std::process::Output| -> u64 {
        let figures: Value = serde_json::from_slice(&output.stdout).unwrap();
        figures["months"][0]["sync"]["calls"].as_u64().unwrap()
    };
    assert_eq!(poll(calls(&[])), 10);
    assert!(poll(calls(&[("BRIDGE_POLL_MAX_SECONDS", "20")])) > 15);
    let wrong = calls(&[("BRIDGE_POLL_FACTOR", "0.5")]);
    assert_eq!(wrong.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&wrong.stderr).contains("BRIDGE_POLL_FACTOR"), "{wrong:?}");
}
