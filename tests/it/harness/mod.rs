//! What plays the outside world, and how the tests speak to it.

pub(crate) mod provider_client;
pub(crate) mod raw_server;
pub(crate) mod tls_server;
