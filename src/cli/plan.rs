//! `postpress-bridge plan`: what a deployment costs, how late endings are noticed, and what breaks first.

use std::time::Duration;

use clap::Args;
use comfy_table::{CellAlignment, Table};

use super::args;
use super::format::span;
use super::table;
use crate::plan::backlog::Backlog;
use crate::plan::limits::Limit;
use crate::plan::{Deployment, Lateness, Month, Plan as Figures, SyncProfile, plan};
use crate::postpress::pace::CALLS_PER_SECOND;
use crate::run::TRIGGERS_MAX;
use crate::settings::{Config, FromEnv};

/// Lengths of syncs whose lateness is shown beside that of `--length`.
const LENGTHS: [Duration; 6] = [
    Duration::from_secs(20),
    Duration::from_mins(1),
    Duration::from_mins(6),
    Duration::from_mins(30),
    Duration::from_hours(2),
    Duration::from_hours(12),
];

/// Show what a deployment costs, how late it notices endings, and which quota breaks first
///
/// Steps one sync through the bridge's own protocol and multiplies. Prices and quotas are AWS's for us-east-1, without a free
/// tier; `docs/capacity.md` explains the figures. Defaults are those of `infra/template.yaml`; the `BRIDGE_*` variables count,
/// above all those of polling.
#[derive(Debug, Clone, Args)]
pub struct Plan {
    /// Syncs a month; several, separated by commas
    #[arg(long, value_name = "N", value_delimiter = ',', default_values_t = [0, 1000, 100_000, 1_000_000, 10_000_000])]
    syncs: Vec<u32>,

    /// Chats in flight for which the use of each quota is shown
    #[arg(long, value_name = "N", value_delimiter = ',', default_values_t = [10_000, 100_000, 1_000_000])]
    in_flight: Vec<u32>,

    /// How long a sync takes
    #[arg(long, value_name = "DURATION", default_value = "6m", value_parser = length)]
    length: Duration,

    /// Triggers of one sync, of which all but the first join it
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=TRIGGERS))]
    triggers: u32,

    /// Bytes of each trigger's metadata
    #[arg(long, value_name = "BYTES", default_value_t = 0, value_parser = clap::value_parser!(u16).range(0..=1024))]
    metadata_bytes: u16,

    /// Earlier syncs of the same chat that its item remembers
    #[arg(long, value_name = "N", default_value_t = 0, value_parser = clap::value_parser!(u32).range(0..=10_000))]
    earlier_syncs: u32,

    /// `BatchSize` of the template
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    batch_size: u32,

    /// `BatchWindowSeconds` of the template
    #[arg(long, value_name = "DURATION", default_value = "5s", value_parser = args::duration)]
    batch_window: Duration,

    /// `MaximumConcurrency` of the template
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = clap::value_parser!(u32).range(2..=1000))]
    max_concurrency: u32,

    /// `MemoryMegabytes` of the template
    #[arg(long, value_name = "MB", default_value_t = 128, value_parser = clap::value_parser!(u32).range(128..=10_240))]
    memory: u32,

    /// How long an invocation takes: its calls run at once
    #[arg(long, value_name = "DURATION", default_value = "200ms", value_parser = positive)]
    invocation: Duration,

    /// The worker's timeout, which bounds a sweep
    #[arg(long, value_name = "DURATION", default_value = "60s", value_parser = positive)]
    timeout: Duration,

    /// `SweepEveryMinutes` of the template
    #[arg(long, value_name = "DURATION", default_value = "5m", value_parser = positive)]
    sweep_every: Duration,

    /// With X-Ray: `Tracing=Active` of the template
    #[arg(long)]
    tracing: bool,

    /// With provisioned capacity, as much as evenly spread syncs need: `TableCapacity` of the template
    #[arg(long)]
    provisioned: bool,

    /// The pace of a key, for which the time that a backlog takes is shown: `CallsPerSecond` of the template
    #[arg(long, value_name = "CALLS", value_parser = calls_per_second)]
    calls_per_second: Option<f64>,

    /// Chats triggered at once, with `--calls-per-second`
    #[arg(long, value_name = "N", value_delimiter = ',', default_values_t = [1000, 10_000, 100_000], requires = "calls_per_second", value_parser = clap::value_parser!(u32).range(1..))]
    backlog: Vec<u32>,

    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

/// [`TRIGGERS_MAX`], as clap's ranges want it.
const TRIGGERS: i64 = 50;
const _: () = assert!(TRIGGERS_MAX == 50);

fn positive(text: &str) -> Result<Duration, &'static str> {
    args::duration(text).and_then(|time| if time.is_zero() { Err("must be more than 0") } else { Ok(time) })
}

fn calls_per_second(text: &str) -> Result<f64, &'static str> {
    let calls = text.parse().ok().filter(|calls| CALLS_PER_SECOND.contains(calls));
    calls.ok_or("not a number from 0.001 to 100000")
}

fn length(text: &str) -> Result<Duration, &'static str> {
    let day = Duration::from_hours(24);
    args::duration(text).and_then(|time| if time > 30 * day { Err("at most 30 days") } else { Ok(time) })
}

impl Plan {
    /// Prints the figures.
    ///
    /// # Errors
    /// If a setting is invalid, or stdout cannot be written.
    pub fn run(&self) -> anyhow::Result<()> {
        let figures = self.figures(Config::from_env()?)?;
        if self.json { table::print_json(&figures) } else { table::print(&self.text(&figures, table::columns())) }
    }

    fn figures(&self, config: Config) -> anyhow::Result<Figures> {
        let profile = SyncProfile {
            length: self.length,
            triggers: self.triggers,
            metadata_bytes: self.metadata_bytes.into(),
            earlier_syncs: self.earlier_syncs,
        };
        let deployment = Deployment {
            config,
            batch_size: self.batch_size,
            batch_window: self.batch_window,
            max_concurrency: self.max_concurrency,
            memory_megabytes: self.memory,
            function_timeout: self.timeout,
            invocation: self.invocation,
            sweep_every: self.sweep_every,
            is_traced: self.tracing,
            is_provisioned: self.provisioned,
            ..Deployment::default()
        };
        let syncs: Vec<_> = self.syncs.iter().map(|syncs| f64::from(*syncs)).collect();
        let mut lengths = [&[self.length], &LENGTHS[..]].concat();
        lengths.sort();
        lengths.dedup();
        let schedule = &deployment.config.rules.schedule;
        let backlog = |rate| self.backlog.iter().map(move |chats| Backlog::of(*chats, rate, self.length, schedule));
        let backlogs = self.calls_per_second.into_iter().flat_map(backlog).collect();
        Ok(Figures { backlogs, ..plan(&syncs, &lengths, &profile, &deployment)? })
    }

    fn text(&self, figures: &Figures, columns: Option<u16>) -> String {
        let tables = [
            lateness_table(&figures.lateness, columns),
            cost_table(&figures.months, columns),
            limits_table(&figures.limits, &self.in_flight, columns),
        ];
        let [lateness, cost, limits] = tables.map(|table| table::text(&table));
        let Figures { prices_as_of, region, .. } = figures;
        let backlog = self.calls_per_second.map_or_else(String::new, |rate| {
            let listed = table::text(&backlog_table(&figures.backlogs, columns));
            let refused: String = figures.backlogs.iter().filter_map(refused).collect();
            format!("\nHow long chats take that are triggered at once, at {rate} calls a second\n\n{listed}{refused}")
        });
        format!(
            "How late an ending is noticed on a quiet queue\n\n{lateness}\nWhat syncs of {} cost in a month: list prices of {region}, \
             {prices_as_of}, no free tier\n\n{cost}\nWhat breaks first: how many chats in flight each limit allows, and its use at some\n\n{limits}{backlog}",
            span(self.length)
        )
    }
}

fn lateness_table(rows: &[Lateness], columns: Option<u16>) -> Table {
    let mut listed = table::table(&["a sync of", "calls", "late on average, s", "late at worst, s"], columns);
    for row in rows {
        listed.add_row([
            span(Duration::from_secs_f64(row.length_seconds)),
            row.calls.to_string(),
            short(row.mean_seconds),
            short(row.worst_seconds),
        ]);
    }
    numbers_right(listed)
}

/// A warning, if the pace is too slow for the triggers of so many chats.
fn refused(backlog: &Backlog) -> Option<String> {
    let Backlog { chats, refused, .. } = *backlog;
    let [refused, chats] = [(refused > 0).then_some(refused)?, chats].map(|count| large(f64::from(count)));
    Some(format!(
        "warning: of {chats} chats triggered at once, {refused} are refused (bridge/deadline_exceeded): their turn comes later than \
         BRIDGE_RUN_DEADLINE_SECONDS after the trigger; trigger them more slowly\n"
    ))
}

fn backlog_table(backlogs: &[Backlog], columns: Option<u16>) -> Table {
    let mut listed = table::table(&["chats", "calls a sync", "all started after", "all ended after"], columns);
    for backlog in backlogs {
        let [started, ended] = [backlog.started_seconds, backlog.ended_seconds].map(|seconds| {
            let whole = Duration::from_secs_f64(seconds.ceil());
            span(whole)
        });
        listed.add_row([large(f64::from(backlog.chats)), backlog.calls.to_string(), started, ended]);
    }
    numbers_right(listed)
}

fn cost_table(months: &[Month], columns: Option<u16>) -> Table {
    let mut listed = table::table(&[], columns);
    let mut row = |name: &str, cell: &dyn Fn(&Month) -> String| {
        let cells = months.iter().map(cell);
        listed.add_row(std::iter::once(name.to_owned()).chain(cells));
    };
    row("syncs a month", &|month| if month.syncs == 0.0 { "idle".to_owned() } else { large(month.syncs) });
    row("messages a second", &|month| short(month.batching.messages_per_second));
    row("messages a batch", &|month| short(month.batching.batch));
    row("calls a sync", &|month| month.sync.calls.to_string());
    row("write units a sync", &|month| month.sync.write_units().to_string());
    row("bytes of an item", &|month| month.sync.item_bytes.to_string());
    if months.iter().any(|month| month.capacity.is_some()) {
        row("TableCapacity", &|month| month.capacity.map_or(String::new(), |capacity| capacity.to_string()));
    }
    row("late on average, s", &|month| short(month.mean_lateness_seconds));
    row("late at worst, s", &|month| short(month.worst_lateness_seconds));
    row("", &|_| String::new());
    row("USD a month", &|_| String::new());
    let names = months.first().map(|month| month.usd.lines().map(|(name, _)| name));
    for (index, name) in names.into_iter().flatten().enumerate() {
        row(name, &|month| format!("{:.2}", month.usd.lines()[index].1));
    }
    row("total", &|month| format!("{:.2}", month.total_usd));
    row("a million syncs", &|month| {
        if month.syncs == 0.0 { String::new() } else { format!("{:.2}", month.total_usd / month.syncs * 1e6) }
    });
    numbers_right(listed)
}

fn limits_table(limits: &[Limit], in_flight: &[u32], columns: Option<u16>) -> Table {
    let in_flight: Vec<f64> = in_flight.iter().map(|chats| f64::from(*chats)).collect();
    let mut headings = vec!["limit".to_owned(), "allows".to_owned()];
    headings.extend(in_flight.iter().map(|chats| format!("at {}", large(*chats))));
    headings.push("quota".to_owned());
    let headings: Vec<&str> = headings.iter().map(String::as_str).collect();
    let mut listed = table::table(&headings, columns);
    for limit in limits {
        let allowed = limit.chats.map_or("any".to_owned(), large);
        let used = in_flight.iter().map(|chats| percent(limit.share(*chats)));
        let quota = format!("{} {}", large(limit.holds), limit.unit);
        listed.add_row([limit.name.to_owned(), allowed].into_iter().chain(used).chain([quota]));
    }
    table::leave_out(&mut listed, columns, &[headings.len() - 1]);
    numbers_right(listed)
}

/// Aligns every column but the first to the right.
fn numbers_right(mut listed: Table) -> Table {
    for column in listed.column_iter_mut().skip(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    listed
}

/// A count in two or three digits and a unit.
fn large(number: f64) -> String {
    let (scaled, unit) = match number {
        ..1e3 => (number, ""),
        1e3..1e6 => (number / 1e3, " k"),
        _ => (number / 1e6, " M"),
    };
    let digits = usize::from(scaled < 10.0 && (scaled.fract() * 10.0).round() % 10.0 != 0.0);
    format!("{scaled:.digits$}{unit}")
}

/// A number in three digits or so.
fn short(number: f64) -> String {
    let digits = match number {
        ..0.1 => 3,
        0.1..1.0 => 2,
        1.0..100.0 => 1,
        _ => 0,
    };
    format!("{number:.digits$}")
}

/// A share in percent, or as a factor if it is large.
fn percent(share: f64) -> String {
    match share * 100.0 {
        ..0.05 => "0 %".to_owned(),
        percent @ ..1.0 => format!("{percent:.1} %"),
        percent @ ..1000.0 => format!("{percent:.0} %"),
        _ => format!("{share:.0} x"),
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;
    use unicode_width::UnicodeWidthStr;

    use super::*;

    #[derive(Debug, Parser)]
    struct Line {
        #[command(flatten)]
        plan: Plan,
    }

    fn parsed(arguments: &[&str]) -> Plan {
        Line::parse_from([&["plan"], arguments].concat()).plan
    }

    fn figures(plan: &Plan) -> Figures {
        plan.figures(Config::default()).unwrap()
    }

    #[test]
    fn plan_for_people() {
        let plan = parsed(&[]);
        insta::assert_snapshot!(plan.text(&figures(&plan), None));
    }

    #[test]
    fn defaults_are_the_deployments() {
        let plan = parsed(&[]);
        let with = crate::plan::plan(
            &plan.syncs.iter().map(|syncs| f64::from(*syncs)).collect::<Vec<_>>(),
            &LENGTHS,
            &SyncProfile::default(),
            &Deployment::default(),
        );
        assert_eq!(figures(&plan), with.unwrap());
    }

    #[test]
    fn every_option_changes_the_figures() {
        let unchanged = figures(&parsed(&[]));
        for arguments in [
            &["--syncs", "7"][..],
            &["--length", "1h"],
            &["--triggers", "2"],
            &["--metadata-bytes", "1024"],
            &["--earlier-syncs", "9"],
            &["--batch-size", "5"],
            &["--batch-window", "0s"],
            &["--max-concurrency", "20"],
            &["--memory", "256"],
            &["--invocation", "1s"],
            &["--timeout", "90s"],
            &["--sweep-every", "10m"],
            &["--tracing"],
            &["--provisioned"],
        ] {
            assert_ne!(figures(&parsed(arguments)), unchanged, "{arguments:?}");
        }
        let mut config = Config::default();
        config.rules.schedule.poll_max = Duration::from_secs(20);
        assert_ne!(parsed(&[]).figures(config).unwrap(), unchanged, "BRIDGE_POLL_MAX_SECONDS");
    }

    #[test]
    fn backlog_whose_triggers_are_refused_has_a_warning() {
        let plan = parsed(&["--calls-per-second", "1", "--backlog", "1000,100000"]);
        let text = plan.text(&figures(&plan), None);
        let warnings: Vec<_> = text.lines().filter(|line| line.starts_with("warning: ")).collect();
        let [warning] = warnings[..] else { panic!("{text}") };
        assert!(warning.contains("of 100 k chats triggered at once, 14 k are refused"), "{warning}");
    }

    #[test]
    fn tables_fit_the_terminal() {
        let plan = parsed(&["--length", "1h"]);
        for columns in [80, 100, 140] {
            let text = plan.text(&figures(&plan), Some(columns));
            let tables = text.lines().filter(|line| line.starts_with(' '));
            let widest = tables.map(UnicodeWidthStr::width).max().unwrap();
            assert!(widest <= usize::from(columns), "{widest} columns of {columns}:\n{text}");
            let unlimited = plan.text(&figures(&plan), None);
            assert_eq!(text.lines().count(), unlimited.lines().count(), "no line is wrapped:\n{text}");
        }
    }

    #[test]
    fn numbers_are_short() {
        let texts = [999.0, 1000.0, 18_750.0, 1_400_000.0, 2e6, 40_000.0, 1_333_333.0].map(large);
        assert_eq!(texts, ["999", "1 k", "19 k", "1.4 M", "2 M", "40 k", "1.3 M"]);
        assert_eq!([0.0, 0.003_47, 0.38, 3.84, 142.7].map(short), ["0.000", "0.003", "0.38", "3.8", "143"]);
        assert_eq!([0.0, 0.0004, 0.002, 0.5, 1.2, 12.0].map(percent), ["0 %", "0 %", "0.2 %", "50 %", "120 %", "12 x"]);
    }
}
