//! When to stop: Ctrl-C, or SIGTERM, which is what a container gets.

/// Comes back at the first such signal; never, if there is no way to hear of one.
pub(super) async fn signal() {
    tokio::select! {
        () = ctrl_c() => {}
        () = terminate() => {}
    }
}

async fn ctrl_c() {
    if tokio::signal::ctrl_c().await.is_err() {
        std::future::pending::<()>().await;
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

/// Comes back at the second such signal: whoever asks twice does not want to wait.
pub(super) async fn second_signal() {
    signal().await;
    signal().await;
}
