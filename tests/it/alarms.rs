//! Alarms and dashboard name existing metrics, and each alarm links to its entry in the runbook.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use postpress_bridge::metrics::Metric;

fn read(file: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(file)).unwrap()
}

/// The text of each alarm.
fn alarms(resources: &str) -> Vec<&str> {
    let (alarms, _dashboard) = resources.split_once("AWS::CloudWatch::Dashboard").unwrap();
    alarms.split("Type: AWS::CloudWatch::Alarm").skip(1).collect()
}

/// The names after `before`.
fn names<'a>(text: &'a str, before: &'a str) -> impl Iterator<Item = &'a str> {
    let is_end = |letter: char| !letter.is_ascii_alphanumeric() && letter != '-';
    text.split(before).skip(1).map(move |rest| rest.split(is_end).next().unwrap())
}

#[test]
fn alarms_use_existing_metrics() {
    let resources = read("infra/template.yaml");
    let known: BTreeSet<_> = Metric::ALL.iter().map(|metric| metric.name()).collect();
    // The metric's name follows its namespace.
    let own = alarms(&resources).into_iter().flat_map(|alarm| alarm.split("PostpressBridge/").skip(1));
    let watched: BTreeSet<_> = own.filter_map(|metric| names(metric, "MetricName: ").next()).collect();
    assert_eq!(
        watched,
        BTreeSet::from([
            "EndingsErrorEnvelope",
            "Lag",
            "LeftBehind",
            "Messages",
            "OwnEvents",
            "PaceWait",
            "PollsSoFar",
            "Restarts",
            "Returned",
            "Sweeps"
        ])
    );
    assert!(watched.is_subset(&known), "{watched:?}");
}

#[test]
fn every_metric_is_on_the_dashboard() {
    let resources = read("infra/template.yaml");
    let (_, dashboard) = resources.split_once("DashboardBody").unwrap();
    let missing: Vec<_> = Metric::ALL.iter().map(|metric| metric.name()).collect();
    let missing: Vec<_> = missing.into_iter().filter(|name| !dashboard.contains(&format!("\"{name}\""))).collect();
    assert_eq!(missing, [""; 0]);
}

#[test]
fn every_alarm_links_to_its_runbook_entry() {
    let (resources, runbook) = (read("infra/template.yaml"), read("docs/runbook.md"));
    let headings = runbook.lines().filter_map(|line| line.strip_prefix("## "));
    let entries: BTreeSet<_> = headings.map(|heading| heading.to_lowercase().replace(' ', "-")).collect();
    let alarms = alarms(&resources);
    assert_eq!(alarms.len(), 17);
    let named = alarms.iter().map(|alarm| {
        let [entry] = names(alarm, "docs/runbook.md#").collect::<Vec<_>>()[..] else { panic!("{alarm}") };
        entry.to_owned()
    });
    assert_eq!(named.collect::<BTreeSet<_>>(), entries);
}
