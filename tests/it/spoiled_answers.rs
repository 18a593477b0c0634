//! A whole answer is never lost because of a part that is not read: each fault of a proxy or server on its own, over plain and
//! TLS sockets, and in every answer of a run.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Mutex;
use std::time::Duration;

use postpress_bridge::bus::MemoryBus;
use postpress_bridge::event_source_mapping::EventSourceMapping;
use postpress_bridge::postpress::client::{Client, http_client};
use postpress_bridge::postpress::{Answer, Failure, Finish, Progress, RetryClass};
use postpress_bridge::queue::MemoryQueue;
use postpress_bridge::run::{Rules, Schedule};
use postpress_bridge::settings::{Config, Limits};
use postpress_bridge::simulator::{Faults, Server, Simulator};
use postpress_bridge::store::MemoryStore;
use postpress_bridge::time::Clock;
use postpress_bridge::worker::Worker;
use rand::SeedableRng;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rustls::RootCertStore;

use crate::harness::provider_client::{CHAT, LONG, ask, base_url, history, key};
use crate::harness::spoiling_server::{self, Choose, Origin, Spoil, SpoilingServer};

/// The time limit of a call whose body is held open.
const SHORT: Duration = Duration::from_millis(400);

fn always(spoil: Spoil) -> Choose {
    Box::new(move || spoil)
}

/// A client that trusts this server.
fn client(server: &SpoilingServer) -> Client {
    let mut roots = RootCertStore::empty();
    let scheme = match &server.certificate {
        Some(certificate) => {
            roots.add(certificate.clone()).unwrap();
            "https"
        }
        None => "http",
    };
    let base = base_url(&format!("{scheme}://{}/v1", server.address));
    Client::over(http_client(roots).unwrap(), base, key())
}

#[tokio::test]
async fn every_whole_answer_is_read_however_it_is_damaged() {
    let gateway = r#"{"error": {"code": "key_missing", "message": "Send an API key", "request_id": "req_1"}}"#;
    let service = r#"{"title": "Not found", "type": "errors/resource_not_found", "status": 404}"#;
    let failed = |answer: &Answer| match answer {
        Answer::Failed(Failure { retry_class, envelope: Some(envelope), .. }) => (*retry_class, envelope.kind.clone()),
        other => panic!("{other:?}"),
    };
    for spoil in Spoil::ALL {
        let deadline = if spoil == Spoil::HeldOpen { SHORT } else { LONG };
        for tls in [false, true] {
            let hear = async |status: &str, body: &str| {
                let origin = Origin::Fixed(spoiling_server::Answer::new(status, body));
                let server = match tls {
                    true => SpoilingServer::start_tls(origin, always(spoil)).await,
                    false => SpoilingServer::start(origin, always(spoil)).await,
                };
                ask(&client(&server), deadline).await
            };
            for (status, expected) in [
                ("SYNC_STARTED", Answer::InProgress(Progress::Started)),
                ("SYNC_RUNNING", Answer::InProgress(Progress::Running)),
                ("SYNC_DONE", Answer::Over(Finish::Done)),
                ("SYNC_ERROR", Answer::Over(Finish::Error)),
                ("CHAT_DELETED", Answer::Over(Finish::Deleted)),
            ] {
                assert_eq!(hear("200 OK", &history(CHAT, status)).await, expected, "{spoil:?}, TLS {tls}");
            }
            let refused = hear("401 Unauthorized", gateway).await;
            let expected = (RetryClass::Credentials, "errors/key_missing".to_owned());
            assert_eq!(failed(&refused), expected, "{spoil:?}, TLS {tls}");
            let missing = hear("404 Not Found", service).await;
            let expected = (RetryClass::Terminal, "errors/resource_not_found".to_owned());
            assert_eq!(failed(&missing), expected, "{spoil:?}, TLS {tls}");
        }
    }
}

/// A bridge in memory that calls over HTTP, fifty times as fast as in production.
struct Bridge {
    queue: Rc<MemoryQueue>,
    bus: Rc<MemoryBus>,
    worker: Worker<Client, Rc<MemoryStore>, Rc<MemoryQueue>, Rc<MemoryBus>>,
}

const INVOCATION: Duration = Duration::from_secs(12);
/// The time limit of a run's call: long enough on a busy machine, since a call that times out may restart a sync.
const CALL: Duration = Duration::from_secs(5);

impl Bridge {
    fn new(client: Client) -> Self {
        let queue = Rc::new(MemoryQueue::new("m", Clock::System, 2 * INVOCATION, 10));
        let bus = Rc::new(MemoryBus::default());
        let schedule = Schedule { speedup: 50, ..Schedule::default() };
        let rules = Rules { schedule, lease_margin: Duration::from_millis(100), ..Rules::default() };
        let limits = Limits { provider_timeout: CALL, ..Limits::default() };
        let config = Config { rules, limits, ..Config::default() };
        let store = Rc::new(MemoryStore::default());
        let worker = Worker::new(client, store, Rc::clone(&queue), Rc::clone(&bus), Clock::System, config);
        Self { queue, bus, worker }
    }

    /// Syncs these chats and returns how each ended.
    async fn endings(&self, chats: &[String]) -> BTreeMap<String, Vec<String>> {
        for chat in chats {
            self.queue.put(&serde_json::json!({"chat_id": chat}).to_string(), Duration::ZERO);
        }
        let mapping = EventSourceMapping { batch_size: 10, concurrency: 20, invocation: INVOCATION };
        mapping.run(&*self.queue, &self.worker, self.queue.drained()).await;
        let mut endings = BTreeMap::<_, Vec<_>>::new();
        for event in self.bus.events() {
            let chat = event.detail.chat_id.unwrap().as_str().to_owned();
            endings.entry(chat).or_default().push(event.detail_type.as_str().to_owned());
        }
        endings
    }
}

/// The provider behind a server that damages its answers.
async fn spoiled_provider(choose: Choose) -> (Simulator, SpoilingServer) {
    let simulator = Simulator::new(Faults::default());
    let server = Server::bind(SocketAddr::from(([127, 0, 0, 1], 0)), simulator.clone()).await.unwrap();
    let address = server.base_url().trim_start_matches("http://").trim_end_matches("/v1").parse().unwrap();
    tokio::spawn(server.run(std::future::pending()));
    (simulator, SpoilingServer::start(Origin::Server(address), choose).await)
}

/// Chats that end in every way, some after retryable errors.
fn chats(count: usize) -> Vec<String> {
    const KINDS: [&str; 6] = [
        "done-in-300ms",
        "error-in-200ms",
        "deleted-in-100ms",
        "503-for-2-calls-then-done-in-200ms",
        "limit_exceeded-for-1-call-then-done-in-100ms",
        "resource_not_found",
    ];
    (0..count).map(|number| format!("{}~{number}", KINDS[number % KINDS.len()])).collect()
}

fn expected_ending(chat: &str) -> &'static str {
    match chat {
        _ if chat.starts_with("error") => "SYNC_ERROR",
        _ if chat.starts_with("deleted") => "CHAT_DELETED",
        _ if chat.starts_with("resource_not_found") => "ERROR_ENVELOPE",
        _ => "SYNC_DONE",
    }
}

async fn assert_no_restart(choose: Choose, chats: &[String], what: &str) {
    let (simulator, server) = spoiled_provider(choose).await;
    let endings = Bridge::new(client(&server)).endings(chats).await;
    for chat in chats {
        assert_eq!(
            endings.get(chat).map(Vec::as_slice),
            Some(&[expected_ending(chat).to_owned()][..]),
            "{what}: {chat}"
        );
    }
    let total = simulator.stats().total;
    assert_eq!(total.restarts, 0, "{what}: {:#?}", simulator.log());
    assert!(total.syncs_started >= u64::try_from(chats.len() / 2).unwrap(), "{what}: the syncs were played");
}

#[tokio::test]
async fn one_fault_in_every_answer_restarts_nothing() {
    let all = Spoil::ALL.map(|spoil| async move {
        assert_no_restart(always(spoil), &chats(6), &format!("{spoil:?}")).await;
    });
    futures_util::future::join_all(all).await;
}

/// Random faults, another one for every answer, by seed.
#[tokio::test]
async fn random_faults_restart_no_finished_sync() {
    let runs = (0..4).map(|seed| async move {
        let random = Mutex::new(StdRng::seed_from_u64(seed));
        let choose = Box::new(move || *Spoil::ALL.choose(&mut *random.lock().unwrap()).unwrap());
        assert_no_restart(choose, &chats(60), &format!("seed {seed}")).await;
    });
    futures_util::future::join_all(runs).await;
}
