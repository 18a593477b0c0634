//! The 69 documented error types.
