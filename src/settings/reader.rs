//! Reads variables, with one method for each group of settings.

use std::fmt;
use std::num::NonZeroU32;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use secrecy::SecretString;

use super::{
    Backend, Config, DEFAULT_EVENT_BUS, DEFAULT_EVENT_SOURCE, DEFAULT_MAX_IN_FLIGHT, DEFAULT_METRICS_NAMESPACE,
    DEFAULT_PROVIDER_TIMEOUT, DEFAULT_STATE_FILE, Fault, Limits, PaceSettings, Processes, ProviderSettings, Runs,
    SecretRef, SecretSource,
};
use crate::credentials::secret_text;
use crate::postpress::client::{ApiKey, BaseUrl, DEFAULT_BASE_URL};
use crate::postpress::pace::CALLS_PER_SECOND;
use crate::run::{DEFAULT_LEASE_MARGIN, DEFAULT_OVERDUE, DEFAULT_RUN_TTL, DELAY_MAX, Rules, Schedule};
use crate::telemetry::LogFilter;
use crate::text::bounded;

/// The most bytes of an invalid value that a message quotes.
const SHOWN_MAX_BYTES: usize = 80;

/// The shortest delay, timeout or budget. A shorter one is probably a mistake.
const SHORTEST: f64 = 0.1;
/// The longest budget: ten years, so that no sum of times overflows.
const LONGEST_BUDGET: f64 = 315_360_000.0;
/// The longest call, and the most clock skew: a call with a margin on both sides fits into a Lambda's 15 minutes.
const LONGEST_CALL: f64 = 300.0;
/// The most processes: more than the concurrency of any account.
const MOST_PROCESSES: u32 = 100_000;
/// The most connections of one process. A Lambda has 1,024 file descriptors.
const MOST_IN_FLIGHT: usize = 900;

/// Reads variables and collects their faults. After a fault it continues with the default, to find the other faults too.
pub struct Reader<'a> {
    pub(super) env: &'a dyn Fn(&str) -> Option<String>,
    pub(super) faults: Vec<Fault>,
}

impl<'a> Reader<'a> {
    pub(super) fn new(env: &'a dyn Fn(&str) -> Option<String>) -> Self {
        Self { env, faults: Vec::new() }
    }

    pub(super) fn provider(&mut self, processes: Processes) -> Option<ProviderSettings> {
        let base_url = self.base_url();
        let key = self.api_key();
        let workspaces = self.workspaces();
        let pace = self.pace(processes);
        Some(ProviderSettings { base_url: base_url?, key: key?, workspaces, pace })
    }

    pub(super) fn pace(&mut self, processes: Processes) -> PaceSettings {
        const RATE: &str = "BRIDGE_CALLS_PER_SECOND";
        const PROCESSES: &str = "BRIDGE_MAX_CONCURRENCY";
        let calls_per_second = self.optional(RATE, CALLS_PER_SECOND, "calls a second");
        let burst = self.optional("BRIDGE_CALLS_BURST", 1.0..=*CALLS_PER_SECOND.end(), "a number of calls");
        let concurrent = self.optional(PROCESSES, 1..=MOST_PROCESSES, "a whole number").and_then(NonZeroU32::new);
        let processes = match processes {
            Processes::One => Some(NonZeroU32::MIN),
            Processes::Concurrent => concurrent,
        };
        let pace = PaceSettings { calls_per_second, burst, processes };
        match (calls_per_second, processes) {
            (Some(_), None) => {
                self.missing(
                    PROCESSES,
                    "how many processes there may be at once, among which BRIDGE_CALLS_PER_SECOND is divided",
                );
            }
            (Some(_), Some(_)) if pace.is_too_slow() => {
                self.conflict(
                    RATE,
                    PROCESSES,
                    "leave each process less than a call an hour; raise the first or lower the second",
                );
            }
            _ => {}
        }
        pace
    }

    fn schedule(&mut self) -> Schedule {
        let (poll_initial, poll_max) = self.poll_bounds();
        let budget = SHORTEST..=LONGEST_BUDGET;
        let default = Schedule::default();
        Schedule {
            poll_initial,
            poll_factor: self.number("BRIDGE_POLL_FACTOR", default.poll_factor, 1.0..=100.0, "a number"),
            poll_max,
            retry: self.seconds("BRIDGE_RETRY_SECONDS", default.retry, budget.clone()),
            connect_grace: self.seconds("BRIDGE_CONNECT_GRACE_SECONDS", default.connect_grace, 0.0..=LONGEST_BUDGET),
            run_deadline: self.seconds("BRIDGE_RUN_DEADLINE_SECONDS", default.run_deadline, budget),
            max_polls: self.number("BRIDGE_MAX_POLLS", default.max_polls, 1..=1_000_000, "a whole number"),
            speedup: default.speedup,
        }
    }

    pub(super) fn config(&mut self) -> Config {
        let margin = 0.0..=LONGEST_CALL;
        let rules = Rules {
            schedule: self.schedule(),
            lease_margin: self.seconds("BRIDGE_LEASE_MARGIN_SECONDS", DEFAULT_LEASE_MARGIN, margin),
            overdue: self.overdue(),
            run_ttl: self.run_ttl(),
        };
        let limits = Limits {
            provider_timeout: self.provider_timeout(),
            max_in_flight: self.number(
                "BRIDGE_MAX_IN_FLIGHT",
                DEFAULT_MAX_IN_FLIGHT,
                1..=MOST_IN_FLIGHT,
                "a whole number",
            ),
            ..Limits::default()
        };
        Config { rules, limits, event_source: self.event_source() }
    }

    pub(super) fn provider_timeout(&mut self) -> Duration {
        self.seconds("POSTPRESS_TIMEOUT_SECONDS", DEFAULT_PROVIDER_TIMEOUT, SHORTEST..=LONGEST_CALL)
    }

    pub(super) fn overdue(&mut self) -> Duration {
        // A poll may wait in the queue for the longest delay without being overdue.
        self.seconds("BRIDGE_OVERDUE_SECONDS", DEFAULT_OVERDUE, DELAY_MAX.as_secs_f64() + 1.0..=LONGEST_BUDGET)
    }

    pub(super) fn run_ttl(&mut self) -> Duration {
        self.seconds("BRIDGE_RUN_TTL_SECONDS", DEFAULT_RUN_TTL, SHORTEST..=LONGEST_BUDGET)
    }

    pub(super) fn event_source(&mut self) -> String {
        const VARIABLE: &str = "BRIDGE_EVENT_SOURCE";
        let source = self.tidy_or(VARIABLE, DEFAULT_EVENT_SOURCE);
        // EventBridge refuses such entries (NotAuthorizedForSourceException), but only when an event is published.
        if source.starts_with("aws.") {
            let allowed = "any name that does not begin with `aws.`, which AWS reserves";
            self.invalid(VARIABLE, source.clone(), allowed);
        }
        source
    }

    pub(super) fn event_bus(&mut self) -> String {
        self.tidy_or("BRIDGE_EVENT_BUS", DEFAULT_EVENT_BUS)
    }

    pub(super) fn metrics_namespace(&mut self) -> String {
        const VARIABLE: &str = "BRIDGE_METRICS_NAMESPACE";
        let namespace = self.tidy_or(VARIABLE, DEFAULT_METRICS_NAMESPACE);
        // CloudWatch silently drops what it refuses.
        let is_sound = |byte: u8| byte.is_ascii_alphanumeric() || b"._-/# ".contains(&byte);
        if namespace.len() > 255 || namespace.starts_with("AWS/") || !namespace.bytes().all(is_sound) {
            let allowed = "at most 255 letters, digits, spaces and any of `.-_/#`; not `AWS/…`, which AWS reserves";
            self.invalid(VARIABLE, namespace.clone(), allowed);
        }
        namespace
    }

    pub(super) fn backend(&mut self) -> Option<Backend> {
        const VARIABLE: &str = "BRIDGE_BACKEND";
        match self.text(VARIABLE).as_deref() {
            None | Some("aws") => {
                let (queue_url, table) = (self.queue_url(), self.table());
                Some(Backend::Aws { queue_url: queue_url?, table: table? })
            }
            Some("memory") => Some(Backend::Memory),
            Some(other) => {
                self.invalid(VARIABLE, other.to_owned(), "`aws` (the default) or `memory`");
                None
            }
        }
    }

    pub(super) fn table(&mut self) -> Option<String> {
        const VARIABLE: &str = "BRIDGE_TABLE";
        let table = self.required(VARIABLE, "the name of the DynamoDB table of runs")?;
        // DynamoDB's rule for names; an ARN has two more characters.
        let is_sound = |byte: u8| byte.is_ascii_alphanumeric() || b"_.-:/".contains(&byte);
        if table.bytes().all(is_sound) {
            return Some(table);
        }
        self.invalid(VARIABLE, table, "the name of a DynamoDB table (letters, digits and any of `_.-`), or its ARN");
        None
    }

    /// The deployed table if one is set, else the file of this terminal.
    pub(super) fn runs(&mut self) -> Option<Runs> {
        match self.has("BRIDGE_TABLE") {
            true => self.table().map(Runs::Table),
            false => self.state_file().map(Runs::File),
        }
    }

    /// `BRIDGE_STATE_FILE`, else a file in the user's state directory.
    pub(super) fn state_file(&mut self) -> Option<PathBuf> {
        const VARIABLE: &str = "BRIDGE_STATE_FILE";
        if self.has(VARIABLE) {
            return self.tidy(VARIABLE).map(PathBuf::from);
        }
        let directory = self.state_directory();
        if directory.is_none() {
            self.missing(VARIABLE, "the file for the run table, since no home directory was found");
        }
        Some(directory?.join(DEFAULT_STATE_FILE))
    }

    pub(super) fn log_filter(&mut self, default: LogFilter) -> LogFilter {
        const VARIABLE: &str = "BRIDGE_LOG";
        let Some(text) = self.text(VARIABLE) else { return default };
        LogFilter::parse(&text).unwrap_or_else(|error| {
            let allowed = format!("a filter like `info` or `warn,postpress_bridge=debug` ({error})");
            self.invalid(VARIABLE, text, allowed);
            LogFilter::default()
        })
    }

    /// An invalid value is not shown: user info would contain a password.
    pub(super) fn base_url(&mut self) -> Option<BaseUrl> {
        const VARIABLE: &str = "POSTPRESS_BASE_URL";
        let text = self.tidy_or(VARIABLE, DEFAULT_BASE_URL);
        BaseUrl::parse(&text).map_err(|error| self.unusable(VARIABLE, format!("cannot be used: {error}"))).ok()
    }

    pub(super) fn api_key(&mut self) -> Option<SecretSource<ApiKey>> {
        const PLAIN: &str = "POSTPRESS_API_KEY";
        const STORED: &str = "POSTPRESS_API_KEY_SECRET_ID";
        if !self.has(PLAIN) && !self.has(STORED) {
            let what = "the provider's API key, or `POSTPRESS_API_KEY_SECRET_ID` to its name or ARN in Secrets Manager";
            self.missing(PLAIN, what);
        }
        self.secret(PLAIN, STORED, ApiKey::parse)
    }

    /// The secret with the workspaces, if one is set.
    pub(super) fn workspaces(&mut self) -> Option<SecretRef> {
        const VARIABLE: &str = "BRIDGE_WORKSPACES_SECRET_ID";
        let reference = self.tidy(VARIABLE)?;
        self.secret_ref(VARIABLE, &reference)
    }

    /// A secret, or where it is stored; `None` if neither is set, or on a fault.
    pub(super) fn secret<T, E: fmt::Display>(
        &mut self,
        plain: &'static str,
        stored: &'static str,
        parse: impl FnOnce(&SecretString) -> Result<T, E>,
    ) -> Option<SecretSource<T>> {
        match (self.text(plain), self.text(stored)) {
            (Some(text), None) => {
                let bare = secret_text::bare(&text).map_err(|error| error.plain(stored));
                let parsed = bare.and_then(|()| parse(&SecretString::from(text)).map_err(|error| error.to_string()));
                let unusable = |why| self.unusable(plain, format!("cannot be used: {why}"));
                parsed.map(SecretSource::Plain).map_err(unusable).ok()
            }
            (None, Some(_)) => {
                let reference = self.tidy(stored)?;
                self.secret_ref(stored, &reference).map(SecretSource::Stored)
            }
            (Some(_), Some(_)) => {
                self.conflict(plain, stored, "are both set; keep one of them");
                None
            }
            (None, None) => None,
        }
    }

    /// Reads `ID` or `ID#field`. Neither a secret's name nor its ARN can contain a `#`.
    fn secret_ref(&mut self, variable: &'static str, reference: &str) -> Option<SecretRef> {
        let (id, field) = reference.split_once('#').map_or((reference, None), |(id, field)| (id, Some(field)));
        if id.is_empty() || field == Some("") {
            // Not shown: it may be the key itself, set by mistake.
            self.unusable(variable, "has nothing before or after its `#`; write `ID`, or `ID#field` for a JSON secret");
            return None;
        }
        Some(SecretRef { variable, id: id.to_owned(), field: field.map(str::to_owned) })
    }

    /// The first delay and the longest one.
    fn poll_bounds(&mut self) -> (Duration, Duration) {
        const INITIAL: &str = "BRIDGE_POLL_INITIAL_SECONDS";
        const MAX: &str = "BRIDGE_POLL_MAX_SECONDS";
        let faults_before = self.faults.len();
        let default = Schedule::default();
        let delay = SHORTEST..=DELAY_MAX.as_secs_f64();
        let initial = self.seconds(INITIAL, default.poll_initial, delay.clone());
        let max = self.seconds(MAX, default.poll_max, delay);
        // If one of them is invalid, comparing it with its default would only confuse.
        if self.faults.len() == faults_before && initial > max {
            let (initial, max) = (initial.as_secs_f64(), max.as_secs_f64());
            let why = format!("are {initial} and {max}; the first must not be greater than the second");
            self.conflict(INITIAL, MAX, why);
        }
        (initial, max)
    }

    pub(super) fn queue_url(&mut self) -> Option<String> {
        const VARIABLE: &str = "BRIDGE_QUEUE_URL";
        let url = self.url_of_queue(VARIABLE, "the URL of the SQS queue")?;
        // Every poll is a delayed message.
        if url.ends_with(".fifo") {
            self.invalid(
                VARIABLE,
                url,
                "the URL of a standard queue, since a FIFO queue cannot delay a single message",
            );
            return None;
        }
        Some(url)
    }

    pub(super) fn events_queue_url(&mut self) -> Option<String> {
        self.url_of_queue("BRIDGE_EVENTS_QUEUE_URL", "the URL of the SQS queue to which a rule sends the events")
    }

    fn url_of_queue(&mut self, variable: &'static str, what: &'static str) -> Option<String> {
        let text = self.required(variable, what)?;
        let url = url::Url::parse(&text).ok().filter(|url| matches!(url.scheme(), "https" | "http"));
        let allowed = match url {
            None => "the queue's URL, which begins with `https://`, not its name or ARN",
            // SQS finds no such queue.
            Some(url) if text.contains(char::is_whitespace) || !ends_with_a_name(&url) => {
                "the queue's URL as returned by SQS, which ends with the queue's name: no slash, space, query or fragment"
            }
            Some(_) => return Some(text),
        };
        self.invalid(variable, text, allowed);
        None
    }

    /// The directory for state: by the XDG base directory specification, which ignores relative paths; on Windows the local
    /// application data.
    pub(super) fn state_directory(&self) -> Option<PathBuf> {
        let directory = |variable| self.text(variable).map(PathBuf::from).filter(|path| path.is_absolute());
        directory("XDG_STATE_HOME")
            .or_else(|| directory("LOCALAPPDATA"))
            .or_else(|| directory("HOME").map(|home| home.join(".local/state")))
    }

    pub(super) fn has(&self, variable: &str) -> bool {
        self.text(variable).is_some()
    }

    /// A text without surrounding white space, which each of its uses would report differently.
    fn tidy(&mut self, variable: &'static str) -> Option<String> {
        let text = self.text(variable)?;
        let trimmed = text.trim();
        if trimmed == text {
            return Some(text);
        }
        // Not shown: it may be a secret, set by mistake.
        self.unusable(variable, "begins or ends with white space, often a line break from a paste; remove it");
        None
    }

    pub(super) fn text(&self, variable: &str) -> Option<String> {
        (self.env)(variable).filter(|value| !value.is_empty())
    }

    fn tidy_or(&mut self, variable: &'static str, default: &str) -> String {
        self.tidy(variable).unwrap_or_else(|| default.to_owned())
    }

    pub(super) fn required(&mut self, variable: &'static str, what: &'static str) -> Option<String> {
        if !self.has(variable) {
            self.missing(variable, what);
        }
        self.tidy(variable)
    }

    fn seconds(&mut self, variable: &'static str, default: Duration, allowed: RangeInclusive<f64>) -> Duration {
        Duration::from_secs_f64(self.number(variable, default.as_secs_f64(), allowed, "seconds"))
    }

    /// A number within `allowed`; `noun` describes it in messages.
    fn number<T>(&mut self, variable: &'static str, default: T, allowed: RangeInclusive<T>, noun: &str) -> T
    where
        T: FromStr + PartialOrd + fmt::Display,
    {
        self.optional(variable, allowed, noun).unwrap_or(default)
    }

    /// The same for a number that has no default.
    fn optional<T>(&mut self, variable: &'static str, allowed: RangeInclusive<T>, noun: &str) -> Option<T>
    where
        T: FromStr + PartialOrd + fmt::Display,
    {
        let found = self.text(variable)?;
        match found.parse() {
            // `NaN` and `inf` parse, too, but no range contains them.
            Ok(number) if allowed.contains(&number) => Some(number),
            _ => {
                let allowed = format!("{noun} from {} to {}", allowed.start(), allowed.end());
                self.invalid(variable, found, allowed);
                None
            }
        }
    }

    pub(super) fn missing(&mut self, variable: &'static str, what: &'static str) {
        self.faults.push(Fault::Missing { variable, what });
    }

    pub(super) fn invalid(&mut self, variable: &'static str, found: String, allowed: impl Into<String>) {
        let (mut found, cut) = bounded(found, SHOWN_MAX_BYTES);
        if cut {
            found.push('…');
        }
        self.faults.push(Fault::Invalid { variable, found, allowed: allowed.into() });
    }

    pub(super) fn unusable(&mut self, variable: &'static str, why: impl Into<String>) {
        self.faults.push(Fault::Unusable { variable, why: why.into() });
    }

    pub(super) fn conflict(&mut self, first: &'static str, second: &'static str, why: impl Into<String>) {
        self.faults.push(Fault::Conflict { first, second, why: why.into() });
    }
}

/// Whether the path's segments all have a name, and nothing follows the path.
fn ends_with_a_name(url: &url::Url) -> bool {
    let is_named = url.path_segments().is_some_and(|mut segments| segments.all(|segment| !segment.is_empty()));
    is_named && url.query().is_none() && url.fragment().is_none()
}
