//! What plays the outside world, how the tests speak to it, and the tools that they set up for themselves.

pub(crate) mod canary;
pub(crate) mod emulator;
pub(crate) mod files;
pub(crate) mod lambda;
pub(crate) mod log;
pub(crate) mod provider_client;
pub(crate) mod proxy;
pub(crate) mod raw_server;
pub(crate) mod spoiling_server;
pub(crate) mod tls_server;
pub(crate) mod tools;
