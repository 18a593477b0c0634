use std::cell::Cell;
use std::future::pending;
use std::net::Ipv4Addr;

use tokio::time::{advance, pause, resume};

use super::*;
use crate::ids::Subject;
use crate::postpress::Progress;
use crate::postpress::client::{http_client, mozilla_roots};
use crate::service::ServiceError;
use crate::simulator::{Faults, Server, Simulator};

const SECOND: Duration = Duration::from_secs(1);
/// Longer than the minimum time between two reads.
const A_WHILE: Duration = Duration::from_secs(61);

/// A secret in memory, whose reads are counted. Without a text it cannot be read.
#[derive(Debug, Clone, Default)]
struct Store {
    text: Rc<RefCell<Option<String>>>,
    reads: Rc<Cell<u32>>,
}

impl Store {
    fn put(&self, workspaces: &serde_json::Value) {
        self.text.replace(Some(workspaces.to_string()));
    }
}

impl SecretStore<ApiKey> for Store {
    async fn read(&self) -> Result<ApiKey, ServiceError> {
        panic!("the default workspace's key is not stored")
    }
}

impl SecretStore<Rc<Workspaces>> for Store {
    async fn read(&self) -> Result<Rc<Workspaces>, ServiceError> {
        self.reads.set(self.reads.get() + 1);
        let text = self.text.borrow();
        let text = text.as_deref().ok_or_else(|| ServiceError::Transient("out of order".to_owned()))?;
        Workspaces::parse(text).map(Rc::new).map_err(ServiceError::Permanent)
    }
}

/// A key and its workspaces at this base URL, read from the store.
fn clients_at(base_url: &str, store: &Store) -> WorkspaceClients<Store> {
    let http = http_client(mozilla_roots()).unwrap();
    let workspaces = Workspaces::parse(store.text.borrow().as_deref().unwrap()).unwrap();
    let workspaces = Some((Rc::new(workspaces), store.clone()));
    WorkspaceClients::new(http, BaseUrl::parse(base_url).unwrap(), (key("pp_live_default"), None), workspaces)
}

/// Clients that reach no server.
fn unconnected(store: &Store) -> WorkspaceClients<Store> {
    clients_at("http://127.0.0.1:9", store)
}

fn key(text: &str) -> ApiKey {
    ApiKey::parse(&text.to_owned().into()).unwrap()
}

fn workspace(name: &str) -> Workspace {
    Workspace::parse(name).unwrap()
}

fn chat_in(name: &str) -> SyncCall {
    Subject::chat("done-in-1h").unwrap().in_workspace(workspace(name)).into()
}

fn failure(answer: Answer) -> Failure {
    match answer {
        Answer::Failed(failure) => failure,
        other => panic!("{other:?}"),
    }
}

/// Advances the clock of all time limits. No request may be in progress.
async fn time_passes(time: Duration) {
    pause();
    advance(time).await;
    resume();
}

#[tokio::test(start_paused = true)]
async fn unknown_workspace_is_missing_only_once_the_secret_was_read_after_the_first_question() {
    let store = Store::default();
    store.put(&serde_json::json!({"a": {"api_key": "pp_live_a"}, "broken": {}}));
    let clients = unconnected(&store);
    let lookup = async |name: &str| clients.lookup(&workspace(name), Instant::now() + SECOND).await;
    for name in ["default", "a", "broken"] {
        assert_eq!(lookup(name).await, Lookup::Configured, "{name}");
    }
    assert_eq!(store.reads.get(), 0);

    assert_eq!((lookup("b").await, store.reads.get()), (Lookup::Missing, 1));
    advance(10 * SECOND).await;
    assert_eq!((lookup("b").await, store.reads.get()), (Lookup::Missing, 1));
    // Added since; the secret was just read for another one.
    store.put(&serde_json::json!({"a": {"api_key": "pp_live_a"}, "c": {"api_key": "pp_live_c"}}));
    assert_eq!((lookup("c").await, lookup("d").await, store.reads.get()), (Lookup::Unread, Lookup::Unread, 1));
    advance(A_WHILE).await;
    assert_eq!((lookup("d").await, store.reads.get()), (Lookup::Missing, 2));
    advance(SECOND).await;
    assert_eq!((lookup("c").await, lookup("broken").await), (Lookup::Configured, Lookup::Unread));
}

#[tokio::test(start_paused = true)]
async fn unreadable_secret_says_nothing_about_an_unknown_workspace() {
    let store = Store::default();
    store.put(&serde_json::json!({"a": {"api_key": "pp_live_a"}}));
    let clients = unconnected(&store);
    store.text.replace(None);
    advance(SECOND).await;
    let lookup = clients.lookup(&workspace("b"), Instant::now() + SECOND).await;
    assert_eq!((lookup, store.reads.get()), (Lookup::Unread, 1));
    assert_eq!(clients.lookup(&workspace("a"), Instant::now() + SECOND).await, Lookup::Configured);
}

#[tokio::test]
async fn without_a_secret_only_the_default_workspace_is_configured() {
    let http = http_client(mozilla_roots()).unwrap();
    let base_url = BaseUrl::parse("http://127.0.0.1:9").unwrap();
    let clients = WorkspaceClients::<Store>::new(http, base_url, (key("pp_live_default"), None), None);
    let until = Instant::now() + SECOND;
    assert_eq!(clients.lookup(&Workspace::DEFAULT, until).await, Lookup::Configured);
    assert_eq!(clients.lookup(&workspace("a"), until).await, Lookup::Missing);
    let failure = failure(clients.sync(&chat_in("a"), SECOND).await);
    assert!(failure.detail.contains("`a` is missing from the secret in BRIDGE_WORKSPACES_SECRET_ID"), "{failure:?}");
}

#[tokio::test]
async fn workspace_without_a_usable_key_is_not_called_and_may_get_one() {
    let simulator = Simulator::new(Faults::default());
    let server = Server::bind((Ipv4Addr::LOCALHOST, 0).into(), simulator.clone()).await.unwrap();
    let store = Store::default();
    store.put(&serde_json::json!({"broken": {"api_key": 7}}));
    let clients = clients_at(&server.base_url(), &store);
    tokio::spawn(server.run(pending()));
    for (name, detail) in [
        ("gone", "`gone` is missing from the secret in BRIDGE_WORKSPACES_SECRET_ID"),
        ("broken", "cannot be used: `api_key` is not a string"),
    ] {
        let failure = failure(clients.sync(&chat_in(name), 9 * SECOND).await);
        assert!(failure.detail.contains(detail), "{failure:?}");
        assert_eq!((failure.retry_class, failure.status, failure.may_land_late), (RetryClass::Retryable, 502, false));
    }
    assert_eq!((simulator.stats().total.calls, store.reads.get()), (0, 1));

    store.put(&serde_json::json!({"broken": {"api_key": "pp_live_b"}}));
    time_passes(A_WHILE).await;
    assert_eq!(clients.sync(&chat_in("broken"), 9 * SECOND).await, Answer::InProgress(Progress::Started));
}

#[tokio::test]
async fn refused_key_of_one_workspace_does_not_end_the_runs_of_another_whose_key_is_rotated() {
    let server = Server::bind((Ipv4Addr::LOCALHOST, 0).into(), Simulator::new(Faults::default())).await.unwrap();
    let store = Store::default();
    // The simulator refuses the key `expired`.
    store.put(&serde_json::json!({
        "wrong": {"api_key": "expired"}, "rotated": {"api_key": "expired"}, "good": {"api_key": "pp_live_good"},
    }));
    let clients = clients_at(&server.base_url(), &store);
    tokio::spawn(server.run(pending()));
    let class = async |name: &str| failure(clients.sync(&chat_in(name), 9 * SECOND).await).retry_class;

    assert_eq!((class("wrong").await, store.reads.get()), (RetryClass::Credentials, 1));
    assert_eq!((class("wrong").await, store.reads.get()), (RetryClass::Credentials, 1));
    // Rotated after that read, which says nothing about this key.
    store.put(&serde_json::json!({
        "wrong": {"api_key": "expired"}, "rotated": {"api_key": "pp_live_new"}, "good": {"api_key": "pp_live_good"},
    }));
    assert_eq!((class("rotated").await, store.reads.get()), (RetryClass::Retryable, 1));
    assert_eq!(clients.sync(&chat_in("good"), 9 * SECOND).await, Answer::InProgress(Progress::Started));
    time_passes(A_WHILE).await;
    assert_eq!((class("rotated").await, store.reads.get()), (RetryClass::Retryable, 2));
    assert_eq!(clients.sync(&chat_in("rotated"), 9 * SECOND).await, Answer::InProgress(Progress::Running));
    assert_eq!((class("wrong").await, store.reads.get()), (RetryClass::Credentials, 2));
}
