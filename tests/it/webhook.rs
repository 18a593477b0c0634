//! The webhook as deployed: the real program behind a function URL or an API, with an emulated AWS.

mod hostile;
mod openapi;
mod rotation;
mod start;
mod syncs;
mod unavailable;
mod world;
