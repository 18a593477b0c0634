//! postpress-bridge
pub mod cli;
pub mod ids;
pub mod postpress;
pub mod simulator;
pub mod text;
pub mod time;
