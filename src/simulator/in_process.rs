//! The simulator as a [`Provider`] without a socket, for tests in virtual time: tokio's paused clock advances while a socket is
//! pending.

use std::time::Duration;

use tokio::time::timeout;

use super::exchange::Simulator;
use crate::postpress::{Answer, Body, Failure, Mask, Provider, SyncCall};

impl Provider for Simulator {
    /// Reads a reply as the HTTP client does.
    async fn sync(&self, call: &SyncCall, deadline: Duration) -> Answer {
        let lost = |status, detail: &str, may_land_late| {
            Answer::Failed(Failure::lost(status, detail.to_owned(), may_land_late))
        };
        match timeout(deadline, self.call(call)).await {
            Ok(Some(reply)) => Answer::from_response(
                &call.subject,
                reply.http_status,
                reply.retry_after,
                &Body::whole(&*reply.body),
                Mask::NONE,
            ),
            Ok(None) => lost(502, "the connection was closed without an answer", false),
            Err(_) => lost(504, "no answer in time", true),
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::{Instant, sleep};

    use super::super::faults::Faults;
    use super::super::log::CallRecord;
    use super::super::reply::Said;
    use super::super::span::Span;
    use super::*;
    use crate::ids::Subject;
    use crate::postpress::{Finish, Progress, RetryClass};

    const DEADLINE: Duration = Duration::from_secs(10);

    fn chat(id: &str) -> SyncCall {
        Subject::chat(id).unwrap().into()
    }

    fn retryable(answer: &Answer) -> (u16, bool) {
        match answer {
            Answer::Failed(Failure { retry_class: RetryClass::Retryable, status, may_land_late, .. }) => {
                (*status, *may_land_late)
            }
            other => panic!("{other:?} is not retryable"),
        }
    }

    #[tokio::test(start_paused = true)]
    async fn hour_of_syncing_takes_no_time() {
        let (provider, chat) = (Simulator::new(Faults::default()), chat("done-in-1h"));
        assert_eq!(provider.sync(&chat, DEADLINE).await, Answer::InProgress(Progress::Started));
        sleep(Duration::from_secs(3_599)).await;
        assert_eq!(provider.sync(&chat, DEADLINE).await, Answer::InProgress(Progress::Running));
        sleep(Duration::from_secs(1)).await;
        assert_eq!(provider.sync(&chat, DEADLINE).await, Answer::Over(Finish::Done));
        assert_eq!(provider.stats().total.restarts, 0);
    }

    #[tokio::test(start_paused = true)]
    async fn answer_takes_its_latency() {
        let provider = Simulator::new(Faults { latency: Span::fixed(Duration::from_millis(300)), ..Faults::default() });
        let began = Instant::now();
        provider.sync(&chat("done"), DEADLINE).await;
        assert_eq!(began.elapsed(), Duration::from_millis(300));
    }

    #[tokio::test(start_paused = true)]
    async fn closed_connection_is_a_502_with_or_without_effect() {
        let lost_request = Simulator::new(Faults { drop_request_rate: 1.0, ..Faults::default() });
        let lost_reply = Simulator::new(Faults { drop_reply_rate: 1.0, ..Faults::default() });
        for (provider, syncs) in [(lost_request, 0), (lost_reply, 1)] {
            assert_eq!(retryable(&provider.sync(&chat("done"), DEADLINE).await), (502, false));
            assert_eq!(provider.stats().total.syncs_started, syncs);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn late_call_times_out_at_the_deadline_and_lands_later() {
        let provider = Simulator::new(Faults { late_rate: 1.0, ..Faults::default() });
        let began = Instant::now();
        assert_eq!(retryable(&provider.sync(&chat("done"), DEADLINE).await), (504, true));
        assert_eq!(began.elapsed(), DEADLINE);
        assert_eq!(provider.stats().total.landed, 0);
        sleep(Duration::from_secs(20)).await;
        let total = provider.stats().total;
        assert_eq!((total.landed, total.syncs_started, total.in_flight), (1, 1, 0));
    }

    #[tokio::test(start_paused = true)]
    async fn answer_slower_than_the_deadline_has_its_effect() {
        let provider = Simulator::new(Faults { latency: Span::fixed(Duration::from_secs(15)), ..Faults::default() });
        assert_eq!(retryable(&provider.sync(&chat("done"), DEADLINE).await), (504, true));
        let record = provider.log().remove(0);
        assert_eq!((record.landed_at_ms, record.delivered), (Some(7_500), false));
    }

    #[tokio::test(start_paused = true)]
    async fn call_of_a_crashed_caller_lands() {
        let provider = Simulator::new(Faults { latency: Span::fixed(Duration::from_secs(4)), ..Faults::default() });
        let crash = timeout(Duration::from_secs(1), provider.sync(&chat("done"), DEADLINE)).await;
        assert!(crash.is_err());
        let total = provider.stats().total;
        assert_eq!((total.in_flight, total.landed), (0, 0));
        sleep(Duration::from_secs(1)).await;
        assert_eq!(provider.stats().total.syncs_started, 1);
    }

    /// The log of two chats, polled concurrently with every fault.
    async fn history(seed: u64) -> Vec<CallRecord> {
        let latency = Span::between(Duration::from_millis(10), Duration::from_secs(3));
        let rates = Faults { drop_request_rate: 0.1, drop_reply_rate: 0.2, error_rate: 0.1, ..Faults::default() };
        let provider = Simulator::new(Faults { seed, latency, late_rate: 0.1, ..rates });
        let poll = async |id| {
            for _ in 0..50 {
                provider.sync(&chat(id), DEADLINE).await;
            }
        };
        tokio::join!(poll("done-in-5s"), poll("error-in-2s"));
        provider.log()
    }

    #[tokio::test(start_paused = true)]
    async fn seed_reproduces_a_whole_history() {
        let one = history(1).await;
        assert_eq!(one, history(1).await);
        assert_ne!(one, history(2).await);
    }

    #[tokio::test(start_paused = true)]
    async fn every_restart_follows_a_terminal_answer() {
        let mut landed: Vec<CallRecord> = history(3).await.into_iter().filter(|record| record.said.is_some()).collect();
        landed.sort_by_key(|record| (record.landed_at_ms, record.number));
        for id in ["done-in-5s", "error-in-2s"] {
            let said =
                landed.iter().filter(|record| record.subject == chat(id).subject).filter_map(|record| record.said);
            let turns: Vec<Said> = said.filter(|said| matches!(said, Said::Started { .. } | Said::Over(_))).collect();
            assert_eq!(turns[0], Said::Started { restart: false });
            assert!(turns.len() > 4, "{id} was not restarted");
            for pair in turns.windows(2) {
                let over = matches!(pair[0], Said::Over(_));
                assert_eq!(pair[1] == Said::Started { restart: true }, over, "{id}: {pair:?}");
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn concurrent_calls_of_one_chat_are_counted() {
        let provider = Simulator::new(Faults { latency: Span::fixed(Duration::from_secs(1)), ..Faults::default() });
        let (one, two) = (chat("done~1"), chat("done~2"));
        tokio::join!(provider.sync(&one, DEADLINE), provider.sync(&two, DEADLINE));
        assert_eq!(provider.stats().max_in_flight_each, 1);
        tokio::join!(provider.sync(&one, DEADLINE), provider.sync(&one, DEADLINE));
        assert_eq!(provider.stats().max_in_flight_each, 2);
    }
}
