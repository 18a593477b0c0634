//! The tables of `docs/reference/` match the code.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use postpress_bridge::metrics::{Metric, Unit};
use postpress_bridge::settings::{FromEnv, WorkerSettings, known_variables};

/// Settings without which a worker does not start.
const REQUIRED: [(&str, &str); 3] = [
    ("BRIDGE_QUEUE_URL", "https://sqs.eu-west-1.amazonaws.com/123456789012/bridge"),
    ("BRIDGE_TABLE", "bridge-runs"),
    ("POSTPRESS_API_KEY", "key"),
];

fn read(file: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(file)).unwrap()
}

/// The first two cells of each row of the table with this header.
fn rows<'a>(text: &'a str, header: &str) -> Vec<(&'a str, &'a str)> {
    let (_, table) = text.split_once(header).unwrap_or_else(|| panic!("there is no table `{header}`"));
    let rows = table.lines().skip(2).take_while(|line| line.starts_with('|'));
    rows.map(|row| {
        let mut cells = row.split('|').map(str::trim).skip(1);
        (cells.next().unwrap(), cells.next().unwrap())
    })
    .collect()
}

/// The code in a cell.
fn code(cell: &str) -> Option<&str> {
    cell.strip_prefix('`')?.strip_suffix('`')
}

/// The worker's settings in an environment with this variable and the required ones.
fn worker(variable: &str, value: &str) -> String {
    let set = |name: &str| REQUIRED.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned());
    let env = |name: &str| if name == variable { Some(value.to_owned()) } else { set(name) };
    format!("{:?}", WorkerSettings::read(&env))
}

#[test]
fn settings_table_has_every_variable_once() {
    let text = read("docs/reference/settings.md");
    let named: Vec<_> = rows(&text, "| name | default | |").into_iter().map(|(name, _)| code(name).unwrap()).collect();

    let known = known_variables();
    assert_eq!(named.iter().map(|name| (*name).to_owned()).collect::<BTreeSet<_>>(), known);
    assert_eq!(named.len(), known.len(), "a variable has two rows");
    assert!(known.contains("POSTPRESS_API_KEY"), "{known:?}");
}

#[test]
fn settings_table_has_the_worker_defaults() {
    let text = read("docs/reference/settings.md");
    let defaults = rows(&text, "| name | default | |").into_iter();
    let defaults: Vec<_> = defaults.filter_map(|(name, default)| Some((code(name)?, code(default)?))).collect();
    assert!(defaults.len() >= 18, "{defaults:?}");

    let unset = worker("", "");
    for (name, default) in defaults {
        assert_eq!(worker(name, default), unset, "`{name}` does not default to `{default}`");
        assert_ne!(worker(name, &format!("{default}1")), unset, "`{name}` has no effect on the worker");
    }
}

#[test]
fn metrics_table_has_every_metric_with_its_unit() {
    let text = read("docs/reference/metrics.md");
    let named: Vec<_> =
        rows(&text, "| metric | unit | |").into_iter().map(|(name, unit)| (code(name).unwrap(), unit)).collect();
    let sent: Vec<_> = Metric::ALL.iter().map(|metric| (metric.name(), unit(*metric))).collect();
    assert_eq!(named, sent);
}

fn unit(metric: Metric) -> &'static str {
    match metric.unit() {
        Unit::Count => "count",
        Unit::Milliseconds => "ms",
        Unit::Seconds => "s",
        Unit::PerSecond => "calls/s",
    }
}
