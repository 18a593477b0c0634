//! The promises of postpress-bridge, each tried from outside; one binary, because linking it is what takes long.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking, and so do its helpers")]

mod alarms;
mod aws_faults;
mod aws_tls;
mod bad_messages;
mod cargo_lambda;
mod doctor;
mod event_bus;
mod fault_simulation;
mod fuzz;
mod harness;
mod hostile_provider;
mod infra;
mod key_secret;
mod lambda_events;
mod lambda_worker;
mod log_budget;
mod message_queue;
mod model;
mod on_aws;
mod operator;
mod provider_request;
mod provider_tls;
mod reasons;
mod redrive;
mod reference;
mod run_store;
mod sample_events;
mod sample_inputs;
mod schemas;
mod secrets;
mod spoiled_answers;
mod terminal;
mod virtual_time;
mod webhook;
mod work;
