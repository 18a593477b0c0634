//! `postpress-bridge dev`: the whole bridge in one process, its HTTP interface, and kill -9.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use postpress_bridge::postpress::client::{http_client, mozilla_roots};
use reqwest::{Method, RequestBuilder, StatusCode};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, BufReader, Lines};
use tokio::process::{Child, ChildStderr, ChildStdout, Command};
use tokio::time::{sleep, timeout};

use crate::terminal::program;

/// The time limit of everything that the program is expected to do.
const PATIENCE: Duration = Duration::from_secs(180);

/// A running `dev` or `console`, killed on drop.
pub(crate) struct Page {
    process: Child,
    events: Lines<BufReader<ChildStdout>>,
    /// Kept open, so that the program can go on writing to it.
    _messages: Lines<BufReader<ChildStderr>>,
    url: String,
    token: String,
}

impl Page {
    /// `dev` on a free port with this file and these arguments.
    async fn of_dev(file: &Path, arguments: &[&str]) -> Self {
        let mut command = program();
        command.args(["dev", "--port", "0", "--state-file"]).arg(file).args(arguments);
        Self::of(command).await
    }

    /// Starts the command, and waits until it listens.
    pub(crate) async fn of(mut command: Command) -> Self {
        let mut process = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let events = BufReader::new(process.stdout.take().unwrap()).lines();
        let mut messages = BufReader::new(process.stderr.take().unwrap()).lines();
        let page = timeout(PATIENCE, async {
            loop {
                let line = messages.next_line().await.unwrap().expect("it prints its URL");
                if let Some((before, token)) = line.split_once("/#token=") {
                    let url = &before[before.find("http").unwrap()..];
                    return (url.to_owned(), token.to_owned());
                }
            }
        });
        let (url, token) = page.await.expect("it listens in time");
        Self { process, events, _messages: messages, url, token }
    }

    /// A request without the token.
    fn bare(&self, method: Method, path: &str) -> RequestBuilder {
        http_client(mozilla_roots()).unwrap().request(method, format!("{}{path}", self.url))
    }

    pub(crate) fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.bare(method, path).bearer_auth(&self.token)
    }

    pub(crate) async fn get(&self, path: &str) -> Value {
        let response = self.request(Method::GET, path).send().await.unwrap();
        let (status, text) = (response.status(), response.text().await.unwrap());
        assert_eq!(status, StatusCode::OK, "{path}: {text}");
        serde_json::from_str(&text).unwrap()
    }

    pub(crate) async fn post(&self, path: &str, body: &Value) -> (StatusCode, Value) {
        let request = self.request(Method::POST, path).header("content-type", "application/json");
        let response = request.body(body.to_string()).send().await.unwrap();
        (response.status(), serde_json::from_str(&response.text().await.unwrap()).unwrap())
    }

    /// The next event that it prints.
    async fn event(&mut self) -> Value {
        let line = timeout(PATIENCE, self.events.next_line()).await.expect("an event comes in time").unwrap();
        serde_json::from_str(&line.expect("it runs")).unwrap()
    }

    /// SIGKILL; returns the events that it had printed.
    async fn kill(mut self) -> Vec<Value> {
        self.process.kill().await.unwrap();
        let mut events = Vec::new();
        while let Some(line) = self.events.next_line().await.unwrap() {
            events.push(serde_json::from_str(&line).unwrap());
        }
        events
    }
}

fn chat(id: &str) -> String {
    format!("/api/run?subject=default/chat/{id}")
}

#[tokio::test]
async fn a_trigger_over_http_ends_in_one_printed_event_and_is_shown_with_its_history() {
    let directory = TempDir::new().unwrap();
    let file = directory.path().join("dev.sqlite3");
    let mut dev = Page::of_dev(&file, &["--no-examples", "--redelivery-rate", "1", "--kill-rate", "0"]).await;
    let empty = dev.get("/api/overview").await;
    assert_eq!((&empty["counts"]["active"], &empty["runs"]), (&json!(0), &json!([])));

    let trigger = json!({ "chat_id": "done-in-2s~x", "idempotency_key": "once" });
    let (status, accepted) = dev.post("/v1/syncs", &trigger).await;
    assert_eq!((status, &accepted["object"]), (StatusCode::ACCEPTED, &json!("SyncRequest")));
    let event = dev.event().await;
    assert_eq!((&event["detail-type"], &event["resources"]), (&json!("SYNC_DONE"), &json!(["done-in-2s~x"])));

    let shown = dev.get(&chat("done-in-2s~x")).await;
    assert_eq!(shown["event"]["detail"]["event_id"], event["detail"]["event_id"]);
    assert_eq!(shown["run"]["ending"], "SYNC_DONE");
    assert_eq!(shown["history"][0]["answer"], "SYNC_STARTED");
    assert_eq!(shown["triggers"][0]["idempotency_key"], "once");
    // Each message was delivered again after the end, and none started another sync.
    sleep(Duration::from_secs(6)).await;
    let overview = dev.get("/api/overview?filter=DONE-IN").await;
    assert_eq!(overview["stateless"]["bridge"], json!({ "syncs_started": 1, "restarts": 0, "endings": 1 }));
    assert!(overview["stateless"]["stateless"]["restarts"].as_u64().unwrap() > 0, "{overview}");
    assert_eq!(overview["runs"].as_array().unwrap().len(), 1);
    assert_eq!(dev.get("/api/overview?filter=nothing-like-it").await["runs"], json!([]));
}

#[tokio::test]
async fn a_run_is_cancelled_and_bad_requests_say_what_to_do() {
    let directory = TempDir::new().unwrap();
    let mut dev = Page::of_dev(&directory.path().join("dev.sqlite3"), &["--no-examples", "--kill-rate", "0"]).await;
    let (status, _) = dev.post("/api/triggers", &json!({ "chat_id": "done-in-1h~x" })).await;
    assert_eq!(status, StatusCode::ACCEPTED);
    timeout(PATIENCE, async {
        while dev.request(Method::GET, &chat("done-in-1h~x")).send().await.unwrap().status() != StatusCode::OK {
            sleep(Duration::from_millis(50)).await;
        }
    })
    .await
    .unwrap();
    let (status, cancelled) = dev.post("/api/cancel", &json!({ "subject": "default/chat/done-in-1h~x" })).await;
    assert_eq!((status, &cancelled["subject"]), (StatusCode::ACCEPTED, &json!("default/chat/done-in-1h~x")));
    let event = dev.event().await;
    assert_eq!((&event["detail"]["ended_by"], &event["detail-type"]), (&json!("cancelled"), &json!("ERROR_ENVELOPE")));

    for (method, path, body, expected) in [
        (Method::POST, "/api/triggers", "{\"chat_id\": 1}", (400, "bridge/invalid_trigger")),
        (Method::POST, "/api/cancel", "{\"chat\": \"x\"}", (400, "bridge/invalid_trigger")),
        (Method::POST, "/api/overview", "", (405, "bridge/method_not_allowed")),
        (Method::GET, "/api/nothing", "", (404, "bridge/no_such_path")),
        (Method::GET, "/api/run?subject=default/chat/never-seen", "", (404, "bridge/no_run")),
        (Method::GET, "/api/run?subject=%00", "", (404, "bridge/no_run")),
        (Method::GET, "/v1/nothing", "", (404, "bridge/no_such_path")),
        (Method::POST, "/api/triggers", &"x".repeat(20_000), (413, "bridge/body_too_large")),
    ] {
        let request = dev.request(method, path).header("content-type", "application/json").body(body.to_owned());
        let response = request.send().await.unwrap();
        let status = response.status().as_u16();
        let problem: Value = serde_json::from_str(&response.text().await.unwrap()).unwrap();
        assert_eq!((status, problem["type"].as_str().unwrap()), expected, "{path}");
        assert!(!problem["detail"].as_str().unwrap().is_empty());
    }
}

#[tokio::test]
async fn other_sites_and_requests_without_the_token_get_nothing() {
    let directory = TempDir::new().unwrap();
    let dev = Page::of_dev(&directory.path().join("dev.sqlite3"), &["--no-examples"]).await;
    let page = dev.bare(Method::GET, "/").send().await.unwrap();
    assert_eq!(page.status(), StatusCode::OK);
    let policy = page.headers()["content-security-policy"].to_str().unwrap();
    assert!(policy.starts_with("default-src 'none'; script-src 'self';") && !policy.contains("unsafe"), "{policy}");
    assert!(!page.text().await.unwrap().contains(&dev.token));

    for (path, header, value, expected) in [
        ("/", "host", "rebound.example", 403),
        ("/api/overview", "host", "rebound.example:80", 403),
        ("/api/overview", "origin", "http://rebound.example", 403),
        ("/v1/chats/x/sync", "origin", "http://rebound.example", 403),
        ("/api/overview", "authorization", "Bearer wrong", 401),
        ("/v1/chats/x/sync", "authorization", "Bearer wrong", 401),
        ("/api/overview", "x-nothing", "", 401),
        ("/v1/chats/x/sync", "x-nothing", "", 401),
    ] {
        let response = dev.bare(Method::GET, path).header(header, value).send().await.unwrap();
        assert_eq!(response.status().as_u16(), expected, "{path} {header}: {value}");
        assert!(!response.text().await.unwrap().contains("runs"));
    }
}

#[tokio::test]
async fn kills_at_any_moment_lose_no_trigger_and_no_ending() {
    let directory = TempDir::new().unwrap();
    let file = directory.path().join("dev.sqlite3");
    let ids: Vec<String> = (0..30).map(|number| format!("done-in-{}s~{number}", number % 3)).collect();
    let arguments = ["--no-examples", "--redelivery-rate", "0.2", "--kill-rate", "0.1"];
    let mut printed: Vec<Value> = Vec::new();
    let mut dev = Page::of_dev(&file, &arguments).await;
    for (number, id) in ids.iter().enumerate() {
        let (status, _) = dev.post("/v1/syncs", &json!({ "chat_id": id })).await;
        assert_eq!(status, StatusCode::ACCEPTED);
        // At once after the last answer, a little later, and much later.
        if let Some(pause) =
            [(9, 0), (19, 60), (29, 2_000)].into_iter().find_map(|(at, pause)| (number == at).then_some(pause))
        {
            sleep(Duration::from_millis(pause)).await;
            printed.extend(dev.kill().await);
            dev = Page::of_dev(&file, &arguments).await;
        }
    }
    let ended = |events: &[Value]| -> BTreeMap<String, BTreeSet<String>> {
        let mut ended: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for event in events {
            assert_eq!(event["detail-type"], "SYNC_DONE", "{event}");
            let text = |pointer| event.pointer(pointer).unwrap().as_str().unwrap().to_owned();
            ended.entry(text("/detail/chat_id")).or_default().insert(text("/detail/event_id"));
        }
        ended
    };
    while ended(&printed).len() < ids.len() {
        printed.push(dev.event().await);
    }
    // Most messages that are delivered again are back by then, and an ending whose publication was cut off.
    sleep(Duration::from_secs(10)).await;
    let overview = dev.get("/api/overview").await;
    assert_eq!(overview["counts"]["ended"], ids.len());
    assert_eq!(overview["stateless"]["bridge"]["endings"], ids.len());
    assert_eq!(overview["queue"]["dead_letters"], 0, "{overview}");
    printed.extend(dev.kill().await);
    let ended = ended(&printed);
    assert!(ended.values().all(|endings| endings.len() == 1), "{ended:?}");
}

#[tokio::test]
async fn send_posts_triggers_with_the_token_or_signed_and_says_why_one_is_refused() {
    const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
    let directory = TempDir::new().unwrap();
    let mut command = program();
    command.args(["dev", "--port", "0", "--no-examples", "--kill-rate", "0", "--redelivery-rate", "0", "--state-file"]);
    command.arg(directory.path().join("dev.sqlite3")).env("BRIDGE_WEBHOOK_SECRET", SECRET);
    let mut dev = Page::of(command).await;
    let send = async |secret: &str, token: &str, arguments: &[&str]| {
        let mut send = program();
        send.arg("send").args(arguments).env("BRIDGE_WEBHOOK_URL", &dev.url);
        send.env("BRIDGE_WEBHOOK_SECRET", secret).env("BRIDGE_WEBHOOK_TOKEN", token);
        let output = send.output().await.unwrap();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        (output.status.code(), text(&output.stdout), text(&output.stderr))
    };

    let (code, accepted, _) = send("", &dev.token, &["--json", "--idempotency-key", "k", "deleted~token"]).await;
    let accepted: Value = serde_json::from_str(&accepted).unwrap();
    assert_eq!((code, &accepted["idempotency_key"]), (Some(0), &json!("k")));
    let (code, signed, stderr) = send(SECRET, "", &["--sign", "deleted~signed"]).await;
    assert_eq!((code, signed.starts_with("deleted~signed  ")), (Some(0), true), "{signed}{stderr}");

    let another = "whsec_bm90IHRoZSBzZWNyZXQgb2YgdGhpcyBkZXY=";
    for (secret, token, arguments, code, why) in [
        (another, "", &["--sign", "x"][..], 1, "no signature matches"),
        ("", "not-the-token-of-this-dev", &["x"], 1, "not `Bearer` with the token"),
        ("", "", &["x"], 2, "set BRIDGE_WEBHOOK_TOKEN"),
        ("", &dev.token, &["--sign", "x"], 2, "set BRIDGE_WEBHOOK_SECRET"),
    ] {
        let (refused, _, stderr) = send(secret, token, arguments).await;
        assert_eq!((refused, stderr.contains(why)), (Some(code), true), "{stderr}");
    }

    // What it prints for a shell is what it sends.
    let trigger = ["--curl", "deleted~it's", "--metadata", r#"{"a": "$b `c`"}"#, "--group", "'$(exit)`exit`\""];
    for (arguments, id) in [(&["--sign"][..], "deleted~signed-curl"), (&[], "deleted~curl")] {
        let (code, curl, _) = send(SECRET, &dev.token, &[arguments, &trigger, &[id]].concat()).await;
        assert_eq!((code, curl.matches("curl ").count(), curl.contains(&dev.token)), (Some(0), 2, false), "{curl}");
        let mut shell = Command::new("sh");
        let script = format!("set -e\n{}", curl.replace("curl ", "curl -sS --fail "));
        shell.arg("-c").arg(script).env("BRIDGE_WEBHOOK_TOKEN", &dev.token).env("NO_PROXY", "127.0.0.1");
        let output = shell.output().await.unwrap();
        assert!(output.status.success(), "{}{curl}", String::from_utf8_lossy(&output.stderr));
    }
    let mut ended = BTreeSet::new();
    while ended.len() < 5 {
        ended.insert(dev.event().await["detail"]["chat_id"].as_str().unwrap().to_owned());
    }
    let sent = ["deleted~curl", "deleted~it's", "deleted~signed", "deleted~signed-curl", "deleted~token"];
    assert_eq!(ended.iter().map(String::as_str).collect::<Vec<_>>(), sent);
}
