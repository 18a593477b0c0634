//! What is told of runs over HTTP, and by the terminal's `status --json` in the same form.

pub mod status;
