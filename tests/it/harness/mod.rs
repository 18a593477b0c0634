//! Stand-ins for the outside world, the tests' clients of them, and the tools that the tests install.

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
