//! Checks what is on this machine: the settings, and the file of the local `sync`.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read};
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, ensure};

use crate::cli::finding::Finding;
use crate::cli::format::span;
use crate::plan::backlog::Backlog;
use crate::settings::{Deployment, Fault, SettingsDiagnosis, Unknown, unknown_variables};

/// The first bytes of every non-empty SQLite file.
const SQLITE: &[u8] = b"SQLite format 3\0";

/// One finding for each fault.
pub(super) fn settings(settings: &SettingsDiagnosis) -> Vec<Finding> {
    if settings.faults.is_empty() {
        return vec![Finding::well("settings", "every variable that is set is valid")];
    }
    settings.faults.iter().map(of_fault).collect()
}

/// One finding for each variable that looks like a setting but is none. Values are not shown.
pub(super) fn unknown(variables: impl IntoIterator<Item = String>) -> Vec<Finding> {
    let finding = |Unknown { variable, nearest }| {
        let remedy = match nearest {
            Some(nearest) => format!("rename it to `{nearest}` if that is what you meant, or unset it"),
            None => "unset it; docs/reference/settings.md lists all variables".to_owned(),
        };
        Finding::warning("settings", format!("`{variable}` is not a setting; nothing reads it"), remedy)
    };
    unknown_variables(variables).into_iter().map(finding).collect()
}

/// What the pace of a key means for one process, and for a large backlog.
pub(super) fn pace(settings: &SettingsDiagnosis) -> Option<Finding> {
    const BACKLOG: u32 = 10_000;
    let calls_per_second = settings.pace.calls_per_second?;
    let (rate, processes) = (settings.pace.rate()?, settings.pace.processes?);
    let schedule = &settings.config.rules.schedule;
    let Backlog { started_seconds, refused, .. } = Backlog::of(BACKLOG, calls_per_second, Duration::ZERO, schedule);
    let own = 1.0 / rate.interval.as_secs_f64();
    let share = format!("at most {own:.2} in each of {processes} processes");
    let found = format!(
        "{calls_per_second} calls a second for each key: {share}; {BACKLOG} chats at once are all started after {}",
        span(Duration::from_secs_f64(started_seconds.ceil()))
    );
    if refused == 0 {
        return Some(Finding::well("pace", found));
    }
    let most = Backlog::largest(calls_per_second, schedule);
    Some(Finding::warning(
        "pace",
        format!(
            "{found}, but triggers that wait longer than BRIDGE_RUN_DEADLINE_SECONDS are refused (bridge/deadline_exceeded)"
        ),
        format!("trigger at most {most} chats at once, or raise BRIDGE_CALLS_PER_SECOND as far as the key allows"),
    ))
}

/// Splits a fault's text into what was found and how to fix it.
fn of_fault(fault: &Fault) -> Finding {
    let text = fault.to_string();
    let (found, remedy) = match fault {
        // The value itself may contain the separator.
        Fault::Invalid { allowed, .. } => text.split_at(text.len() - allowed.len() - "; allowed: ".len()),
        _ => text.split_at(text.find("; ").unwrap_or(text.len())),
    };
    let remedy = remedy.strip_prefix("; ").unwrap_or("see docs/reference/settings.md");
    Finding::fault("settings", found, remedy)
}

/// Checks whether `sync` can use its state file. Leaves nothing behind.
pub(super) fn state_file(deployment: &Deployment) -> Option<Finding> {
    const CHECK: &str = "state file";
    let Deployment::Terminal { state_file } = deployment else { return None };
    let Some(path) = state_file else {
        return Some(Finding::skipped(CHECK, "it has no path; see the settings"));
    };
    let shown = path.display();
    let remedy = "fix it, or set BRIDGE_STATE_FILE to another file";
    Some(match usable(path) {
        Ok(true) => Finding::well(CHECK, format!("{shown} can be read and written")),
        Ok(false) => Finding::well(CHECK, format!("{shown} does not exist yet, and can be created")),
        Err(why) => Finding::fault(CHECK, format!("{shown} cannot be used: {why:#}"), remedy),
    })
}

/// Whether the file exists; an error if it cannot be used.
fn usable(path: &Path) -> anyhow::Result<bool> {
    let exists = path.exists();
    if exists {
        let file = OpenOptions::new().read(true).append(true).open(path)?;
        let mut head = Vec::new();
        file.take(SQLITE.len() as u64).read_to_end(&mut head)?;
        ensure!(head.is_empty() || head == SQLITE, "it is not an SQLite database");
    }
    // SQLite creates files next to it. If it does not exist yet, its directory may not either.
    let directory = path.ancestors().skip(1).find(|directory| directory.exists()).unwrap_or(Path::new("."));
    let directory = if directory.as_os_str().is_empty() { Path::new(".") } else { directory };
    write_beside(directory).with_context(|| format!("{} is not writable", directory.display()))?;
    Ok(exists)
}

/// Checks by writing: permissions alone do not show that a file system is read-only or full.
fn write_beside(directory: &Path) -> io::Result<()> {
    let probe = directory.join(format!(".postpress-bridge-doctor-{}", std::process::id()));
    File::create_new(&probe)?;
    fs::remove_file(&probe)
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;
    use crate::cli::finding::CheckResult;
    use crate::store::SqliteStore;

    #[test]
    fn fault_is_split_into_finding_and_remedy_whatever_its_value() {
        let invalid = Fault::Invalid {
            variable: "BRIDGE_LOG",
            found: "a; allowed: b".to_owned(),
            allowed: "`c`; or `d`".to_owned(),
        };
        let conflict = Fault::Conflict { first: "A", second: "B", why: "are both set; keep one; or none".to_owned() };
        for (fault, found, remedy) in [
            (Fault::Missing { variable: "A", what: "it" }, "`A` is missing", "set it to it"),
            (invalid, "`BRIDGE_LOG` is \"a; allowed: b\"", "allowed: `c`; or `d`"),
            (conflict, "`A` and `B` are both set", "keep one; or none"),
        ] {
            assert_eq!(of_fault(&fault), Finding::fault("settings", found, remedy));
        }
    }

    #[test]
    fn pace_that_refuses_triggers_of_a_large_backlog_has_a_warning() {
        let of = |calls_per_second: &str| {
            pace(&SettingsDiagnosis::read(&|name| match name {
                "BRIDGE_QUEUE_URL" => Some("https://sqs.eu-west-1.amazonaws.com/123456789012/bridge".to_owned()),
                "BRIDGE_TABLE" => Some("runs".to_owned()),
                "BRIDGE_CALLS_PER_SECOND" => Some(calls_per_second.to_owned()),
                "BRIDGE_MAX_CONCURRENCY" => Some("10".to_owned()),
                _ => None,
            }))
            .unwrap()
        };
        let fast = of("20");
        assert_eq!((fast.result, fast.remedy), (CheckResult::Well, None));
        let slow = of("0.1");
        assert_eq!(slow.result, CheckResult::Warning, "{slow:?}");
        assert!(slow.remedy.as_ref().unwrap().starts_with("trigger at most 8640 chats at once"), "{slow:?}");
    }

    #[test]
    fn state_file_that_sync_cannot_use_is_a_fault() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        drop(SqliteStore::open(&at("runs.sqlite3")).unwrap());
        fs::write(at("empty"), "").unwrap();
        fs::write(at("notes.txt"), "not a database").unwrap();
        for (path, result, found) in [
            (at("runs.sqlite3"), CheckResult::Well, "can be read and written"),
            (at("empty"), CheckResult::Well, "can be read and written"),
            (at("not/there/yet"), CheckResult::Well, "can be created"),
            (at("notes.txt"), CheckResult::Fault, "not an SQLite database"),
            (at("notes.txt/below-a-file"), CheckResult::Fault, "not writable"),
            (folder.path().to_owned(), CheckResult::Fault, "cannot be used"),
        ] {
            let finding = state_file(&Deployment::Terminal { state_file: Some(path.clone()) }).unwrap();
            assert_eq!(finding.result, result, "{finding:?}");
            assert!(finding.found.contains(found), "{finding:?}");
        }
        let mut left: Vec<PathBuf> = fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().path()).collect();
        left.retain(|path| !path.to_string_lossy().contains("runs.sqlite3"));
        left.sort();
        assert_eq!(left, [at("empty"), at("notes.txt")], "it leaves nothing behind");
    }
}
