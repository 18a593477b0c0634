//! postpress-bridge
pub mod event;
pub mod ids;
pub mod message;
pub mod postpress;
pub mod run;
pub mod text;
pub mod time;
