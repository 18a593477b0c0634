//! The bridge of `dev`, as the page shows it.

use std::collections::BTreeSet;
use std::convert::Infallible;
use std::path::Path;
use std::rc::Rc;
use std::time::Duration;

use tokio::time::Instant;

use super::pollers::BothQueues;
use super::state::{Poller, State};
use crate::console::{About, Bridge, BridgeKind, Comparison, CountsBySubject, LETTERS_MAX, Redriven};
use crate::credentials::Rotating;
use crate::credentials::webhook::Credentials;
use crate::ids::{MessageId, Subject};
use crate::message::TriggerBody;
use crate::message::dead_letter::{Action, DeadLetter};
use crate::queue::{Depth, Outgoing, Queue};
use crate::run::Item;
use crate::service::ServiceError;
use crate::settings::Config;
use crate::simulator::Simulator;
use crate::store::{EndedRuns, OpenRuns, RunStore, RunTable, SqliteStore, Wanted};
use crate::time::Clock;
use crate::webhook::routes::SYNCS;
use crate::webhook::{Auth, Request, Response, Webhook};

/// How often the page asks.
const REFRESH: Duration = Duration::from_secs(1);
/// The time limit of a request to the webhook.
const REQUEST_MAX: Duration = Duration::from_secs(10);
/// The most runs of each list.
const LISTED_MAX: usize = 10_000;

/// The bridge, and the poller without a table beside it.
pub(super) struct DevBridge {
    about: About,
    store: Rc<SqliteStore>,
    table: RunTable,
    state: Rc<State>,
    queues: BothQueues,
    /// The bridge's provider, and the other poller's.
    simulators: [Simulator; 2],
    webhook: Webhook<Rc<SqliteStore>, BothQueues, Infallible>,
}

impl DevBridge {
    #[expect(clippy::too_many_arguments, reason = "the parts of a whole process")]
    pub(super) fn new(
        path: &Path,
        store: Rc<SqliteStore>,
        state: &Rc<State>,
        queues: BothQueues,
        simulators: [Simulator; 2],
        credentials: Credentials,
        config: &Config,
        url: String,
    ) -> Self {
        let auth = Auth::Credentials(Rotating::new("webhook credentials", credentials, None));
        let source = config.event_source.clone();
        let webhook = Webhook::new(Rc::clone(&store), queues.clone(), auth, Clock::System, source.clone());
        let about = About {
            kind: BridgeKind::Dev,
            title: "dev on this machine".to_owned(),
            front_door: Some(url + SYNCS),
            can_trigger: true,
            refresh: REFRESH,
            overdue: config.rules.overdue,
            event_source: source,
        };
        let table = RunTable::File(path.to_owned());
        Self { about, store, table, state: Rc::clone(state), queues, simulators, webhook }
    }

    /// What each subject cost with one poller. A sync that starts again because a trigger asked for it after the end
    /// is no restart.
    fn pollers(&self, poller: Poller, simulator: &Simulator, asked: &CountsBySubject) -> CountsBySubject {
        let mut pollers: CountsBySubject = self.state.endings(poller).unwrap_or_default().into_iter().collect();
        for (subject, seen) in simulator.stats().subjects {
            let again = asked.get(&subject).map_or(0, |counts| counts.endings.saturating_sub(1));
            let counts = pollers.entry(subject).or_default();
            counts.syncs_started = seen.syncs_started;
            counts.restarts = seen.restarts.saturating_sub(again);
        }
        pollers
    }
}

impl Bridge for DevBridge {
    fn about(&self) -> About {
        self.about.clone()
    }

    async fn open_runs(&self) -> Result<OpenRuns, ServiceError> {
        self.table.open_runs(Wanted { workspace: None, limit: LISTED_MAX }).await
    }

    async fn ended_runs(&self) -> Result<EndedRuns, ServiceError> {
        self.table.ended_runs(Wanted { workspace: None, limit: LISTED_MAX }, Clock::System.now()).await
    }

    async fn read(&self, subject: &Subject) -> Result<Option<Item>, ServiceError> {
        self.store.read(subject).await
    }

    async fn depth(&self) -> Result<Option<Depth>, ServiceError> {
        Ok(Some(self.queues.bridge.depth()))
    }

    async fn send(&self, trigger: &TriggerBody) -> Option<Result<MessageId, ServiceError>> {
        self.queues.send(&[Outgoing::of_trigger(trigger, None)]).await.pop()
    }

    async fn dead_letters(&self) -> Result<Vec<DeadLetter>, ServiceError> {
        let letters = self.queues.bridge.dead_letters().into_iter().take(LETTERS_MAX);
        Ok(letters.map(|record| DeadLetter::of(record, &self.about.event_source)).collect())
    }

    async fn redrive(&self, shown: &BTreeSet<MessageId>) -> Result<Redriven, ServiceError> {
        let letters = self.dead_letters().await?.into_iter();
        let letters: Vec<_> = letters.filter(|letter| shown.contains(&letter.record.message_id)).collect();
        let mut redriven = Redriven { not_found: shown.len() - letters.len(), ..Redriven::default() };
        for DeadLetter { record, kind, body } in letters {
            match kind.action() {
                Action::Send => {
                    self.queues.bridge.put_outgoing(&Outgoing {
                        body,
                        delay: Duration::ZERO,
                        trace: record.trace.clone(),
                        group: record.group.clone(),
                    });
                    redriven.sent += 1;
                }
                Action::Drop => redriven.dropped += 1,
                Action::Leave => {
                    redriven.left += 1;
                    continue;
                }
            }
            self.queues.bridge.delete_dead_letter(&record.message_id);
        }
        Ok(redriven)
    }

    fn comparison(&self) -> Option<Comparison> {
        let asked: CountsBySubject = self.state.endings(Poller::Bridge).unwrap_or_default().into_iter().collect();
        let [bridge, stateless] = &self.simulators;
        Some(Comparison {
            bridge: self.pollers(Poller::Bridge, bridge, &asked),
            stateless: self.pollers(Poller::Stateless, stateless, &asked),
        })
    }

    async fn front_door(&self, request: &Request) -> Option<Response> {
        Some(self.webhook.answer(request, Instant::now() + REQUEST_MAX).await)
    }
}
