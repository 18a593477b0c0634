//! What a seed determines before anything happens: the chats and accounts, what arrives when, the bridge's settings, and which faults
//! occur how often.

use std::time::Duration;

use postpress_bridge::event_source_mapping::EventSourceMapping;
use postpress_bridge::ids::{Subject, Workspace};
use postpress_bridge::postpress::{Resync, SyncCall};
use postpress_bridge::run::{Rules, Schedule};
use postpress_bridge::settings::{Config, Limits};
use postpress_bridge::simulator::{Faults as ProviderFaults, Span};
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{RngExt, SeedableRng};

use super::crowd;

const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_mins(1);

/// A seed's world.
#[derive(Debug, Clone)]
pub(super) struct Plan {
    pub(super) seed: u64,
    pub(super) troubles: Troubles,
    pub(super) config: Config,
    pub(super) provider: ProviderFaults,
    pub(super) slowest_answer: Duration,
    pub(super) mapping: EventSourceMapping,
    pub(super) visibility: Duration,
    pub(super) max_receives: u32,
    /// Messages from outside, soonest first.
    pub(super) arrivals: Vec<Arrival>,
    pub(super) brown_outs: Vec<BrownOut>,
    /// When the faults end, except for the provider's.
    pub(super) heals_at: Duration,
    /// Whether the sweeps have more healthy runs to look at than they have time for.
    pub(super) is_crowded: bool,
}

/// The rates of faults: shares of all operations, deliveries or invocations.
#[derive(Debug, Clone, Default)]
pub(super) struct Troubles {
    pub(super) crashes: f64,
    pub(super) replies_lost: f64,
    pub(super) late: f64,
    pub(super) throttles: f64,
    pub(super) refusals: f64,
    pub(super) slow: f64,
    pub(super) entries_failed: f64,
    pub(super) delivered_in_flight: f64,
    pub(super) delivered_after_deletion: f64,
    pub(super) receives_lost: f64,
    pub(super) deletes_lost: f64,
    /// How much the clocks of two invocations may differ.
    pub(super) skew: Duration,
}

/// A message from outside.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Arrival {
    pub(super) at: Duration,
    pub(super) body: String,
    pub(super) kind: Kind,
}

/// The kind of a message from outside.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Kind {
    Trigger { call: SyncCall, key: Option<String>, after_request: bool },
    Cancel,
    Invalid,
    Sweep,
}

/// A time of minutes when a service is down.
#[derive(Debug, Clone)]
pub(super) struct BrownOut {
    pub(super) service: Service,
    pub(super) from: Duration,
    pub(super) to: Duration,
    /// Whether it does not answer at all, instead of with an error.
    pub(super) hangs: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Service {
    Table,
    Queue,
    Bus,
    Provider,
}

impl Service {
    pub(super) const ALL: [Self; 4] = [Self::Table, Self::Queue, Self::Bus, Self::Provider];
}

impl Plan {
    pub(super) fn of(seed: u64) -> Self {
        let mut random = StdRng::seed_from_u64(seed);
        let random = &mut random;
        let gentle = seed.is_multiple_of(5);
        let troubles = if gentle { Troubles::gentle(random) } else { Troubles::rough(random) };
        let active = MINUTE * random.random_range(5..20);
        let (provider, slowest_answer) = provider(random, seed, gentle);
        let brown_outs = if gentle { Vec::new() } else { brown_outs(random, active) };
        let rules = Rules { schedule: schedule(random), overdue: overdue(random), ..Rules::default() };
        let mut limits = Limits { max_in_flight: *[1, 2, 50, 50].choose(random).unwrap(), ..Limits::default() };
        let mapping = EventSourceMapping {
            batch_size: random.random_range(1..=10),
            concurrency: random.random_range(2..=5),
            invocation: SECOND * random.random_range(16..=60),
        };
        let is_crowded = seed.is_multiple_of(3);
        if is_crowded {
            let time = mapping.invocation - limits.provider_timeout - rules.lease_margin;
            limits.sweep_pace = time / crowd::ALLOWANCE;
        }
        Self {
            seed,
            troubles,
            config: Config { rules, limits, ..Config::default() },
            provider,
            slowest_answer,
            mapping,
            visibility: SECOND * random.random_range(90..=360),
            // The deployment has 10; fewer cause more dead letters.
            max_receives: if gentle { 10 } else { random.random_range(3..=10) },
            arrivals: arrivals(random, seed, active),
            brown_outs,
            heals_at: active + MINUTE,
            is_crowded,
        }
    }

    /// Whether no fault can lose an answer on its way to the table or hide a success: no crash, no lost reply, nothing
    /// late, no service down for longer than a message's receives last.
    pub(super) fn is_gentle(&self) -> bool {
        let Troubles { crashes, replies_lost, late, refusals, .. } = self.troubles;
        let ProviderFaults { drop_reply_rate, late_rate, .. } = self.provider;
        let is_fast = self.slowest_answer < self.config.limits.provider_timeout;
        crashes + replies_lost + late + refusals + drop_reply_rate + late_rate == 0.0
            && is_fast
            && self.brown_outs.is_empty()
    }

    /// The service's brown-out at that time.
    pub(super) fn brown_out(&self, service: Service, now: Duration) -> Option<&BrownOut> {
        self.brown_outs.iter().find(|out| out.service == service && (out.from..out.to).contains(&now))
    }
}

impl Troubles {
    fn gentle(random: &mut StdRng) -> Self {
        Self {
            throttles: rate(random),
            slow: rate(random),
            entries_failed: rate(random),
            delivered_in_flight: rate(random),
            delivered_after_deletion: rate(random),
            skew: skew(random),
            ..Self::default()
        }
    }

    fn rough(random: &mut StdRng) -> Self {
        Self {
            crashes: *[0.0, 0.1, 0.3, 0.5].choose(random).unwrap(),
            replies_lost: rate(random),
            late: rate(random),
            refusals: rate(random) / 4.0,
            receives_lost: rate(random),
            deletes_lost: rate(random),
            ..Self::gentle(random)
        }
    }
}

/// Most faults are absent from a world, so that each occurs alone as well as among others.
fn rate(random: &mut StdRng) -> f64 {
    *[0.0, 0.0, 0.03, 0.1, 0.25].choose(random).unwrap()
}

/// Within the margin for clock skew, which is 5 s.
fn skew(random: &mut StdRng) -> Duration {
    Duration::from_millis(*[0, 0, 1_000, 4_900].choose(random).unwrap())
}

/// The deployment's is longer than SQS's longest delay. Where it is shorter, a waiting poll looks lost, and the sweep sends
/// an early one beside it.
fn overdue(random: &mut StdRng) -> Duration {
    let (least, most) = *[(20, 120), (120, 600), (901, 1500)].choose(random).unwrap();
    SECOND * random.random_range(least..most)
}

fn schedule(random: &mut StdRng) -> Schedule {
    Schedule {
        poll_factor: *[1.5, 2.0, 3.0].choose(random).unwrap(),
        poll_max: SECOND * random.random_range(30..300),
        retry: SECOND * random.random_range(60..600),
        run_deadline: SECOND * random.random_range(400..3600),
        max_polls: random.random_range(6..40),
        ..Schedule::default()
    }
}

/// The provider's faults, and its slowest answer.
fn provider(random: &mut StdRng, seed: u64, gentle: bool) -> (ProviderFaults, Duration) {
    let slowest = *[500, 3_000, 6_000].choose(random).unwrap();
    let slowest = Duration::from_millis(if !gentle && random.random_bool(0.2) { 16_000 } else { slowest });
    let faults = ProviderFaults {
        seed,
        latency: Span::between(Duration::from_millis(20), slowest),
        drop_request_rate: rate(random) / 2.0,
        error_rate: rate(random) / 2.0,
        drop_reply_rate: if gentle { 0.0 } else { rate(random) / 2.0 },
        late_rate: if gentle { 0.0 } else { rate(random) / 2.0 },
        late_after: Span::between(11 * SECOND, 3 * MINUTE),
        calls_per_second: None,
        calls_burst: 1.0,
    };
    (faults, slowest)
}

fn brown_outs(random: &mut StdRng, active: Duration) -> Vec<BrownOut> {
    let mut brown_outs = Vec::new();
    for service in Service::ALL {
        if random.random_bool(0.15) {
            let from = active.mul_f64(random.random_range(0.0..0.5));
            let to = from + SECOND * random.random_range(10..300);
            brown_outs.push(BrownOut { service, from, to, hangs: random.random() });
        }
    }
    brown_outs
}

fn arrivals(random: &mut StdRng, seed: u64, active: Duration) -> Vec<Arrival> {
    let mut arrivals = Vec::new();
    for number in 0..random.random_range(1..=3) {
        let call = call(&chat(random, number), seed, number);
        // All at the beginning, or spread until long after the first run's end.
        let within = if random.random_bool(0.4) { 20 * SECOND } else { active };
        for _ in 0..random.random_range(1..=4) {
            let at = within.mul_f64(random.random());
            let trigger = trigger(random, &call, at);
            if random.random_bool(0.2) {
                let late = if random.random() { SECOND } else { active };
                arrivals.push(Arrival { at: at + late.mul_f64(random.random()), ..trigger.clone() });
            }
            arrivals.push(trigger);
        }
        // Once in a while the same cancel is sent twice.
        for _ in 0..*[0, 0, 0, 1, 1, 2].choose(random).unwrap() {
            let subject = &call.subject;
            let workspace = subject.workspace();
            let body = serde_json::json!({"action": "cancel", subject.kind().id_field(): subject.id(), "workspace": workspace});
            let body = body.to_string();
            arrivals.push(Arrival { at: within.mul_f64(random.random()), body, kind: Kind::Cancel });
        }
    }
    if random.random_bool(0.3) {
        let at = active.mul_f64(random.random());
        arrivals.push(Arrival { at, body: invalid(random), kind: Kind::Invalid });
    }
    arrivals.extend(sweeps(random, active));
    arrivals.sort_by_key(|arrival| arrival.at);
    arrivals
}

/// What to sync: this chat, or in every fourth place an account with its behaviour, in chunks; every third in another workspace.
fn call(chat: &str, seed: u64, number: u64) -> SyncCall {
    let SyncCall { subject, resync } = call_in_default_workspace(chat, seed, number);
    let workspace = if (seed + number).is_multiple_of(3) { "team-7" } else { "default" };
    SyncCall { subject: subject.in_workspace(Workspace::parse(workspace).expect("a name")), resync }
}

fn call_in_default_workspace(chat: &str, seed: u64, number: u64) -> SyncCall {
    if !(seed + number).is_multiple_of(4) {
        return Subject::chat(chat).expect("it is one").into();
    }
    let chunks = 1 + seed % 3;
    let (opening, ending) = chat.rsplit_once("-then-").map_or((None, chat), |(one, other)| (Some(one), other));
    let ending = ending.replace("-in-", &format!("-in-{chunks}-chunks-of-"));
    let account = opening.map_or(ending.clone(), |opening| format!("{opening}-then-{ending}"));
    let resync = Resync { chunk_size: (1 + number).try_into().ok(), ..Resync::default() };
    SyncCall { subject: Subject::account(&account).expect("it is one"), resync }
}

fn trigger(random: &mut StdRng, call: &SyncCall, at: Duration) -> Arrival {
    let key = random.random_bool(0.4).then(|| format!("key-{}", random.random_range(0..3)));
    let number: u16 = random.random();
    let mut call = call.clone();
    // Most triggers for an account ask with the same options.
    if !call.resync.is_empty() && number.is_multiple_of(3) {
        call.resync.partial = Some(true);
    }
    let SyncCall { subject, resync } = &call;
    let mut body = serde_json::json!({ subject.kind().id_field(): subject.id(), "metadata": {"n": number} });
    if !subject.workspace().is_default() {
        body["workspace"] = serde_json::json!(subject.workspace());
    }
    if !resync.is_empty() {
        body["resync"] = serde_json::json!(resync);
    }
    // From the same random number, so that it changes nothing else of a world.
    if number.is_multiple_of(5) {
        body["fresh_for_seconds"] = serde_json::json!(number / 10);
    }
    let after_request = number.is_multiple_of(7);
    if after_request {
        body["after_request"] = serde_json::json!(true);
    }
    if let Some(key) = &key {
        body["idempotency_key"] = serde_json::json!(key);
    }
    Arrival { at, body: body.to_string(), kind: Kind::Trigger { call, key, after_request } }
}

fn invalid(random: &mut StdRng) -> String {
    let bodies =
        ["null", "no JSON", "{}", r#"{"chat_id": ""}"#, r#"{"chat_id": "c", "metadata": 1}"#, r#"{"chat_id": ".."}"#];
    (*bodies.choose(random).unwrap()).to_owned()
}

/// Every five minutes, occasionally two at once, and some at any time.
fn sweeps(random: &mut StdRng, active: Duration) -> Vec<Arrival> {
    let sweep = |at| Arrival { at, body: postpress_bridge::message::SWEEP_BODY.to_owned(), kind: Kind::Sweep };
    let mut sweeps = Vec::new();
    let mut at = 5 * MINUTE;
    while at < active {
        let times = if random.random_bool(0.3) { 2 } else { 1 };
        sweeps.extend((0..times).map(|_| sweep(at)));
        at += 5 * MINUTE;
    }
    if random.random_bool(0.3) {
        sweeps.push(sweep(active.mul_f64(random.random())));
    }
    sweeps
}

/// A chat that behaves as its id says (`simulator::script`).
fn chat(random: &mut StdRng, number: u64) -> String {
    let finish = *["done", "done", "done", "error", "deleted"].choose(random).unwrap();
    let ending = match random.random_range(0..10) {
        0 => {
            let endings = [
                "resource_not_found",
                "unknown-status",
                "wrong-chat-done",
                "missing_credentials",
                "no_handler",
                "html",
            ];
            (*endings.choose(random).unwrap()).to_owned()
        }
        1 => finish.to_owned(),
        _ => format!("{finish}-in-{}s", random.random_range(1..200)),
    };
    let troubles = [
        "503",
        "429-retry-after-20s",
        "429",
        "limit_exceeded",
        "network_down-retry-after-40s",
        "missing_credentials",
        "html",
        "empty",
        "truncated",
        "wrong-chat",
        "wrong-object",
        "envelope-in-200",
    ];
    let opening = match random.random_range(0..3) {
        0 => format!("{}-for-{}-calls-then-", troubles.choose(random).unwrap(), random.random_range(1..=2)),
        _ => String::new(),
    };
    format!("{opening}{ending}~{number}")
}
