//! `postpress-bridge console`: the page over a deployed bridge, or over the state file of `sync`.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::Context;
use clap::Args;
use tokio::time::Instant;

use super::aws::DeployedBridge;
use super::{run_table, shutdown};
use crate::console::{About, Bridge, BridgeKind, Comparison, Console as Server, Redriven};
use crate::credentials::webhook::Tokens;
use crate::ids::{MessageId, Subject};
use crate::message::TriggerBody;
use crate::message::dead_letter::DeadLetter;
use crate::queue::Depth;
use crate::run::Item;
use crate::service::ServiceError;
use crate::settings::{FromEnv, Runs, SendSettings};
use crate::store::{EndedRuns, OpenRuns, RunTable, Wanted};
use crate::time::Clock;
use crate::webhook::{Request, Response};

/// How often the page asks. Each time costs a query of each of the index's shards, a read of each open run and four requests to SQS.
const REFRESH: Duration = Duration::from_secs(5);
/// How long a scan for ended runs, which pays for every item, and a look at the dead letters, which hides them for a moment, are
/// good for.
const KEEP: Duration = Duration::from_secs(30);
/// The most runs of each list.
const LISTED_MAX: usize = 200;
/// The same for a file, which costs nothing.
const LISTED_IN_FILE_MAX: usize = 10_000;

/// Show a deployed bridge, or the local runs of `sync`, as a page
///
/// With `BRIDGE_TABLE` and `BRIDGE_QUEUE_URL` set, the page shows the deployed bridge: runs in flight and ended, each run's history,
/// what is on the queue, and dead letters; it sends triggers and cancels, and redrives. Otherwise it shows the file of the local `sync`.
/// Only this machine can reach the page, and only with the token of the URL that is printed. Nothing calls postpress.
///
/// IAM: as for `status`, `runs`, `trigger` and `redrive`.
#[derive(Debug, Clone, Args)]
pub struct Console {
    /// The port of the page on 127.0.0.1; 0 for any free port
    #[arg(long, default_value_t = 4827)]
    port: u16,
}

impl Console {
    /// Serves until Ctrl-C.
    ///
    /// # Errors
    /// If the settings are invalid, or the port or the table cannot be used.
    pub async fn run(self) -> anyhow::Result<()> {
        let (settings, table) = run_table::open("console").await?;
        let (kind, title, queue) = match &settings.runs {
            Runs::File(path) => {
                if !path.exists() {
                    eprintln!("There is no {} yet: `sync` creates it. `dev` has a page of its own.\n", path.display());
                }
                (BridgeKind::File, format!("runs in {}", path.display()), None)
            }
            Runs::Table(name) => {
                let SendSettings { queue_url, .. } = SendSettings::from_env()?;
                let bridge = DeployedBridge::connect("console").await?;
                (BridgeKind::Deployed, format!("table {name}"), Some(DeployedQueue { bridge, queue_url }))
            }
        };
        let no_chat = Subject::chat("postpress-bridge~console")?;
        table.read(&no_chat).await.context("cannot read the run table")?;
        let about = About {
            kind,
            title,
            front_door: None,
            can_trigger: queue.is_some(),
            refresh: if queue.is_some() { REFRESH } else { Duration::from_secs(1) },
            overdue: settings.overdue,
            event_source: settings.event_source,
        };
        let token = uuid::Uuid::new_v4().simple().to_string();
        let server = Server::bind(self.port, Tokens::parse(&token.clone().into())?).await?;
        eprintln!("{}\n\n  {}/#token={token}\n\nCtrl-C stops.", about.title, server.url());
        let bridge = Shown {
            about,
            table,
            queue,
            open: RefCell::default(),
            ended: RefCell::default(),
            letters: RefCell::default(),
        };
        tokio::select! {
            () = server.serve(&bridge, shutdown::signal()) => {}
            () = shutdown::second_signal() => {}
        }
        Ok(())
    }
}

/// The queue of a deployed bridge.
struct DeployedQueue {
    bridge: DeployedBridge,
    queue_url: String,
}

/// Something read, and when.
type Kept<T> = RefCell<Option<(Instant, T)>>;

/// What the page shows.
struct Shown {
    about: About,
    table: RunTable,
    queue: Option<DeployedQueue>,
    /// The open runs of the last time.
    open: RefCell<BTreeSet<Subject>>,
    ended: Kept<EndedRuns>,
    letters: Kept<Vec<DeadLetter>>,
}

/// What was read, if it was a short while ago.
fn kept<T: Clone>(kept: &Kept<T>) -> Option<T> {
    kept.borrow().as_ref().filter(|(read_at, _)| read_at.elapsed() < KEEP).map(|(_, value)| value.clone())
}

fn keep<T: Clone>(kept: &Kept<T>, value: T) -> T {
    kept.replace(Some((Instant::now(), value.clone())));
    value
}

impl Bridge for Shown {
    fn about(&self) -> About {
        self.about.clone()
    }

    async fn open_runs(&self) -> Result<OpenRuns, ServiceError> {
        let open = self.table.open_runs(Wanted { workspace: None, limit: LISTED_MAX }).await?;
        let now_open: BTreeSet<Subject> = open.runs.iter().map(|item| item.subject.clone()).collect();
        let before = self.open.replace(now_open.clone());
        self.keep_ended(before.difference(&now_open)).await?;
        Ok(open)
    }

    async fn ended_runs(&self) -> Result<EndedRuns, ServiceError> {
        let now = Clock::System.now();
        if self.queue.is_none() {
            return self.table.ended_runs(Wanted { workspace: None, limit: LISTED_IN_FILE_MAX }, now).await;
        }
        if let Some(ended) = kept(&self.ended) {
            return Ok(ended);
        }
        let ended = self.table.ended_runs(Wanted { workspace: None, limit: LISTED_MAX }, now).await?;
        Ok(keep(&self.ended, ended))
    }

    async fn read(&self, subject: &Subject) -> Result<Option<Item>, ServiceError> {
        self.table.read(subject).await
    }

    async fn depth(&self) -> Result<Option<Depth>, ServiceError> {
        let Some(DeployedQueue { bridge, queue_url }) = &self.queue else { return Ok(None) };
        bridge.depth(queue_url).await.map(Some).map_err(|error| for_the_page(&error))
    }

    async fn send(&self, trigger: &TriggerBody) -> Option<Result<MessageId, ServiceError>> {
        let DeployedQueue { bridge, queue_url } = self.queue.as_ref()?;
        match bridge.send(queue_url, std::slice::from_ref(trigger), None).await {
            Ok(mut sent) => sent.pop(),
            Err(error) => Some(Err(for_the_page(&error))),
        }
    }

    async fn dead_letters(&self) -> Result<Vec<DeadLetter>, ServiceError> {
        let Some(DeployedQueue { bridge, queue_url }) = &self.queue else { return Ok(Vec::new()) };
        if let Some(letters) = kept(&self.letters) {
            return Ok(letters);
        }
        let letters =
            bridge.dead_letters(queue_url, &self.about.event_source).await.map_err(|error| for_the_page(&error))?;
        Ok(keep(&self.letters, letters))
    }

    async fn redrive(&self, shown: &BTreeSet<MessageId>) -> Result<Redriven, ServiceError> {
        let Some(DeployedQueue { bridge, queue_url }) = &self.queue else { return Ok(Redriven::default()) };
        let redriven = bridge.redrive(queue_url, &self.about.event_source, shown).await;
        self.letters.take();
        redriven.map_err(|error| for_the_page(&error))
    }

    fn comparison(&self) -> Option<Comparison> {
        None
    }

    async fn front_door(&self, _request: &Request) -> Option<Response> {
        None
    }
}

impl Shown {
    /// Adds the runs that are not open any more to the ended ones that were read a while ago.
    async fn keep_ended(&self, subjects: impl Iterator<Item = &Subject>) -> Result<(), ServiceError> {
        for subject in subjects {
            let item = self.table.read(subject).await?;
            if let (Some(item), Some((_, ended))) = (item, &mut *self.ended.borrow_mut()) {
                ended.runs.retain(|run| run.subject != *subject);
                ended.runs.insert(0, item);
            }
        }
        Ok(())
    }
}

/// The whole error as one text.
fn for_the_page(error: &anyhow::Error) -> ServiceError {
    ServiceError::Permanent(format!("{error:#}"))
}
