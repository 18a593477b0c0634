//! A page that shows a bridge: its runs and their histories, dead letters, and a form for triggers.
//!
//! ```text
//! server.rs   HTTP on loopback            guard.rs   who may ask: host, origin and token
//! api.rs      what the page asks for      view.rs    what it shows, from the run table's items (pure)
//! page/       the page: HTML, CSS and JavaScript without a build step
//! ```
//!
//! The page works over any [`Bridge`]: one that runs in this process, a deployed one, or the state file of `sync`. It makes no
//! request to another host.

use std::collections::BTreeSet;

use crate::ids::{MessageId, Subject};
use crate::message::TriggerBody;
use crate::message::dead_letter::DeadLetter;
use crate::queue::Depth;
use crate::run::Item;
use crate::service::ServiceError;
use crate::store::{EndedRuns, OpenRuns};
use crate::webhook;

mod api;
mod guard;
mod server;
mod view;

pub use server::{BindError, Console};
pub use view::{About, BridgeKind, Comparison, CountsBySubject, Redriven, SyncCounts};

/// How many dead letters a page shows and redrives at once.
pub const LETTERS_MAX: usize = 200;

/// What the page shows and changes.
pub trait Bridge {
    /// What it is.
    fn about(&self) -> About;

    /// The open runs.
    fn open_runs(&self) -> impl Future<Output = Result<OpenRuns, ServiceError>>;

    /// The runs that have ended.
    fn ended_runs(&self) -> impl Future<Output = Result<EndedRuns, ServiceError>>;

    /// The latest run of a subject.
    fn read(&self, subject: &Subject) -> impl Future<Output = Result<Option<Item>, ServiceError>>;

    /// How many messages its queue has; `None` without a queue.
    fn depth(&self) -> impl Future<Output = Result<Option<Depth>, ServiceError>>;

    /// Puts a trigger or a cancel on its queue. `None` if it has no queue.
    fn send(&self, trigger: &TriggerBody) -> impl Future<Output = Option<Result<MessageId, ServiceError>>>;

    /// Its dead letters, at most [`LETTERS_MAX`], oldest first.
    fn dead_letters(&self) -> impl Future<Output = Result<Vec<DeadLetter>, ServiceError>>;

    /// Sends these dead letters again, or drops them, as their kinds say. Others stay.
    fn redrive(&self, shown: &BTreeSet<MessageId>) -> impl Future<Output = Result<Redriven, ServiceError>>;

    /// How a poller without a table fares with the same messages; `None` where there is none.
    fn comparison(&self) -> Option<Comparison>;

    /// The HTTP API of the bridge; `None` if it is elsewhere.
    fn front_door(&self, request: &webhook::Request) -> impl Future<Output = Option<webhook::Response>>;
}
