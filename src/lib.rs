//! postpress-bridge
pub mod bus;
pub mod cli;
pub mod event;
pub mod ids;
pub mod message;
pub mod postpress;
pub mod queue;
pub mod run;
pub mod service;
pub mod settings;
pub mod simulator;
pub mod store;
pub mod telemetry;
pub mod text;
pub mod time;
pub mod worker;
