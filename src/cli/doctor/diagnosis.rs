//! All findings, as a table for people and as JSON for programs.

use comfy_table::{Cell, Color};
use serde::Serialize;

use crate::cli::finding::{CheckResult, Finding};
use crate::cli::table;

/// All findings.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Diagnosis {
    /// `fault` if there is any, otherwise `warning` if there is any, otherwise `well`.
    pub(super) result: CheckResult,
    pub(super) checks: Vec<Finding>,
}

impl Diagnosis {
    pub(super) fn of(checks: Vec<Finding>) -> Self {
        let occurs = |result: &CheckResult| checks.iter().any(|finding| finding.result == *result);
        let result = [CheckResult::Fault, CheckResult::Warning].into_iter().find(occurs).unwrap_or(CheckResult::Well);
        Self { result, checks }
    }

    /// The table, this many columns wide, and a summary below it.
    pub(super) fn table(&self, width: usize) -> String {
        let mut table = table::table(&[], u16::try_from(width).ok());
        for Finding { check, result, found, remedy } in &self.checks {
            let text = match remedy {
                Some(remedy) => format!("{found}\n→ {remedy}"),
                None => found.clone(),
            };
            table.add_row([label(*result), Cell::new(check), Cell::new(text)]);
        }
        format!("{}\n{}\n", table::text(&table), self.summary())
    }

    fn summary(&self) -> String {
        let count = |result| self.checks.iter().filter(|finding| finding.result == result).count();
        match (count(CheckResult::Fault), count(CheckResult::Warning)) {
            (0, 0) => "no faults found".to_owned(),
            (faults, warnings) => format!("faults: {faults}, warnings: {warnings}"),
        }
    }
}

fn label(result: CheckResult) -> Cell {
    let (label, colour) = match result {
        CheckResult::Well => ("ok", Color::Green),
        CheckResult::Warning => ("warning", Color::Yellow),
        CheckResult::Fault => ("FAULT", Color::Red),
        CheckResult::Unknown => ("unknown", Color::Yellow),
        CheckResult::Skipped => ("skipped", Color::Reset),
    };
    table::bold(label).fg(colour)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn findings() -> Vec<Finding> {
        vec![
            Finding::well("settings", "every variable that is set is valid"),
            Finding::fault("base URL", "https://api.postpress.ai/v2 answers 404 without an error envelope", "set it"),
            Finding::warning("queue", "4 dead letters are waiting", "look at them with `postpress-bridge redrive`"),
            Finding::unknown("table", "missing permission", "grant it"),
            Finding::skipped("bus", "not checked"),
        ]
    }

    #[test]
    fn table_has_each_check_and_its_remedy() {
        insta::assert_snapshot!(Diagnosis::of(findings()).table(60), @"
         ok       settings  every variable that is set is valid
         FAULT    base URL  https://api.postpress.ai/v2 answers 404
                            without an error envelope
                            → set it
         warning  queue     4 dead letters are waiting
                            → look at them with `postpress-bridge
                            redrive`
         unknown  table     missing permission
                            → grant it
         skipped  bus       not checked

        faults: 1, warnings: 1
        ");
    }

    #[test]
    fn json_has_the_same_content() {
        let diagnosis = Diagnosis::of(findings().into_iter().skip(2).take(2).collect());
        insta::assert_snapshot!(serde_json::to_string_pretty(&diagnosis).unwrap(), @r#"
        {
          "result": "warning",
          "checks": [
            {
              "check": "queue",
              "result": "warning",
              "found": "4 dead letters are waiting",
              "remedy": "look at them with `postpress-bridge redrive`"
            },
            {
              "check": "table",
              "result": "unknown",
              "found": "missing permission",
              "remedy": "grant it"
            }
          ]
        }
        "#);
    }

    #[test]
    fn result_is_that_of_the_worst_check() {
        let all = findings();
        for (checks, result) in [
            (&all[..], CheckResult::Fault),
            (&all[2..], CheckResult::Warning),
            (&all[3..], CheckResult::Well),
            (&all[..1], CheckResult::Well),
        ] {
            assert_eq!(Diagnosis::of(checks.to_vec()).result, result);
        }
    }
}
