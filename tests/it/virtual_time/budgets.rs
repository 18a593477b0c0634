//! The budgets of a run: time, calls, consecutive failures; and the pauses that the provider asks for.

use std::time::Duration;

use postpress_bridge::run::Schedule;

use super::bridge::{Bridge, EPOCH, summary};

const SECOND: Duration = Duration::from_secs(1);
const HOUR: Duration = Duration::from_hours(1);

#[tokio::test(start_paused = true)]
async fn a_run_ends_at_its_deadline_with_the_last_answer_if_it_is_an_ending() {
    let day = Schedule::default().run_deadline;
    for (chat, retry, ending) in [
        ("done-in-48h", HOUR, "504 bridge/deadline_exceeded (bridge) by deadline"),
        ("done-in-24h", HOUR, "sync_done by answer"), // done at that moment, and no earlier call can know
        ("no_handler", 48 * HOUR, "503 errors/no_handler (postpress) by deadline"),
        ("503", 48 * HOUR, "504 bridge/deadline_exceeded (bridge) by deadline"),
    ] {
        let bridge = Bridge::with_schedule(&Schedule { retry, ..Schedule::default() });
        let event = bridge.ending_of(chat).await;
        assert_eq!(summary(&event), ending, "{chat}");
        let after = event.detail.finished_at.unwrap().since(EPOCH);
        assert!((day..day + SECOND).contains(&after), "{chat} after {after:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_run_ends_with_its_last_call() {
    for (chat, ending) in [
        ("done-in-1h", "504 bridge/deadline_exceeded (bridge) by polls"),
        ("no_handler", "503 errors/no_handler (postpress) by polls"),
        ("no_handler-for-4-calls-then-done", "504 bridge/deadline_exceeded (bridge) by polls"),
        ("no_handler-for-4-calls-then-deleted", "chat_deleted by answer"),
    ] {
        let bridge = Bridge::with_schedule(&Schedule { max_polls: 5, ..Schedule::default() });
        let event = bridge.ending_of(chat).await;
        assert_eq!((&*summary(&event), bridge.calls(chat).len()), (ending, 5), "{chat}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_unusable_200_does_not_reset_consecutive_failures() {
    let retry = 100 * SECOND;
    let bridge =
        Bridge::with_schedule(&Schedule { retry, poll_initial: 30 * SECOND, poll_factor: 1.0, ..Schedule::default() });
    let event = bridge.ending_of("no_handler-for-2-calls-then-html-for-1-call-then-network_down").await;
    assert_eq!(summary(&event), "503 errors/network_down (postpress) by retries");
    let after = event.detail.finished_at.unwrap().since(EPOCH);
    assert!((retry..retry + SECOND).contains(&after), "{after:?}");
}

#[tokio::test(start_paused = true)]
async fn retry_after_is_a_lower_bound_up_to_a_quarter_of_an_hour() {
    for (wish, least, most) in [("1s", 4, 6), ("20s", 20, 20), ("120s", 120, 120), ("2h", 900, 900)] {
        let bridge = Bridge::new();
        let chat = format!("503-retry-after-{wish}-for-1-call-then-done-in-0s");
        assert_eq!(summary(&bridge.ending_of(&chat).await), "sync_done by answer");
        let calls = bridge.calls(&chat);
        let pause = calls[1].since(calls[0]);
        assert!((least * SECOND..(most + 1) * SECOND).contains(&pause), "{wish}: {pause:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn retry_after_does_not_extend_the_retry_budget() {
    for wish in ["700s", "900s"] {
        let bridge = Bridge::new();
        let event = bridge.ending_of(&format!("503-retry-after-{wish}")).await;
        assert_eq!(summary(&event), "503 bridge/retries_exhausted (bridge) by retries");
        let after = event.detail.finished_at.unwrap().since(EPOCH);
        assert!((HOUR..HOUR + SECOND).contains(&after), "{wish}: {after:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn the_delay_of_an_ending_is_a_bounded_share_of_the_syncs_time() {
    // Each delay is half as long again as the previous, which is about a third of all before it; then there is jitter.
    for (chat, lasted, calls_at_most) in [("done-in-1m", 60, 8), ("done-in-10m", 600, 13), ("done-in-1h", 3600, 24)] {
        let bridge = Bridge::new();
        let event = bridge.ending_of(chat).await;
        let late = event.detail.finished_at.unwrap().since(EPOCH) - lasted * SECOND;
        let bound = (lasted * SECOND).mul_f64(0.65).min(330 * SECOND);
        assert!(late <= bound, "{chat}: {late:?} late");
        assert!(bridge.calls(chat).len() <= calls_at_most, "{chat}: {} calls", bridge.calls(chat).len());
    }
}
