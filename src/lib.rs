//! Sync a postpress chat, and receive one event.
//!
//! postpress can load a chat's whole history: one call starts the sync, and the same call, made again, tells how far it is.
//! Made once too often, **it starts the whole sync again**. postpress-bridge makes of that a message in and an event out: a
//! trigger on SQS starts a run, the run polls by messages that it sends itself with a delay, and its ending goes to EventBridge,
//! although SQS delivers twice, Lambdas are killed half-way and replies get lost.
//!
//! # The way of a message
//!
//! ```text
//! SQS record ─> message ─> run ──────────────> worker ─────────────────────────> acknowledged, or it comes back
//!               parse      what to do next     do it: store   read, write
//!                          (pure)                     postpress   call
//!                                                     queue   poll again later
//!                                                     bus     publish the ending
//! ```
//!
//! [`worker`] takes a batch of records. [`message`] makes of each what it is. [`run`] says, step by step, what is to be
//! done, and is told what came of it; it knows no clock, no network and no SDK. The worker carries the steps out on four
//! ports: [`store`] (the run table), [`postpress`] (the provider), [`queue`] and [`bus`].
//!
//! # The map
//!
//! | module | what it is |
//! | --- | --- |
//! | [`message`] | what arrives: triggers, plain or wrapped; our own polls and sweeps |
//! | [`run`] | the run protocol, pure: who may call, what an answer means, when to ask again, how a lost run is found |
//! | [`postpress`] | the provider: the call, what its answers mean, its documented errors |
//! | [`event`] | what goes out |
//! | [`worker`] | a batch: concurrency, time, retries, partial failures |
//! | [`store`], [`queue`], [`bus`] | the ports, each a small trait with its adapters |
//! | [`webhook`] | the HTTP front door: who may hand in a trigger, and what is told of a run |
//! | [`service`] | how a port fails, and how often it is asked |
//! | [`simulator`] | the provider played, with faults |
//! | [`event_source_mapping`] | plays Lambda's event source mapping where there is no Lambda |
//! | [`local_invoke`] | one invocation with everything in memory, for `cargo lambda invoke` |
//! | [`cli`] | the terminal's commands |
//! | `aws`, `secrets`, `bootstrap`, `lambda` | the AWS clients over one HTTP stack, the key's secret, the ports put together, Lambda's events in our terms (feature `aws`) |
//! | [`settings`] | the environment |
//! | [`credentials`] | what keys, tokens and signing secrets have to look like, and their rotation |
//! | [`telemetry`], [`metrics`], [`trace`] | the log, the numbers of an invocation, the trace that a run's messages share |
//! | [`schema`] | the JSON Schemas of what comes in and goes out |
//! | [`ids`], [`time`], [`text`], [`json`] | the words that all of them speak in |
//!
//! Start with [`run`]: its tests read like the list of what can go wrong.

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
