//! postpress-bridge
pub mod bus;
pub mod event;
pub mod ids;
pub mod message;
pub mod postpress;
pub mod queue;
pub mod run;
pub mod service;
pub mod store;
pub mod text;
pub mod time;
