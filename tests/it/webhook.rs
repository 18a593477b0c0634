//! The front door as it runs: the real program behind a function URL or an HTTP API, an emulated AWS behind it.

mod hostile;
mod openapi;
mod rotation;
mod start;
mod syncs;
mod unavailable;
mod world;
