//! Signals to stop: Ctrl-C, and SIGTERM, which containers get.

/// Completes at the first signal; never, if signals cannot be received.
pub(super) async fn signal() {
    tokio::select! {
        Ok(()) = tokio::signal::ctrl_c() => {}
        () = terminate() => {}
    }
}

#[cfg(unix)]
async fn terminate() {
    use tokio::signal::unix::{SignalKind, signal};
    match signal(SignalKind::terminate()) {
        Ok(mut signals) => drop(signals.recv().await),
        Err(_) => std::future::pending().await,
    }
}

#[cfg(not(unix))]
async fn terminate() {
    std::future::pending().await
}

/// Completes at the second signal: the user does not want to wait.
pub(super) async fn second_signal() {
    signal().await;
    signal().await;
}
