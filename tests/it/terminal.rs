//! The terminal's program: the demo, and `sync` through kill -9.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::process::{Output, Stdio};
use std::time::Duration;

use postpress_bridge::event::Detail;
use postpress_bridge::ids::{Subject, SubjectId};
use postpress_bridge::run::Phase;
use postpress_bridge::simulator::{CallRecord, ChatLists, Faults, Said, Server, Simulator, Span};
use postpress_bridge::store::{RunStore, SqliteStore};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use tokio::process::{Child, Command};
use tokio::time::{Instant, sleep};

use crate::harness::canary::{CANARY, CheckedOutput};

/// One line of the program's stdout.
#[derive(serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Line {
    detail_type: String,
    detail: Detail,
}

fn lines(output: &Output) -> Vec<Line> {
    let text = std::str::from_utf8(&output.stdout).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"))).collect()
}

/// Ctrl-C.
#[cfg(unix)]
pub(crate) async fn interrupt(child: &Child) {
    let kill = Command::new("kill").args(["-INT", &child.id().unwrap().to_string()]).status().await.unwrap();
    assert!(kill.success());
}

/// The same command, with the default reaction to Ctrl-C: background processes of a shell ignore it, and their children inherit
/// this.
#[cfg(unix)]
pub(crate) fn interruptible(command: &Command) -> Command {
    let script =
        "import os, signal, sys; signal.signal(signal.SIGINT, signal.SIG_DFL); os.execv(sys.argv[1], sys.argv[1:])";
    let command = command.as_std();
    let mut python = Command::new("python3");
    python.args(["-c", script]).arg(command.get_program()).args(command.get_args());
    python.envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
    python.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    python
}

/// The program without this process's environment.
pub(crate) fn program() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_postpress-bridge"));
    command.env_clear().stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    command
}

#[tokio::test]
async fn demo_shows_every_ending_and_restarts_nothing() {
    let output = program().checked_output().await;
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{stderr}");
    let endings: Vec<String> = lines(&output).into_iter().map(|line| line.detail_type).collect();
    let count = |ending: &str| endings.iter().filter(|other| *other == ending).count();
    let counts = ["SYNC_DONE", "SYNC_ERROR", "CHAT_DELETED", "ERROR_ENVELOPE"].map(count);
    assert_eq!((counts, endings.len()), ([7, 1, 1, 1], 10));
    assert!(stderr.contains("Syncs that the provider started: 8, restarts among them: 0."), "{stderr}");
    assert!(!stderr.contains('\u{1b}'), "no colours without a terminal: {stderr:?}");

    let recorded = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/demo.svg")).unwrap();
    let closing = &stderr[stderr.find("sync of").unwrap()..];
    let texts: BTreeSet<&str> = closing.lines().flat_map(|line| line.split("  ")).map(str::trim).collect();
    let missing: Vec<_> = texts.iter().filter(|text| !recorded.contains(**text)).collect();
    assert!(texts.len() > 30 && missing.is_empty(), "docs/record-demo was not run for {missing:?}");
}

#[tokio::test]
async fn color_option_overrides_pipe_and_environment() {
    for (arguments, environment, has_colours) in [
        (&["plan"][..], None, false),
        (&["plan", "--color", "auto"], Some("CLICOLOR_FORCE"), true),
        (&["plan", "--color=always"], None, true),
        (&["--color", "always", "plan"], Some("NO_COLOR"), true),
        (&["plan", "--color", "never"], Some("CLICOLOR_FORCE"), false),
    ] {
        let mut command = program();
        command.args(arguments).envs(environment.map(|name| (name, "1")));
        let output = command.checked_output().await;
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        assert_eq!(output.stdout.contains(&0x1b), has_colours, "{arguments:?} with {environment:?}");
    }
}

#[tokio::test]
async fn log_has_colours_if_asked_for() {
    let world = Provider::start(Faults::default()).await;
    let folder = tempfile::tempdir().unwrap();
    for (color, has_colours) in [("auto", false), ("always", true), ("never", false)] {
        let chat = format!("done-in-10ms~{color}");
        let mut command = world.sync(&folder.path().join("runs.sqlite3"), &[&chat, "-v", "--color", color]);
        let output = command.env_remove("BRIDGE_LOG").checked_output().await;
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success() && stderr.contains("INFO"), "{stderr}");
        assert_eq!(stderr.contains('\u{1b}'), has_colours, "{color}: {stderr}");
        assert!(!output.stdout.contains(&0x1b), "events are data");
    }
}

#[tokio::test]
async fn quiet_sync_prints_only_the_event_and_verbose_sync_logs_the_run() {
    let world = Provider::start(Faults::default()).await;
    let folder = tempfile::tempdir().unwrap();
    for (options, log, is_silent, has_info, has_debug) in [
        (&["-q"][..], None, true, false, false),
        (&[], None, false, false, false),
        (&["-v"], None, false, true, false),
        (&["-vv"], None, false, true, true),
        (&["-vv"], Some("off"), false, false, false),
        (&["-q"], Some("info"), false, true, false),
    ] {
        let mut arguments = vec!["done-in-10ms~1", "--again"];
        arguments.extend(options);
        let mut command = world.sync(&folder.path().join("runs.sqlite3"), &arguments);
        let output =
            command.env_remove("BRIDGE_LOG").envs(log.map(|filter| ("BRIDGE_LOG", filter))).checked_output().await;
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success() && lines(&output).len() == 1, "{stderr}");
        let seen = (stderr.is_empty(), stderr.contains("INFO"), stderr.contains("DEBUG"));
        assert_eq!(seen, (is_silent, has_info, has_debug), "{options:?} with BRIDGE_LOG {log:?}: {stderr}");
    }
}

#[tokio::test]
async fn sync_lists_every_invalid_setting() {
    let mut command = program();
    command.args(["sync", "c"]).env("BRIDGE_MAX_POLLS", "many").env("POSTPRESS_BASE_URL", "http://postpress.example");
    let output = command.checked_output().await;
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!((output.status.code(), output.stdout.len()), (Some(2), 0));
    for name in ["BRIDGE_MAX_POLLS", "POSTPRESS_BASE_URL", "POSTPRESS_API_KEY", "BRIDGE_STATE_FILE"] {
        assert!(stderr.contains(name), "{name} is not in {stderr}");
    }
}

#[tokio::test]
async fn sync_fails_if_one_chat_fails_and_syncs_ended_chats_again_only_if_told_to() {
    let world = Provider::start(Faults::default()).await;
    let folder = tempfile::tempdir().unwrap();
    let state = folder.path().join("runs.sqlite3");
    let chats = ["done-in-10ms~1", "resource_not_found~2"];
    let output = world.sync(&state, &chats).checked_output().await;
    assert_eq!(output.status.code(), Some(1), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(lines(&output).len(), 2);
    for ended in [&chats[..1], &chats] {
        let refused = world.sync(&state, ended).checked_output().await;
        let stderr = String::from_utf8_lossy(&refused.stderr);
        assert_eq!((refused.status.code(), refused.stdout.len()), (Some(2), 0), "{stderr}");
        assert!(stderr.contains("the last sync of done-in-10ms~1 ended in SYNC_DONE"), "{stderr}");
        assert!(stderr.contains("nothing was started") && stderr.contains("--again"), "{stderr}");
    }
    assert_eq!(world.simulator.stats().total.syncs_started, 1);
    let done = world.sync(&state, &[chats[0], "--again"]).checked_output().await;
    assert_eq!(done.status.code(), Some(0), "another list of chats is another command");
    assert_eq!(world.simulator.stats().total.syncs_started, 2);
}

#[tokio::test]
async fn two_processes_on_one_file_share_one_sync() {
    let world = Provider::start(Faults::default()).await;
    let folder = tempfile::tempdir().unwrap();
    let state = folder.path().join("runs.sqlite3");
    let first = world.sync(&state, &["done-in-3s~1"]).spawn().unwrap();
    sleep(Duration::from_millis(500)).await;
    let second = world.sync(&state, &["done-in-3s~1", "done-in-1s~2"]).spawn().unwrap();
    let both = async { tokio::join!(first.checked_output(), second.checked_output()) };
    let (first, second) = tokio::time::timeout(Duration::from_secs(60), both).await.expect("neither process hangs");
    assert!(first.status.success() && second.status.success());
    assert_eq!(world.simulator.stats().total.syncs_started, 2);
    let events_of_first = |output: &Output| {
        let lines = lines(output).into_iter().map(|line| serde_json::to_string(&line.detail).unwrap());
        lines.filter(|line| line.contains("done-in-3s~1")).collect::<BTreeSet<_>>()
    };
    assert_eq!(events_of_first(&first), events_of_first(&second), "both print the same event");
}

#[tokio::test]
async fn lease_margin_may_be_zero() {
    let world = Provider::start(Faults::default()).await;
    let folder = tempfile::tempdir().unwrap();
    let mut command = world.sync(&folder.path().join("runs.sqlite3"), &["done-in-10ms~1"]);
    let output = command.env("BRIDGE_LEASE_MARGIN_SECONDS", "0").checked_output();
    let output = tokio::time::timeout(Duration::from_secs(60), output).await.expect("it does not hang");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[cfg(target_os = "linux")] // for /dev/full
#[tokio::test]
async fn event_that_cannot_be_printed_is_not_lost() {
    let world = Provider::start(Faults::default()).await;
    let folder = tempfile::tempdir().unwrap();
    let state = folder.path().join("runs.sqlite3");
    let full = std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    let mut child = world.sync(&state, &["done-in-10ms~1"]).stdout(full).spawn().unwrap();
    while phases(&state, &["done-in-10ms~1"]).await.values().all(|phase| *phase == Phase::Active) {
        sleep(Duration::from_millis(100)).await;
    }
    sleep(Duration::from_millis(300)).await;
    assert!(child.try_wait().unwrap().is_none(), "it keeps trying");
    kill_9(child).await;
    let output = world.sync(&state, &["done-in-10ms~1"]).checked_output().await;
    assert!(output.status.success());
    assert_eq!((lines(&output).len(), world.simulator.stats().total.syncs_started), (1, 1));
}

#[cfg(unix)]
#[tokio::test]
async fn sigterm_loses_no_answer() {
    let latency = Span::fixed(Duration::from_millis(300));
    let world = Provider::start(Faults { latency, ..Faults::default() }).await;
    let folder = tempfile::tempdir().unwrap();
    let state = folder.path().join("runs.sqlite3");
    let child = world.sync(&state, &["deleted~1"]).spawn().unwrap();
    while world.simulator.stats().total.in_flight == 0 {
        sleep(Duration::from_millis(5)).await;
    }
    let kill = Command::new("kill").arg(child.id().unwrap().to_string()).status().await.unwrap();
    assert!(kill.success());
    let output = child.checked_output().await;
    assert_eq!(lines(&output).len(), 1, "the pending answer was awaited, recorded and printed");
    assert_eq!(world.simulator.stats().total.calls, 1);
}

#[cfg(unix)]
#[tokio::test]
async fn orderly_stop_releases_its_runs_so_that_the_next_sync_goes_on_at_once() {
    let world = Provider::start(Faults::default()).await;
    let folder = tempfile::tempdir().unwrap();
    let state = folder.path().join("runs.sqlite3");
    let sync = || {
        let mut sync = world.sync(&state, &["done-in-2s~1"]);
        sync.env("POSTPRESS_TIMEOUT_SECONDS", "300").env("BRIDGE_POLL_INITIAL_SECONDS", "2");
        sync
    };
    let child = sync().spawn().unwrap();
    while world.simulator.stats().total.delivered == 0 {
        sleep(Duration::from_millis(5)).await;
    }
    let kill = Command::new("kill").arg(child.id().unwrap().to_string()).status().await.unwrap();
    assert!(kill.success());
    let stopped = child.checked_output().await;
    assert_eq!(stopped.status.code(), Some(1));
    let store = SqliteStore::open(&state).unwrap();
    let item = store.read(&Subject::chat("done-in-2s~1").unwrap()).await.unwrap().unwrap();
    assert_eq!(item.learned.history.entries().len(), 1, "what the lost poll carried is kept");

    let next = tokio::time::timeout(Duration::from_secs(60), sync().checked_output()).await.expect("no lease is left");
    let stderr = String::from_utf8_lossy(&next.stderr);
    assert!(next.status.success() && !stderr.contains("lease"), "{stderr}");
    let total = world.simulator.stats().total;
    assert_eq!((total.syncs_started, total.restarts), (1, 0));
}

/// The state of the table after a kill.
struct Kill {
    at_ms: u64,
    phases: BTreeMap<Subject, Phase>,
}

#[tokio::test]
async fn sync_resumes_after_kill_9_and_every_restart_is_explained() {
    const KILLS: usize = 18;
    let latency = Span::between(Duration::from_millis(20), Duration::from_millis(150));
    let world = Provider::start(Faults { latency, seed: 7, ..Faults::default() }).await;
    let folder = tempfile::tempdir().unwrap();
    let state = folder.path().join("runs.sqlite3");
    let ids: Vec<String> = (0..8).map(|n| format!("done-in-{}ms~{n}", 1_000 + 1_500 * n)).collect();
    let chats: Vec<&str> = ids.iter().map(String::as_str).collect();

    let mut random = StdRng::seed_from_u64(11);
    let mut kills = Vec::new();
    let mut printed: BTreeMap<Subject, BTreeSet<String>> = BTreeMap::new();
    let mut note = |output: &Output| {
        for line in lines(output) {
            let chat = line.detail.chat_id.clone().unwrap();
            printed
                .entry(SubjectId::Chat(chat).into())
                .or_default()
                .insert(serde_json::to_string(&line.detail).unwrap());
        }
    };
    let mut last = None;
    while last.is_none() && kills.len() < KILLS {
        let child = world.sync(&state, &chats).spawn().unwrap();
        sleep(Duration::from_millis(random.random_range(30..1_200))).await;
        let output = kill_9(child).await;
        note(&output);
        // It exited before the kill, so the same list of chats would be a new command now.
        last = output.status.success().then_some(output);
        kills.push(Kill { at_ms: world.now_ms(), phases: phases(&state, &chats).await });
    }
    if last.is_none() {
        let output = world.sync(&state, &chats).checked_output().await;
        note(&output);
        last = Some(output);
    }
    let last = last.unwrap();
    assert!(last.status.success(), "{}", String::from_utf8_lossy(&last.stderr));

    assert_eq!(printed.len(), chats.len(), "every chat has an ending");
    for (chat, events) in &printed {
        assert_eq!(events.len(), 1, "{chat:?} has more than one ending: {events:#?}");
    }
    let total = world.simulator.stats().total;
    println!(
        "kill -9: {} kills, {} calls, {} syncs started for {} chats, {} of them restarts",
        kills.len(),
        total.calls,
        total.syncs_started,
        chats.len(),
        total.restarts
    );
    assert!(total.calls > 2 * chats.len() as u64, "the processes lived long enough to call");
    assert_eq!(total.syncs_started, chats.len() as u64 + total.restarts);
    for chat in chats.iter().map(|chat| Subject::chat(chat).unwrap()) {
        for (over, again) in restarts(&world.simulator, &chat) {
            assert!(is_explained(&over, &again, &kills), "nothing explains {again} after {over}");
        }
    }
}

/// A restart is explained if a kill between the terminal answer and the restarting call left the run active: the answer was
/// given, but not recorded.
fn is_explained(over: &CallRecord, again: &CallRecord, kills: &[Kill]) -> bool {
    let between = kills.iter().filter(|kill| over.sent_at_ms <= kill.at_ms && kill.at_ms <= again.sent_at_ms);
    between.into_iter().any(|kill| kill.phases.get(&over.subject) == Some(&Phase::Active))
}

/// The calls that restarted a chat's sync, each with the terminal answer before it.
fn restarts(simulator: &Simulator, chat: &Subject) -> Vec<(CallRecord, CallRecord)> {
    let mut log: Vec<CallRecord> = simulator.log().into_iter().filter(|record| record.subject == *chat).collect();
    log.sort_by_key(|record| (record.landed_at_ms, record.number));
    let mut last_over = None;
    let mut restarts = Vec::new();
    for record in log {
        match record.said {
            Some(Said::Over(_)) => last_over = Some(record),
            Some(Said::Started { restart: true }) => restarts.push((last_over.clone().unwrap(), record)),
            _ => {}
        }
    }
    restarts
}

async fn phases(state: &Path, chats: &[&str]) -> BTreeMap<Subject, Phase> {
    let store = SqliteStore::open(state).unwrap();
    let mut phases = BTreeMap::new();
    for chat in chats.iter().map(|chat| Subject::chat(chat).unwrap()) {
        if let Some(item) = store.read(&chat).await.unwrap() {
            phases.insert(chat, item.state.phase());
        }
    }
    phases
}

async fn kill_9(mut child: Child) -> Output {
    child.start_kill().unwrap();
    child.checked_output().await
}

/// The simulated provider, served by this test.
pub(crate) struct Provider {
    pub(crate) base_url: String,
    pub(crate) simulator: Simulator,
    began: Instant,
}

impl Provider {
    pub(crate) async fn start(faults: Faults) -> Self {
        Self::start_with(faults, ChatLists::default()).await
    }

    pub(crate) async fn start_with(faults: Faults, lists: ChatLists) -> Self {
        let simulator = Simulator::with_chats(faults, lists, |_| {});
        let began = Instant::now();
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let server = Server::bind(address, simulator.clone()).await.unwrap();
        let base_url = server.base_url();
        tokio::spawn(server.run(std::future::pending()));
        Self { base_url, simulator, began }
    }

    /// Milliseconds since the simulator started, as in its log.
    fn now_ms(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_millis()).unwrap()
    }

    /// The command with short times: half a second for a call, a poll every second.
    pub(crate) fn sync(&self, state: &Path, chats: &[&str]) -> Command {
        let mut command = program();
        command
            .arg("sync")
            .args(chats)
            .env("POSTPRESS_BASE_URL", &self.base_url)
            .env("POSTPRESS_API_KEY", CANARY)
            .env("BRIDGE_LOG", "trace") // so that a secret would show
            .env("POSTPRESS_TIMEOUT_SECONDS", "0.5")
            .env("BRIDGE_LEASE_MARGIN_SECONDS", "0.1")
            .env("BRIDGE_POLL_INITIAL_SECONDS", "1")
            .env("BRIDGE_POLL_FACTOR", "1")
            .env("BRIDGE_STATE_FILE", state);
        command
    }
}
