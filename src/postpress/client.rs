//! The call over HTTP.
