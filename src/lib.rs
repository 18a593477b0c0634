//! Sync a postpress chat or account, and receive one event.
//!
//! postpress can load a chat's whole history: one call starts the sync, and the same call, repeated, reports its progress. A
//! call after the end **starts the whole sync again**. postpress-bridge turns that into a message in and an event out. A
//! trigger on SQS starts a run; the run polls by messages that it sends to itself with a delay; the run's ending goes to
//! EventBridge. SQS may deliver a message twice, Lambdas are killed and replies get lost. So a message claims its run in a
//! table before it calls, and an answer is recorded there before anything else is done with it: only an ending that is lost
//! before it is recorded can restart a sync.
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
//! [`worker`] takes a batch of records, and [`message`] parses each. [`run`] decides a step, and from the step's result the
//! next one; it knows no network and no SDK, and is told the time. The worker carries the steps out on four ports: [`store`] (the run
//! table), [`postpress`] (the provider), [`queue`] and [`bus`].
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
//! | [`service`] | how a port fails, and for how long a failed operation is retried |
//! | [`webhook`] | the HTTP front door: authentication, triggers, the status of a run |
//! | [`cli`] | the terminal's commands |
//! | [`console`] | the page of `dev` and `console`: runs, their histories and dead letters, over HTTP on loopback |
//! | [`settings`], [`credentials`] | the environment; keys, tokens and signing secrets, and their rotation |
//! | [`telemetry`], [`metrics`], [`trace`] | the log, an invocation's metrics, the trace that a run's messages share |
//! | `bootstrap`, `aws`, `secrets`, `lambda` | wiring of the deployed programs, the AWS clients, Secrets Manager, Lambda's events (feature `aws`) |
//! | [`plan`] | costs, lateness and capacity, calculated from the run protocol |
//! | [`simulator`] | the provider, simulated, with faults |
//! | [`event_source_mapping`], [`local_invoke`] | Lambda's event source mapping without Lambda; one invocation in memory, for `cargo lambda invoke` |
//! | [`schema`] | the JSON Schemas of triggers, events and the HTTP API |
//! | [`ids`], [`time`], [`text`], [`json`] | shared vocabulary |
//!
//! # Where to make a change
//!
//! Paths are in `src/`, except for those that begin with `tests/`, `infra/` or `docs/`. Tests name what was forgotten: they
//! compare settings, metrics, alarms, error types and schemas with their documentation.
//!
//! | change | files |
//! | --- | --- |
//! | a provider error type | its row in `postpress/catalogue.rs`, which says whether it is final; a test compares it with a copy of the provider's documentation, `tests/data/postpress-sync-endpoint.txt`, which gets the same row. The simulator follows by itself |
//! | the backoff of polls, budgets | `run/schedule.rs`, which also has the delay of redeliveries. Retries of a failed AWS operation are in `service.rs` |
//! | an operation of the provider | its row in `postpress/operation.rs`, its kind of subject in `ids/subject.rs`; the event, the webhook, the simulator and the schemas follow from the row |
//! | what an answer means for a run | `run/ending.rs` |
//! | a metric | its line in `metrics.rs`; the call that counts it, usually in `worker/message_telemetry.rs`; the dashboard in `infra/template.yaml`; `docs/reference/metrics.md` |
//! | a setting | its variable in `settings/reader.rs`; its field in `settings/mod.rs`; `docs/reference/settings.md`; `infra/template.yaml` if a stack can set it |
//! | a store backend | a file in `store/` that implements its `RunStore`, listed in `store/mod.rs`; the place that chooses it (`bootstrap.rs` on AWS, `cli/sync.rs` in a terminal); its line in `tests/it/run_store.rs` |
//! | an event's field | `run/publication.rs` (the data), `event.rs` (the event) |
//! | a kind of message | `message.rs` (its form), `run/message_handler.rs` (what it does) |
//! | a route of the webhook | `webhook/routes.rs` (the path), `webhook/handler.rs` (the answer), `webhook/openapi.rs` (its description) |
//! | a command | a file in `cli/`, listed in `cli/mod.rs` |
//! | what the page shows | `console/view.rs` (the data), `console/page/` (the page) |
//! | a price, a quota | `plan/prices.rs`; then `INSTA_UPDATE=always cargo test --lib cli::plan` and `UPDATE_DOCS=1 cargo test --test it capacity`; the bridge's figures in `docs/alternatives.md` |
//!
//! # Glossary
//!
//! | term | meaning |
//! | --- | --- |
//! | trigger | a request to sync a chat or an account; its *key* identifies repeats of the same request |
//! | run | one sync of one subject, from the trigger that starts it to its one ending |
//! | subject | what a run syncs, a chat or an account, and the run table's key: `{workspace}/chat/{id}` or `{workspace}/account/{id}` |
//! | workspace | a key and a base URL of the provider, by name; `default` is the one that the `POSTPRESS_*` settings configure |
//! | operation | a call of the provider that starts a sync and reads its status: one for chats, one for accounts |
//! | chunk | a part of an account's sync; after the answer that ends one, the next call starts the next |
//! | poll | the bridge's own message that continues a run; handling it calls the provider at most once |
//! | claim | the conditional write that gives one delivery the right to call the provider |
//! | fence | the claim's id: new for each claim, so that everything sent under an earlier one is stale |
//! | holder | the message that made the current claim; delivered again, it may claim once the lease has expired |
//! | lease | until when the claim is protected: the end of the claiming invocation, plus a margin for clock skew |
//! | poll state | what a run has learned from the provider's answers; the table's attribute `learned` |
//! | ending | the terminal status or the error that a run ended with |
//! | outcome | the ending as the run table stores it, with its time and cause |
//! | history | the answers to a run's polls and when they came, in at most 32 small entries of the poll state |
//! | waiting trigger | a trigger that may not join the run in flight: the worker sends it again, under its first key, until that run is over |
//! | cancel | a request to end the run in flight without another call: one write, which every claim looks at |
//! | open index | the table's index that contains only the runs whose ending is not published |
//! | pace | how many calls a second a process makes with one key: its share of the key's rate, less after a 429. A message asks for a token before its claim |
//! | message group | SQS's name for a tenant, by which its fair queues share the worker; a run keeps that of its first trigger |
//! | sweep | a message from a schedule, every few minutes, on which the worker looks through the open index for lost runs and sends a poll for each |
//! | disposition | what happens to a message: it is acknowledged, or delivered again |
//!
//! Start with [`run`]: its tests, in `run/message_handler_tests.rs`, read like a list of what can go wrong.

#[cfg(feature = "aws")]
pub mod aws;
#[cfg(feature = "aws")]
pub mod bootstrap;
pub mod bus;
pub mod cli;
pub mod console;
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
pub mod plan;
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
