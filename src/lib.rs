//! Sync a postpress chat, and receive one event.
//!
//! postpress can load a chat's whole history: one call starts the sync, and the same call, repeated, reports its progress. One
//! call too many **starts the whole sync again**. postpress-bridge turns that into a message in and an event out: a trigger on
//! SQS starts a run, the run polls with messages that it sends to itself with a delay, and its ending goes to EventBridge,
//! even though SQS delivers messages twice, Lambdas are killed and replies get lost.
//!
//! # How a message flows
//!
//! ```text
//! SQS record ─> message ─> run ─────────────> worker ────────────────────> acknowledged, or delivered again
//!               parse      decide the next    carry it out: store      read, write
//!                          step (pure)                      postpress  call
//!                                                           queue      send a poll
//!                                                           bus        publish the ending
//! ```
//!
//! [`worker`] takes a batch of records, and [`message`] parses each. [`run`] decides the next step and is given its result; it
//! knows no clock, no network and no SDK. The worker carries the steps out on four ports: [`store`] (the run table),
//! [`postpress`] (the provider), [`queue`] and [`bus`].
//!
//! # Modules
//!
//! | module | contents |
//! | --- | --- |
//! | [`message`] | what arrives: triggers, plain or wrapped, and the bridge's own polls and sweeps |
//! | [`run`] | the run protocol, pure: which message may call, what an answer means, when to poll again, how a lost run is found |
//! | [`postpress`] | the provider: the call, the meaning of its answers, its documented errors |
//! | [`event`] | the events that are published |
//! | [`worker`] | a batch: concurrency, time limits, retries, partial failures |
//! | [`store`], [`queue`], [`bus`] | the ports, each a small trait with its adapters |
//! | [`service`] | how a port fails, and how often an operation is retried |
//! | [`webhook`] | the HTTP front door: authentication, triggers, the status of a run |
//! | [`cli`] | the terminal's commands |
//! | [`settings`], [`credentials`] | the environment; keys, tokens and signing secrets, and their rotation |
//! | [`telemetry`], [`metrics`], [`trace`] | the log, an invocation's metrics, the trace that a run's messages share |
//! | `bootstrap`, `aws`, `secrets`, `lambda` | wiring of the deployed programs, the AWS clients, Secrets Manager, Lambda's events (feature `aws`) |
//! | [`simulator`] | the provider, simulated, with faults |
//! | [`event_source_mapping`], [`local_invoke`] | Lambda's event source mapping without Lambda; one invocation in memory, for `cargo lambda invoke` |
//! | [`schema`] | the JSON Schemas of triggers, events and the HTTP API |
//! | [`ids`], [`time`], [`text`], [`json`] | shared vocabulary |
//!
//! # Where to make a change
//!
//! | change | files |
//! | --- | --- |
//! | a provider error type | `postpress/catalogue.rs`, and the provider's text that a test compares it with, `tests/data/postpress-sync-endpoint.txt` |
//! | when to poll, retry or give up | `run/schedule.rs` (delays, budgets), `run/ending.rs` (what an answer means) |
//! | a metric | its line in `metrics.rs`, its call site (`worker/message_telemetry.rs`), the dashboard in `infra/template.yaml` |
//! | a setting | the reader in `settings/reader.rs`, its use, `docs/reference/settings.md` |
//! | a store backend | a file in `store/`, a line in `bootstrap.rs`, a line in `tests/it/run_store.rs` |
//! | an event's field | `event.rs`, `run/publication.rs` |
//! | a command | a file in `cli/`, `cli/mod.rs` |
//!
//! # Glossary
//!
//! | term | meaning |
//! | --- | --- |
//! | trigger | a request to sync a chat; its *key* identifies repeats of the same request |
//! | run | one sync of one chat, from the trigger that starts it to its one ending |
//! | subject | what a run syncs, and the run table's key: `default/chat/{id}` |
//! | poll | the bridge's own message that continues a run; also the call that it leads to |
//! | claim | the conditional write that gives one delivery the right to call the provider |
//! | fence | the `claim_id`: new for each claim, so that everything sent under an earlier one is stale |
//! | holder | the message that made the current claim |
//! | lease | how long the claim is protected: the claiming invocation and a margin for clock skew |
//! | poll state | what a run has learned from the provider's answers; attribute `learned` |
//! | outcome, ending | how a run ended, as stored; as published |
//! | open index | the table's sparse index of runs whose ending is not published |
//! | sweep | a scheduled message that looks through the open index for lost runs and sends a poll for each |
//! | disposition | what happens to a message: it is acknowledged, or delivered again |
//!
//! Start with [`run`]: its tests read like a list of what can go wrong.

#[cfg(feature = "aws")]
pub mod aws;
#[cfg(feature = "aws")]
pub mod bootstrap;
pub mod bus;
pub mod cli;
pub mod credentials;
pub mod event;
pub mod event_source_mapping;
pub mod ids;
pub mod json;
#[cfg(feature = "aws")]
pub mod lambda;
pub mod local_invoke;
pub mod message;
pub mod metrics;
pub mod postpress;
pub mod queue;
pub mod run;
pub mod schema;
#[cfg(feature = "aws")]
pub mod secrets;
pub mod service;
pub mod settings;
pub mod simulator;
pub mod store;
pub mod telemetry;
pub mod text;
pub mod time;
pub mod trace;
pub mod webhook;
pub mod worker;
