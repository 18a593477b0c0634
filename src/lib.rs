//! postpress-bridge
pub mod ids;
pub mod postpress;
pub mod text;
pub mod time;
