//! The API keys in Secrets Manager, one or those of several workspaces: reading them, errors, and rotation.

use std::net::Ipv4Addr;
use std::rc::Rc;
use std::time::Duration;

use aws_sdk_secretsmanager::primitives::Blob;
use postpress_bridge::bus::MemoryBus;
use postpress_bridge::credentials::SecretStore;
use postpress_bridge::event_source_mapping::EventSourceMapping;
use postpress_bridge::ids::{Subject, Workspace};
use postpress_bridge::postpress::client::{ApiKey, http_client, mozilla_roots};
use postpress_bridge::postpress::rotating::RotatingClient;
use postpress_bridge::postpress::workspaces::{Lookup, WorkspaceClients, Workspaces};
use postpress_bridge::postpress::{Answer, Failure, Finish, Provider, RetryClass, SyncCall};
use postpress_bridge::queue::MemoryQueue;
use postpress_bridge::run::{Rules, Schedule};
use postpress_bridge::secrets::StoredSecret;
use postpress_bridge::service::ServiceError;
use postpress_bridge::settings::{Config, DEFAULT_EVENT_SOURCE, SecretRef};
use postpress_bridge::simulator::{Faults, Server, Simulator};
use postpress_bridge::store::MemoryStore;
use postpress_bridge::time::Clock;
use postpress_bridge::worker::Worker;
use serde_json::json;
use tokio::time::{Instant, advance, pause, resume};
use uuid::Uuid;

use crate::harness::canary::{CANARY, WORKSPACES, assert_no_secret, workspaces_secret};
use crate::harness::emulator;
use crate::harness::log::Log;
use crate::harness::provider_client::{ask, base_url, client, client_of, key, running};
use crate::harness::proxy::{Fault, Of, Proxy};
use crate::harness::raw_server::{Move, RawServer, reply};
use crate::terminal::program;

const SECOND: Duration = Duration::from_secs(1);
const READS: Of = Of("GetSecretValue", "");
/// Longer than the minimum time between two reads.
const A_WHILE: Duration = Duration::from_secs(61);
/// The key that the simulator refuses.
const EXPIRED: &str = "expired";

/// A secret that is read through a proxy.
struct Secret {
    secrets: aws_sdk_secretsmanager::Client,
    name: String,
    proxy: Proxy,
}

impl Secret {
    async fn new() -> Self {
        let secrets = aws_sdk_secretsmanager::Client::new(&emulator::sdk(&emulator::endpoint()));
        let (name, proxy) = (format!("key-{}", Uuid::new_v4()), Proxy::start(emulator::endpoint()).await);
        Self { secrets, name, proxy }
    }

    async fn holding(text: &str) -> Self {
        let this = Self::new().await;
        this.secrets.create_secret().name(&this.name).secret_string(text).send().await.unwrap();
        this
    }

    async fn rotate_to(&self, text: &str) {
        self.secrets.put_secret_value().secret_id(&self.name).secret_string(text).send().await.unwrap();
    }

    async fn stored_key(&self, field: Option<&str>) -> StoredSecret {
        self.stored("POSTPRESS_API_KEY_SECRET_ID", field).await
    }

    async fn stored(&self, variable: &'static str, field: Option<&str>) -> StoredSecret {
        let sdk = emulator::sdk(self.proxy.endpoint());
        let place = SecretRef { variable, id: self.name.clone(), field: field.map(str::to_owned) };
        StoredSecret::new(aws_sdk_secretsmanager::Client::new(&sdk), place)
    }

    fn reads(&self) -> usize {
        self.proxy.seen(READS).len()
    }
}

/// The simulator over HTTP, which accepts every key except [`EXPIRED`].
async fn provider() -> (Simulator, String) {
    let simulator = Simulator::new(Faults::default());
    let server = Server::bind((Ipv4Addr::LOCALHOST, 0).into(), simulator.clone()).await.unwrap();
    let base_url = server.base_url();
    tokio::spawn(server.run(std::future::pending()));
    (simulator, base_url)
}

/// A client with the key that the secret holds now.
async fn rotating(secret: &Secret, base_url: &str) -> RotatingClient<StoredSecret> {
    let stored = secret.stored_key(None).await;
    let key = stored.read_as(ApiKey::parse).await.unwrap();
    secret.proxy.take_tally();
    RotatingClient::new(client(base_url).with_api_key(key), Some(stored))
}

/// Advances the clock of all time limits. Nothing may be in progress.
async fn time_passes(time: Duration) {
    pause();
    advance(time).await;
    resume();
}

#[tokio::test]
async fn a_key_is_read_from_a_plain_secret_or_a_field() {
    for (text, field) in [("pp_live_1", None), (r#"{"other": 1, "key": "pp_live_1"}"#, Some("key"))] {
        let secret = Secret::holding(text).await;
        let key = secret.stored_key(field).await.read_as(ApiKey::parse).await.unwrap();
        let server = RawServer::start([vec![Move::Read, reply("200 OK", running())]]).await;
        ask(&client_of(&server).with_api_key(key), 9 * SECOND).await;
        let head = &server.seen().requests[0];
        assert!(head.contains("\r\nx-api-key: pp_live_1\r\n"), "{head}");
    }
}

#[tokio::test]
async fn a_secret_without_a_key_is_refused_and_not_shown() {
    let cases = [
        (None, None, "ResourceNotFoundException"),
        (Some("hush hush"), None, "characters that no key has"),
        (Some("hush\n"), None, "white space"),
        (Some("hush"), Some("key"), "not JSON"),
        (Some(r#"{"key": "hush"}"#), Some("kye"), "`kye`"),
        (Some(r#"{"key": ["hush"]}"#), Some("key"), "`key`"),
        (Some(r#"{"key": ""}"#), Some("key"), "empty"),
        (
            Some(r#"{"key": "hush", "user": "hush"}"#),
            None,
            "it is JSON; name its field: `ID#field` (it has `key`, `user`)",
        ),
        (Some(r#"{"key": "hush\n"}"#), Some("key"), "white space"),
    ];
    for (text, field, reason) in cases {
        let secret = match text {
            Some(text) => Secret::holding(text).await,
            None => Secret::new().await,
        };
        assert_refused(&secret, field, reason).await;
    }
    let binary = Secret::new().await;
    binary.secrets.create_secret().name(&binary.name).secret_binary(Blob::new("hush")).send().await.unwrap();
    assert_refused(&binary, None, "binary").await;
}

async fn assert_refused(secret: &Secret, field: Option<&str>, reason: &str) {
    let error = secret.stored_key(field).await.read_as(ApiKey::parse).await.unwrap_err();
    assert!(matches!(error, ServiceError::Misconfigured(_)), "{reason}: {error:?} has no remedy");
    let text = error.to_string();
    assert!(text.contains(reason), "{reason}: {text}");
    assert!(text.contains("POSTPRESS_API_KEY_SECRET_ID"), "it does not name the variable: {text}");
    assert!(!text.contains("hush"), "{text}");
}

#[tokio::test]
async fn a_run_continues_with_a_rotated_key() {
    let log = Log::start();
    let secret = Secret::holding(EXPIRED).await;
    let (simulator, base_url) = provider().await;
    let provider = rotating(&secret, &base_url).await;
    secret.rotate_to(CANARY).await;
    time_passes(A_WHILE).await;

    let queue = Rc::new(MemoryQueue::new("m", Clock::System, 60 * SECOND, 2));
    let bus = Rc::new(MemoryBus::default());
    let schedule = Schedule { poll_initial: SECOND, speedup: 15, ..Schedule::default() };
    let config = Config { rules: Rules { schedule, ..Rules::default() }, ..Config::default() };
    let (ports_queue, ports_bus) = (Rc::clone(&queue), Rc::clone(&bus));
    let worker = Worker::new(provider, MemoryStore::default(), ports_queue, ports_bus, Clock::System, config);
    queue.put(r#"{"chat_id": "done-in-10ms"}"#, Duration::ZERO);
    let mapping = EventSourceMapping { batch_size: 10, concurrency: 1, invocation: 30 * SECOND };
    mapping.run(&*queue, &worker, queue.drained()).await;

    let [event] = &bus.events()[..] else { panic!("{:?}", bus.events()) };
    // One call with the old key, two with the new one.
    assert_eq!((event.detail.status, event.detail.polls), (Some(Finish::Done), Some(3)));
    assert_eq!(simulator.stats().total.calls, 2);
    assert_eq!(secret.reads(), 1);
    assert!(log.text().contains("it was read again"));
    assert_no_secret("the event", &event.to_line(DEFAULT_EVENT_SOURCE));
}

/// A call with the key that the provider refuses.
async fn refused_call(provider: &RotatingClient<StoredSecret>) {
    let answer = provider.sync(&Subject::chat("done").unwrap().into(), 9 * SECOND).await;
    let refused = matches!(&answer, Answer::Failed(Failure { retry_class: RetryClass::Credentials, .. }));
    assert!(refused, "{answer:?}");
}

/// Otherwise a run that has used up its one retry would end because of a process that does not know the new key yet.
#[tokio::test]
async fn a_refusal_of_an_outdated_key_is_retryable() {
    let secret = Secret::holding(EXPIRED).await;
    let provider = rotating(&secret, &provider().await.1).await;
    secret.rotate_to(CANARY).await;
    time_passes(A_WHILE).await;
    let chat = Subject::chat("done").unwrap().into();
    let (one, other) = tokio::join!(provider.sync(&chat, 9 * SECOND), provider.sync(&chat, 9 * SECOND));
    for answer in [one, other] {
        let passes = matches!(&answer, Answer::Failed(Failure { retry_class: RetryClass::Retryable, status: 401, .. }));
        assert!(passes, "{answer:?}");
    }
    assert_eq!(secret.reads(), 1);
    assert!(matches!(provider.sync(&chat, 9 * SECOND).await, Answer::InProgress(_)));
}

#[tokio::test]
async fn a_wrong_key_is_read_again_at_most_once_a_minute() {
    let secret = Secret::holding(EXPIRED).await;
    let provider = rotating(&secret, &provider().await.1).await;
    for reads in 1..4 {
        for _ in 0..3 {
            refused_call(&provider).await;
            assert_eq!(secret.reads(), reads, "the first refusal causes a read, the others are too soon");
        }
        time_passes(A_WHILE).await;
    }
}

#[tokio::test]
async fn an_unreadable_secret_changes_no_answer_and_delays_none_for_long() {
    let secret = Secret::holding(EXPIRED).await;
    let provider = rotating(&secret, &provider().await.1).await;
    for fault in [Fault::Hangs, Fault::RequestLost, Fault::Answers(400, "AccessDeniedException")] {
        secret.proxy.once(READS, fault);
        time_passes(A_WHILE).await;
        let began = Instant::now();
        refused_call(&provider).await;
        assert!(secret.proxy.all_faults_occurred(), "{fault:?}");
        assert!(began.elapsed() < 4 * SECOND, "{fault:?}: {:?}", began.elapsed());
    }
}

#[tokio::test]
async fn sync_at_a_terminal_reads_the_key_from_its_secret() {
    let (secret, (_, base_url)) = (Secret::holding(CANARY).await, provider().await);
    let refused = Secret::holding(EXPIRED).await;
    let folder = tempfile::tempdir().unwrap();
    for (name, code, says) in [
        (&*secret.name, Some(0), "SYNC_DONE"),
        (&*refused.name, Some(1), "errors/expired_credentials"),
        ("nowhere", Some(2), "cannot read the API key"),
    ] {
        let mut sync = program();
        sync.args(["sync", "done-in-10ms", "--again"])
            .env("AWS_ENDPOINT_URL", secret.proxy.endpoint())
            .env("AWS_REGION", emulator::REGION)
            .env("AWS_ACCESS_KEY_ID", emulator::CREDENTIAL)
            .env("AWS_SECRET_ACCESS_KEY", emulator::CREDENTIAL)
            .env("BRIDGE_STATE_FILE", folder.path().join("runs"))
            .env("BRIDGE_POLL_INITIAL_SECONDS", "0.1")
            .env("POSTPRESS_BASE_URL", &base_url)
            .env("POSTPRESS_API_KEY_SECRET_ID", name);
        let output = sync.output().await.unwrap();
        let said = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
        assert_eq!((output.status.code(), said.contains(says)), (code, true), "{name}: {said}");
        assert_no_secret("what sync says", &said);
    }
}

#[tokio::test]
async fn sync_at_a_terminal_calls_the_workspace_with_its_key() {
    let secret = Secret::holding(&workspaces_secret().to_string()).await;
    let (_, base_url) = provider().await;
    let folder = tempfile::tempdir().unwrap();
    for (workspace, code, says) in [
        ("acme", Some(0), "SYNC_DONE"),
        ("missing", Some(2), "`missing` is not in the secret"),
        ("a b", Some(2), "1 to 64"),
    ] {
        let mut sync = program();
        sync.args(["sync", "done-in-10ms", "--again", "--workspace", workspace])
            .env("AWS_ENDPOINT_URL", secret.proxy.endpoint())
            .env("AWS_REGION", emulator::REGION)
            .env("AWS_ACCESS_KEY_ID", emulator::CREDENTIAL)
            .env("AWS_SECRET_ACCESS_KEY", emulator::CREDENTIAL)
            .env("BRIDGE_STATE_FILE", folder.path().join("runs"))
            .env("BRIDGE_POLL_INITIAL_SECONDS", "0.1")
            .env("POSTPRESS_BASE_URL", &base_url)
            // The simulator refuses it.
            .env("POSTPRESS_API_KEY", EXPIRED)
            .env("BRIDGE_WORKSPACES_SECRET_ID", &secret.name);
        let output = sync.output().await.unwrap();
        let said = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
        assert_eq!((output.status.code(), said.contains(says)), (code, true), "{workspace}: {said}");
        assert_no_secret("what sync says", &said);
    }
}

/// Clients for the default workspace and those that the secret has now.
async fn workspaces(secret: &Secret, base_url: &str) -> WorkspaceClients<StoredSecret> {
    let stored = secret.stored("BRIDGE_WORKSPACES_SECRET_ID", None).await;
    let workspaces = SecretStore::<Rc<Workspaces>>::read(&stored).await.unwrap();
    secret.proxy.take_tally();
    let http = http_client(mozilla_roots()).unwrap();
    let clients = WorkspaceClients::new(http, self::base_url(base_url), (key(), None), Some((workspaces, stored)));
    assert_no_secret("the clients", &format!("{clients:?}"));
    clients
}

fn in_workspace(chat: &str, workspace: &str) -> SyncCall {
    Subject::chat(chat).unwrap().in_workspace(Workspace::parse(workspace).unwrap()).into()
}

#[tokio::test]
async fn one_workspaces_key_is_rotated_beside_a_refused_a_missing_and_an_unusable_one() {
    let [(acme, acme_key), (globex, globex_key)] = WORKSPACES;
    let log = Log::start();
    let secret =
        Secret::holding(&json!({acme: {"api_key": EXPIRED}, globex: {"api_key": globex_key}}).to_string()).await;
    let (simulator, base_url) = provider().await;
    let provider = workspaces(&secret, &base_url).await;
    let now = json!({
        acme: {"api_key": acme_key}, globex: {"api_key": globex_key},
        "refused": {"api_key": EXPIRED}, "unusable": {"api_key": "pp_live hunter3"},
    });
    secret.rotate_to(&now.to_string()).await;
    time_passes(A_WHILE).await;

    let queue = Rc::new(MemoryQueue::new("m", Clock::System, 60 * SECOND, 2));
    let bus = Rc::new(MemoryBus::default());
    let schedule =
        Schedule { poll_initial: SECOND, poll_factor: 1.0, retry: 30 * SECOND, speedup: 15, ..Schedule::default() };
    let config = Config { rules: Rules { schedule, ..Rules::default() }, ..Config::default() };
    let (ports_queue, ports_bus) = (Rc::clone(&queue), Rc::clone(&bus));
    let worker = Worker::new(provider, MemoryStore::default(), ports_queue, ports_bus, Clock::System, config);
    // The missing one first, so that the secret is read for it: after a read that began before, it would wait for the next one.
    for workspace in ["missing", "default", acme, globex, "refused", "unusable"] {
        queue.put(&json!({"chat_id": "done-in-10ms", "workspace": workspace}).to_string(), Duration::ZERO);
    }
    let mapping = EventSourceMapping { batch_size: 10, concurrency: 1, invocation: 30 * SECOND };
    mapping.run(&*queue, &worker, queue.drained()).await;

    let events = bus.events();
    for event in &events {
        assert_no_secret("an event", &event.to_line(DEFAULT_EVENT_SOURCE));
        let workspace = event.detail.workspace.as_ref().map_or("default", Workspace::as_str);
        let error =
            event.detail.error.as_ref().map(|error| (&*error.kind, error.detail.as_deref().unwrap_or_default()));
        let is_expected = match (workspace, error) {
            ("refused", Some((kind, _))) => kind == "errors/expired_credentials",
            ("missing", Some((kind, _))) => kind == "bridge/unknown_workspace",
            ("unusable", Some((kind, detail))) => {
                kind == "bridge/retries_exhausted" && detail.contains("`api_key`: the API key")
            }
            (_, error) => error.is_none() && event.detail.status == Some(Finish::Done),
        };
        assert!(is_expected, "{event:?}");
    }
    assert_eq!(events.len(), 6, "{events:?}");
    assert_eq!(secret.reads(), 1);
    assert_eq!(simulator.stats().total.syncs_started, 3);
    let log = log.text();
    assert!(
        log.contains("workspace `unusable`: `api_key`: the API key has characters") && !log.contains("hunter3"),
        "{log}"
    );
}

#[tokio::test]
async fn removed_workspace_is_not_called_once_the_secret_was_read_again() {
    let [(acme, acme_key), (globex, globex_key)] = WORKSPACES;
    let both = json!({acme: {"api_key": acme_key}, globex: {"api_key": globex_key}});
    let secret = Secret::holding(&both.to_string()).await;
    let (simulator, base_url) = provider().await;
    let provider = workspaces(&secret, &base_url).await;
    let call = in_workspace("done-in-1h", globex);
    assert!(matches!(provider.sync(&call, 9 * SECOND).await, Answer::InProgress(_)));
    secret.rotate_to(&json!({acme: {"api_key": acme_key}}).to_string()).await;
    assert!(matches!(provider.sync(&call, 9 * SECOND).await, Answer::InProgress(_)));

    time_passes(A_WHILE).await;
    let lookup = provider.lookup(&Workspace::parse("new").unwrap(), Instant::now() + 9 * SECOND).await;
    assert_eq!((lookup, secret.reads()), (Lookup::Missing, 1));
    let calls = simulator.stats().total.calls;
    let answer = provider.sync(&call, 9 * SECOND).await;
    let Answer::Failed(failure) = &answer else { panic!("{answer:?}") };
    assert_eq!(failure.retry_class, RetryClass::Retryable);
    assert!(
        failure.detail.contains("`globex` is missing from the secret in BRIDGE_WORKSPACES_SECRET_ID"),
        "{failure:?}"
    );
    assert_eq!(simulator.stats().total.calls, calls);
    let acme = provider.sync(&in_workspace("done-in-1h", acme), 9 * SECOND).await;
    assert!(matches!(acme, Answer::InProgress(_)), "{acme:?}");
}

#[tokio::test]
async fn secret_that_is_no_object_is_refused_and_not_shown() {
    for text in ["hush", "[\"hush\"]", "{\"acme\": hush}"] {
        let secret = Secret::holding(text).await;
        let error =
            secret.stored("BRIDGE_WORKSPACES_SECRET_ID", None).await.workspaces().await.unwrap_err().to_string();
        let says = "the secret in BRIDGE_WORKSPACES_SECRET_ID cannot be used: it is not a JSON object; store {";
        assert!(error.starts_with(says) && !error.contains("hush"), "{error}");
    }
    let in_a_field = Secret::holding(&json!({"all": workspaces_secret().to_string()}).to_string()).await;
    let workspaces = in_a_field.stored("BRIDGE_WORKSPACES_SECRET_ID", Some("all")).await.workspaces().await.unwrap();
    assert_eq!((workspaces.iter().count(), workspaces.faults()), (WORKSPACES.len(), Vec::new()));
}
