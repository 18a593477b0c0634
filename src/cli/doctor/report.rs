//! All findings, as a table for people and as JSON for programs.

use std::io::IsTerminal;

use comfy_table::{Attribute, Cell, Color, ContentArrangement, Table, presets};
use serde::Serialize;

use crate::cli::finding::{Finding, Verdict};

/// All that was found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Report {
    /// `fault` if there is one; `warning` if there is one; else `well`.
    pub(super) result: Verdict,
    pub(super) checks: Vec<Finding>,
}

impl Report {
    pub(super) fn of(checks: Vec<Finding>) -> Self {
        let is_there = |verdict: &Verdict| checks.iter().any(|finding| finding.result == *verdict);
        let result = [Verdict::Fault, Verdict::Warning].into_iter().find(is_there).unwrap_or(Verdict::Well);
        Self { result, checks }
    }

    /// The table, this many columns wide, and a sentence below it.
    pub(super) fn table(&self, width: usize) -> String {
        let mut table = Table::new();
        table.load_style(presets::NOTHING).set_content_arrangement(ContentArrangement::Dynamic);
        table.set_width(u16::try_from(width).unwrap_or(u16::MAX));
        if !std::io::stdout().is_terminal() {
            table.force_no_tty();
        }
        for Finding { check, result, found, remedy } in &self.checks {
            let text = match remedy {
                Some(remedy) => format!("{found}\n→ {remedy}"),
                None => found.clone(),
            };
            table.add_row([word(*result), Cell::new(check), Cell::new(text)]);
        }
        format!("{}\n\n{}\n", table.trim_fmt(), self.sum())
    }

    fn sum(&self) -> String {
        let count = |verdict| self.checks.iter().filter(|finding| finding.result == verdict).count();
        match (count(Verdict::Fault), count(Verdict::Warning)) {
            (0, 0) => "no fault found".to_owned(),
            (faults, warnings) => format!("faults: {faults}, warnings: {warnings}"),
        }
    }
}

fn word(verdict: Verdict) -> Cell {
    let (word, colour) = match verdict {
        Verdict::Well => ("ok", Color::Green),
        Verdict::Warning => ("warning", Color::Yellow),
        Verdict::Fault => ("FAULT", Color::Red),
        Verdict::Unknown => ("unknown", Color::Yellow),
        Verdict::Skipped => ("skipped", Color::Reset),
    };
    Cell::new(word).fg(colour).add_attribute(Attribute::Bold)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn findings() -> Vec<Finding> {
        vec![
            Finding::well("settings", "every variable that is set can be used"),
            Finding::fault("base URL", "https://api.postpress.ai/v2 answers 404 without an error envelope", "set it"),
            Finding::warning("queue", "4 dead letters are waiting", "look at them with `postpress-bridge redrive`"),
            Finding::unknown("table", "it may not be described", "allow it"),
            Finding::skipped("bus", "not looked at"),
        ]
    }

    #[test]
    fn people_see_a_line_for_each_check_and_what_to_do() {
        insta::assert_snapshot!(Report::of(findings()).table(60), @"
         ok       settings  every variable that is set can be used
         FAULT    base URL  https://api.postpress.ai/v2 answers 404
                            without an error envelope
                            → set it
         warning  queue     4 dead letters are waiting
                            → look at them with `postpress-bridge
                            redrive`
         unknown  table     it may not be described
                            → allow it
         skipped  bus       not looked at

        faults: 1, warnings: 1
        ");
    }

    #[test]
    fn programs_get_the_same() {
        let report = Report::of(findings().into_iter().skip(2).take(2).collect());
        insta::assert_snapshot!(serde_json::to_string_pretty(&report).unwrap(), @r#"
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
              "found": "it may not be described",
              "remedy": "allow it"
            }
          ]
        }
        "#);
    }

    #[test]
    fn the_result_is_that_of_the_worst() {
        let all = findings();
        for (checks, result) in [
            (&all[..], Verdict::Fault),
            (&all[2..], Verdict::Warning),
            (&all[3..], Verdict::Well),
            (&all[..1], Verdict::Well),
        ] {
            assert_eq!(Report::of(checks.to_vec()).result, result);
        }
    }
}
