// The page of a bridge: runs, one run, dead letters, and the dialogs that change something. It asks again and again, and changes
// only what differs, so that focus, scroll position and selection stay.

import { calls, chart, endingOf, icon } from "./chart.js";
import { ago, clock, foreign, h, json, moment, plural, replaceWhenChanged, setText, span, visible, visibleLines } from "./dom.js";

const $ = (id) => document.getElementById(id);
const runLink = (subject) => `#/run/${encodeURIComponent(subject)}`;

const ANSWER_MAX_MS = 15_000;
const RETRY_MAX_MS = 10_000;
const RESULT_SHOWN_MS = 12_000;
const DEFAULT_REFRESH_MS = 2_000;

/** Ids that the simulator understands; `simulate --help` lists all. */
const EXAMPLES = {
  chat_id: ["done-in-20s", "done-in-2m", "error-in-10s", "deleted", "503-for-2-calls-then-done-in-10s", "resource_not_found"],
  account_id: ["done-in-3-chunks-of-5s", "error-in-10s"],
};

let token = takeToken();
/** The last answers. `details` and `letters` are those of the current view. */
const known = { overview: null, details: null, letters: null };
let view = { name: "runs" };
let filter = "";
/** Whether the search is to have the focus once the runs are shown. */
let isSearchWanted = false;
let isConnected = false;
/** By how much the bridge's clock is ahead of this one's. */
let ahead = 0;
let frozenAt = null;

/** The bridge's time; it stands still while the bridge is gone. */
const now = () => frozenAt ?? Date.now() + ahead;

// ---- Asking

/** The token from the URL, which must not stay in the address bar; else the one of this tab. */
function takeToken() {
  const given = new URLSearchParams(location.hash.slice(1)).get("token");
  if (given) {
    sessionStorage.setItem("token", given);
    history.replaceState(null, "", `${location.pathname}#/`);
  }
  return given ?? sessionStorage.getItem("token");
}

class Refused extends Error {
  constructor(status, message) {
    super(message);
    this.status = status;
  }
}

async function ask(method, path, body) {
  const response = await fetch(path, {
    method,
    cache: "no-store",
    signal: AbortSignal.timeout(ANSWER_MAX_MS),
    headers: { Authorization: `Bearer ${token}`, ...(body && { "Content-Type": "application/json" }) },
    body: body && JSON.stringify(body),
  });
  if (response.ok) return response.json();
  if (response.status === 401) lock();
  const problem = await response.json().catch(() => ({}));
  throw new Refused(response.status, problem.detail ?? problem.title ?? `the bridge answers with HTTP ${response.status}`);
}

let latest = 0;
let failures = 0;
let timer = null;

/** Asks for what the view shows, and again later. Only the answer to the latest call counts. */
async function refresh() {
  clearTimeout(timer);
  latest += 1;
  if (!token) return;
  if (document.hidden) {
    connection("paused", "Paused");
    return;
  }
  const turn = latest;
  try {
    const overview = ask("GET", `/api/overview?filter=${encodeURIComponent(filter)}`);
    const [first, second] = await Promise.all([overview, views[view.name].read?.()]);
    if (turn !== latest) return;
    Object.assign(known, { overview: first, ...second });
    ahead = Date.parse(first.now) - Date.now();
    frozenAt = null;
    failures = 0;
    connection("live", "Live");
    problem("");
  } catch (error) {
    if (turn !== latest || !token) return;
    frozenAt ??= now();
    failures += 1;
    const isAnswered = error instanceof Refused;
    connection("lost", isAnswered ? "Errors, trying again" : "Not connected, trying again");
    problem(isAnswered ? `The bridge cannot answer: ${visible(error.message)}` : "");
  }
  render();
  const pause = known.overview?.refresh_ms ?? DEFAULT_REFRESH_MS;
  timer = setTimeout(refresh, failures === 0 ? pause : Math.min(RETRY_MAX_MS, 1_000 * 2 ** (failures - 1)));
}

function connection(state, text) {
  isConnected = state === "live";
  $("connection").className = `connection ${state}`;
  setText($("connection"), text);
  document.body.classList.toggle("stale", state === "lost" && known.overview !== null);
}

function problem(text) {
  $("problem").hidden = text === "";
  setText($("problem"), text);
}

function lock() {
  token = null;
  known.overview = null;
  latest += 1;
  sessionStorage.removeItem("token");
  clearTimeout(timer);
  document.querySelectorAll("dialog[open]").forEach((dialog) => dialog.close());
  connection("lost", "No access");
  problem("");
  $("counts").hidden = true;
  $("open-trigger").hidden = true;
  $("view").replaceChildren(h("section", { className: "card empty" },
    icon("overdue", "warn"),
    h("h1", {}, "Open the URL that the command printed"),
    h("p", {}, "It ends with ", h("code", {}, "#token=…"), ". This tab has no token, or one that is no longer valid.")));
}

// ---- Views

const views = {
  runs: { build: buildRuns, show: showRuns, title: "Runs" },
  run: { build: buildRun, show: showRun, read: readRun },
  letters: { build: buildLetters, show: showLetters, read: async () => ({ letters: await ask("GET", "/api/dead-letters") }), title: "Dead letters" },
};

function viewOf(hash) {
  if (hash.startsWith("#/run/") && hash.length > 6) {
    try {
      return { name: "run", subject: decodeURIComponent(hash.slice(6)) };
    } catch {
      return { name: "runs" };
    }
  }
  return { name: hash === "#/dead-letters" ? "letters" : "runs" };
}

function open() {
  const previous = view;
  view = viewOf(location.hash);
  known.details = null;
  known.letters = null;
  for (const link of document.querySelectorAll("[data-view]")) {
    if (link.dataset.view === view.name) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  document.title = `${visible(view.subject ?? views[view.name].title)} · postpress-bridge`;
  if (!token) {
    lock();
    return;
  }
  $("view").replaceChildren(...views[view.name].build());
  render();
  if (previous.isOpen) {
    window.scrollTo(0, 0);
    const opened = previous.name === "run" && rows.get(previous.subject)?.querySelector("a");
    const target = isSearchWanted ? $("search") : opened?.isConnected ? opened : $("view").querySelector("h1");
    isSearchWanted = false;
    target.focus();
  }
  view.isOpen = true;
  refresh();
}

function render() {
  const { overview } = known;
  if (!overview || !token) return;
  setText($("place"), visible(overview.bridge.title));
  $("open-trigger").hidden = !overview.bridge.can_trigger;
  const letters = overview.queue?.dead_letters ?? 0;
  $("dead-count").hidden = letters === 0;
  setText($("dead-count"), String(letters));
  showCounts(overview);
  views[view.name].show();
}

function showCounts({ counts, queue }) {
  const all = [
    ["in flight", counts.active, ""],
    ["ended", counts.ended + (counts.ended_is_partial ? "+" : ""), ""],
    ["overdue", counts.overdue, "warn"],
    ["not published", counts.unpublished, "warn"],
  ];
  if (queue) {
    all.push(["dead letters", queue.dead_letters, "warn"]);
    all.push(["Queue", `${queue.visible} ready, ${queue.delayed} delayed, ${queue.in_flight} in work`, "queue"]);
  }
  const key = JSON.stringify(all);
  $("counts").hidden = false;
  replaceWhenChanged($("counts"), key, () => all.map(([name, count, kind]) =>
    h("div", { className: kind === "queue" || Number(count) ? kind : "" }, h("dt", {}, name), h("dd", {}, String(count)))));
}

const card = (title, ...children) =>
  h("section", { className: "card" }, h("div", { className: "card-head" }, h("h2", {}, title)), ...children);

const heading = (...labels) =>
  h("thead", {}, h("tr", {}, labels.map((label) => h("th", { scope: "col", className: label.className }, label.text ?? label))));

// ---- What a run is

function stateOf(run) {
  if (run.phase === "ended") {
    const { tone, shape } = endingOf(run);
    const isCancelled = run.error_type === "bridge/cancelled";
    const words = { __proto__: null, SYNC_DONE: "Done", SYNC_ERROR: "Sync error", CHAT_DELETED: "Deleted" };
    const text = words[run.ending] ?? (isCancelled ? "Cancelled" : "Failed");
    const note = run.is_published ? !isCancelled && run.error_type : "event not confirmed";
    return { tone, shape, text, note };
  }
  if (run.overdue_seconds !== null) {
    return { tone: "warn", shape: "overdue", text: "Overdue", note: `for ${span(run.overdue_seconds * 1_000)}` };
  }
  if (run.cancelled_at) return { tone: "warn", shape: "cancelled", text: "Cancelling", note: "ends with its next message" };
  if (!run.status) return { tone: "flight", shape: "waiting", text: "No answer yet" };
  const words = { __proto__: null, SYNC_STARTED: "Started", SYNC_RUNNING: "Running", CHUNK_DONE: "Chunk done" };
  return { tone: "flight", shape: "flight", text: words[run.status] ?? run.status, note: run.chunks ? plural(run.chunks, "chunk") + " done" : "" };
}

function showState(element, run) {
  const { tone, shape, text, note } = stateOf(run);
  replaceWhenChanged(element, [tone, text, note].join(), () => h("span", { className: "state" },
    icon(shape, tone), h("span", {}, h("span", { className: tone }, foreign(text)), note && h("small", {}, foreign(note)))));
}

const elapsed = (run) => span(Math.max(0, (run.finished_at ? Date.parse(run.finished_at) : now()) - Date.parse(run.started_at)));

function nextOf(run) {
  if (run.finished_at) return ago(now() - Date.parse(run.finished_at));
  if (run.overdue_seconds !== null) return "at a sweep";
  if (!run.next_poll_at) return "";
  const left = Date.parse(run.next_poll_at) - now();
  return left < 500 ? "now" : `in ${span(Math.ceil(left / 1_000) * 1_000)}`;
}

/** What became of the same chat with a poller that has no table. */
function fateOf(fate) {
  if (!fate) return { text: "" };
  const isBad = fate.restarts > 0 || fate.endings > 1;
  const parts = [fate.restarts > 0 && `restarted ${fate.restarts}×`, fate.endings > 0 && plural(fate.endings, "ending")];
  return { isBad, text: parts.filter(Boolean).join(", ") || "polling" };
}

// ---- Runs

/** The rows by subject; they live as long as their runs are listed. */
const rows = new Map();

function buildRuns() {
  rows.clear();
  const search = h("input", { id: "search", type: "search", value: filter, placeholder: "Search", autocomplete: "off", spellcheck: false, oninput: searchSoon });
  search.setAttribute("aria-label", "Search by id, workspace, state or error");
  const columns = [
    { text: "Run", className: "id" }, { text: "State", className: "phase" }, { text: "Calls", className: "figure narrow" },
    { text: "Elapsed", className: "figure time" }, { text: "Next poll, end", className: "figure time" },
    { text: "Restarts", className: "figure narrow" }, { text: "Triggers", className: "figure narrow" }, { text: "Without a table", className: "fate" },
  ];
  return [
    h("div", { className: "view-head" }, h("h1", { tabIndex: -1 }, "Runs"), h("div", { className: "search" }, search, h("kbd", {}, "/"))),
    h("section", { id: "compare", className: "card compare", hidden: true }),
    h("section", { className: "card" },
      h("table", { id: "list", className: "runs cards", hidden: true },
        h("caption", { className: "hidden" }, "Runs in flight, then runs that have ended"), heading(...columns), h("tbody", { id: "rows" })),
      h("div", { id: "none" }, h("p", { className: "empty quiet" }, "Reading…"))),
    h("p", { id: "cut", className: "quiet", hidden: true }, "These are not all: search for the others."),
  ];
}

let searching = null;
function searchSoon(event) {
  filter = event.target.value.trim();
  clearTimeout(searching);
  searching = setTimeout(refresh, 150);
}

function showRuns() {
  const { overview } = known;
  const isCompared = Boolean(overview.stateless);
  $("compare").hidden = !isCompared;
  if (isCompared) showComparison(overview.stateless);

  const isEmpty = overview.runs.length === 0;
  $("list").hidden = isEmpty;
  $("none").hidden = !isEmpty;
  $("cut").hidden = !overview.is_cut;
  if (isEmpty) showNone(overview);
  $("list").querySelector("thead .fate").hidden = !isCompared;

  const inFlight = overview.runs.filter((run) => run.phase === "active");
  const ended = overview.runs.filter((run) => run.phase !== "active");
  const wanted = [];
  const group = (name, runs) => {
    if (runs.length === 0) return;
    const title = keyedRow(`group ${name}`, () => h("tr", { className: "group" }, h("th", { scope: "rowgroup", colSpan: 8 }, h("b", {}, name), h("span"))));
    setText(title.querySelector("span"), String(runs.length));
    wanted.push(title);
    for (const run of steady(runs)) {
      const row = keyedRow(run.subject, () => newRow(run));
      fillRow(row, run, isCompared);
      wanted.push(row);
    }
  };
  group("In flight", inFlight);
  group("Ended", ended);
  const kept = new Set(wanted);
  for (const [key, row] of rows) {
    if (!kept.has(row)) {
      row.remove();
      rows.delete(key);
    }
  }
  arrange($("rows"), wanted);
}

function keyedRow(key, build) {
  if (!rows.has(key)) rows.set(key, build());
  return rows.get(key);
}

/** While the list is pointed at or focused, rows keep their places: nothing moves away from under a click. */
function steady(runs) {
  const list = $("rows");
  if (!list.matches(":hover, :focus-within")) return runs;
  const places = new Map([...list.children].map((row, place) => [row, place]));
  const place = (run) => places.get(rows.get(run.subject)) ?? -1;
  return runs.toSorted((one, other) => place(one) - place(other));
}

/** Puts rows in order, without moving the one that has the focus: to move it would take the focus away. */
function arrange(list, wanted) {
  const fixed = wanted.find((row) => row.contains(document.activeElement));
  let place = list.firstChild;
  for (const row of wanted) {
    if (row === fixed) {
      while (place && place !== fixed) {
        const other = place;
        place = place.nextSibling;
        list.append(other);
      }
    }
    if (row === place) place = place.nextSibling;
    else list.insertBefore(row, place);
  }
}

function newRow(run) {
  const where = [run.kind === "account" && "account", run.workspace !== "default" && run.workspace].filter(Boolean).join(" · ");
  const cell = (label, className) => h("td", { className, "data-label": label });
  return h("tr", { className: "run", onclick: openClicked },
    h("th", { scope: "row", className: "id" }, h("a", { href: runLink(run.subject) }, foreign(run.id)), where && h("small", {}, foreign(where))),
    h("td", { className: "phase" }), cell("calls", "figure"), cell("elapsed", "figure"), cell("next", "figure"),
    cell("restarts", "figure optional"), cell("triggers", "figure optional"), cell("without a table:", "fate"));
}

/** A click anywhere in a row opens its run, unless it selects text or is meant for a link. */
function openClicked(event) {
  if (event.target.closest("a") || !getSelection().isCollapsed) return;
  event.currentTarget.querySelector("a").click();
}

function fillRow(row, run, isCompared) {
  const [, phase, polls, time, next, restarts, triggers, fate] = row.children;
  showState(phase, run);
  setText(polls, String(run.polls));
  setText(time, elapsed(run));
  setText(next, nextOf(run));
  next.dataset.label = run.finished_at ? "ended" : "next";
  setText(restarts, String(run.restarts));
  restarts.className = `figure optional ${run.restarts ? "bad" : "zero"}`;
  setText(triggers, String(run.triggers));
  triggers.className = `figure optional ${run.triggers > 1 ? "" : "zero"}`;
  fate.hidden = !isCompared;
  if (isCompared) showFate(fate, run.stateless);
}

function showFate(element, stateless) {
  const { text, isBad } = fateOf(stateless);
  replaceWhenChanged(element, text, () => text && h("span", { className: `state ${isBad ? "bad" : "quiet"}` }, isBad && icon("restart", "bad"), text));
}

function showComparison({ bridge, stateless }) {
  const line = (name, fate, isOther) => h("tr", {}, h("th", { scope: "row" }, name),
    h("td", {}, String(fate.syncs_started)),
    h("td", { className: fate.restarts ? "bad" : isOther ? "" : "done" }, String(fate.restarts)),
    h("td", { className: isOther && fate.endings > bridge.endings ? "bad" : "" }, String(fate.endings)));
  replaceWhenChanged($("compare"), JSON.stringify([bridge, stateless]), () => [
    h("div", {}, h("h2", {}, "Beside it: a poller without a table, with the same messages and the same faults"),
      h("p", {}, "Every call after the end of a sync starts the whole sync again. The bridge remembers the end; the poller beside it cannot, and a repeated message, a lost reply or a killed process makes it call once more.")),
    h("table", {},
      h("thead", {}, h("tr", {}, h("td"), ["syncs started", "restarted", "endings"].map((name) => h("th", { scope: "col" }, name)))),
      h("tbody", {}, line("postpress-bridge", bridge, false), line("without a table", stateless, true))),
  ]);
}

function showNone({ bridge }) {
  replaceWhenChanged($("none"), JSON.stringify([filter, bridge]), () => {
    if (filter) return h("div", { className: "empty" }, h("h2", {}, "No run matches “", foreign(filter), "”"), h("p", {}, "The search looks at ids, workspaces, states and error types."));
    const parts = [h("h2", {}, "No runs yet")];
    if (!bridge.can_trigger) {
      parts.push(h("p", {}, "A run appears here once this bridge has a trigger. From a terminal:"), snippet("postpress-bridge sync CHAT_ID"));
    } else {
      parts.push(h("p", {}, "A run begins with a trigger: “sync this chat”. Send the first one here, or over HTTP."), h("button", { type: "button", className: "primary", onclick: openTrigger }, "New sync"));
      const id = bridge.kind === "dev" ? "done-in-20s~1" : "CHAT_ID";
      if (bridge.front_door && bridge.kind === "dev") parts.push(h("p", {}, "TOKEN is the one in the URL of this page, as the command printed it."));
      if (bridge.front_door) parts.push(snippet(`curl ${bridge.front_door} \\\n  -H "Authorization: Bearer $TOKEN" -H 'Content-Type: application/json' \\\n  -d '{"chat_id": "${id}"}'`));
    }
    return h("div", { className: "empty" }, parts);
  });
}

const snippet = (text) => h("pre", { className: "sunk", tabIndex: 0 }, visibleLines(text));

// ---- One run

async function readRun() {
  const { subject } = view;
  try {
    return { details: await ask("GET", `/api/run?subject=${encodeURIComponent(subject)}`) };
  } catch (error) {
    if (error.status !== 404) throw error;
    return { details: { isMissing: true } };
  }
}

const backLink = () => h("p", {}, h("a", { href: "#/", className: "back" }, "← Runs"));

function buildRun() {
  return [
    h("div", { className: "title" }, backLink(),
      h("div", { className: "view-head" }, h("h1", { tabIndex: -1 }, foreign(view.subject.replace(/^[^/]*\/[^/]*\//, ""))), h("div", { id: "actions", className: "actions" })),
      h("div", { id: "run-state" })),
    h("div", { id: "run", className: "stack" }, h("p", { className: "quiet" }, "Reading…")),
  ];
}

function showRun() {
  const { details } = known;
  if (!details) return;
  const place = $("run");
  if (details.isMissing) {
    setText($("run-state"), "");
    replaceWhenChanged(place, "missing", () => h("section", { className: "card empty" }, h("h2", {}, "No run yet"),
      h("p", {}, "Nothing here remembers a sync of it. A trigger that was just sent appears as soon as the worker has it; a run that ended long ago has expired.")));
    return;
  }
  const { run } = details;
  replaceWhenChanged(place, run.subject, () => buildDetails(run));
  showState($("run-state"), run);
  const can = known.overview.bridge.can_trigger;
  const canCancel = can && run.phase === "active" && !run.cancelled_at;
  replaceWhenChanged($("actions"), `${can} ${canCancel} ${run.phase}`, () => [
    canCancel && h("button", { type: "button", className: "danger", onclick: () => cancelRun(run) }, "Cancel run"),
    can && run.phase === "ended" && h("button", { type: "button", onclick: () => syncAgain(run) }, "Sync again"),
  ]);
  showFailure(details);
  showHistory(details);
  showFacts(details);
  showTriggers(details);
  showEvent(details);
}

function buildDetails(run) {
  return [
    h("div", { id: "failure", hidden: true }),
    h("section", { className: "card" }, h("div", { className: "card-head" }, h("h2", {}, "History"), h("span", { id: "history-next", className: "quiet" })),
      h("div", { id: "plot", className: "plot" }), h("p", { id: "legend", className: "legend" }),
      h("details", { className: "below" }, h("summary", {}, "As a table"),
        h("table", {}, heading("Call", "When", { text: "After", className: "figure" }, "Answer"), h("tbody", { id: "entries" })))),
    h("div", { className: "split" },
      h("div", { className: "stack" },
        card("Event", h("div", { id: "event", className: "card-body" })),
        card("Triggers", h("div", { id: "triggers" }))),
      card("Facts", h("dl", { id: "facts", className: "facts card-body" }))),
  ];
}

function showFailure({ run, event }) {
  const error = event?.detail?.error;
  $("failure").hidden = !error;
  if (!error) return;
  const tone = endingOf(run).tone;
  $("failure").className = `failure ${tone}`;
  replaceWhenChanged($("failure"), JSON.stringify(error), () => [
    h("p", { className: "mono" }, foreign(error.type ?? run.error_type)),
    h("p", {}, foreign([error.title, error.detail].filter(Boolean).join(": ")))]);
}

const LEGEND = "Point at a mark to read it.";

function showHistory(details) {
  const { run } = details;
  const next = run.finished_at ? "" : nextOf(run);
  setText($("history-next"), next && `next poll ${next}`);
  const plot = $("plot");
  const width = plot.clientWidth - 32;
  const key = JSON.stringify([details.history, details.triggers, run, details.unrecorded, width]);
  const isMoving = run.phase === "active" && isConnected && !plot.matches(":hover");
  if (plot.drawnKey !== key || isMoving) {
    plot.drawnKey = key;
    plot.replaceChildren(chart(details, now(), Math.max(240, width), (text) => setText($("legend"), text ?? LEGEND)));
    setText($("legend"), LEGEND);
  }
  replaceWhenChanged($("entries"), JSON.stringify([details.history, details.unrecorded, run.finished_at]), () => entries(details));
}

/** The rows of the table below the drawing. */
function entries(details) {
  const { run } = details;
  let before = null;
  const row = (name, at, isExact, text, count) => {
    const after = before !== null && isExact ? span(at - before) : "";
    if (isExact) before = at;
    return h("tr", {}, h("td", {}, name), h("td", {}, isExact ? moment(new Date(at).toISOString(), now()) : "unknown"), h("td", { className: "figure" }, after),
      h("td", {}, foreign(text), count > 1 && ` (${count} calls)`));
  };
  const all = [];
  let number = 1;
  const add = (entry) => {
    const name = entry.count > 1 ? `${number}–${number + entry.count - 1}` : String(number);
    const isRecorded = entry.answer !== "unrecorded";
    const restart = calls({ ...details, history: details.history.slice(0, details.history.indexOf(entry) + 1), unrecorded: 0 }, now()).at(-1);
    const text = isRecorded ? `${entry.answer}${entry.status ? `, HTTP ${entry.status}` : ""}${entry.count === 1 && restart?.isRestart ? ", a restart" : ""}` : "no recorded answer";
    all.push(row(name, Date.parse(entry.at), isRecorded && entry.answer !== "earlier", text, entry.count));
    number += entry.count;
  };
  details.history.forEach(add);
  if (details.unrecorded) add({ answer: "unrecorded", count: details.unrecorded });
  if (run.finished_at) all.push(row("end", Date.parse(run.finished_at), true, run.error_type ?? run.ending, 1));
  return all;
}

/** The shortest and the longest time between two answers. */
function pauses({ run, history }) {
  const times = history.filter(({ answer }) => !["earlier", "unrecorded"].includes(answer)).map(({ at, count }) => ({ at: Date.parse(at), count }));
  if (run.finished_at && !run.error_type) times.push({ at: Date.parse(run.finished_at), count: 1 });
  const between = times.slice(1).map(({ at }, place) => (at - times[place].at) / times[place].count);
  return between.length === 0 ? ["none yet", "none yet"] : [Math.min(...between), Math.max(...between)].map(span);
}

function showFacts(details) {
  const { run, history } = details;
  const [shortest, longest] = pauses(details);
  const time = (at) => [at ? clock(at, now()) : "unknown", at];
  const facts = [
    ["Kind", run.kind], ["Workspace", run.workspace], ["Elapsed", elapsed(run)],
    ["Calls", String(run.polls)], ["Restarts seen", String(run.restarts)],
    ...(run.chunks === null ? [] : [["Chunks done", String(run.chunks)]]),
    ["Requested", ...time(run.requested_at)], ["First call", ...time(run.started_at)],
    ["Last answer", ...(history.length ? time(run.finished_at && !run.error_type ? run.finished_at : history.at(-1).at) : ["none yet"])],
    ["Shortest pause", shortest], ["Longest pause", longest],
    ...(run.cancelled_at ? [["Cancelled", ...time(run.cancelled_at)]] : []),
    ...(run.finished_at ? [["Ended", ...time(run.finished_at)], ["Event", run.is_published ? "published" : "not confirmed published"]] : []),
    ...(run.stateless ? [["Without a table", fateOf(run.stateless).text]] : []),
  ];
  const list = $("facts");
  facts.forEach(([name, text, title], place) => {
    const fact = list.children[place] ?? list.appendChild(h("div", {}, h("dt"), h("dd")));
    setText(fact.firstChild, name);
    setText(fact.lastChild, visible(text));
    fact.lastChild.title = title ?? "";
    fact.lastChild.className = name === "Without a table" && fateOf(run.stateless).isBad ? "bad" : "";
  });
  while (list.children.length > facts.length) list.lastChild.remove();
}

function showTriggers({ triggers, more_triggers: more }) {
  replaceWhenChanged($("triggers"), JSON.stringify([triggers, more]), () => [
    h("table", { className: "cards" }, heading("Requested", "Idempotency key", "Message"), h("tbody", {}, triggers.map((trigger) => h("tr", {},
      h("td", {}, moment(trigger.requested_at, now()), trigger.joined && h("small", {}, " joined")),
      h("td", { className: "mono" }, trigger.idempotency_key ? foreign(trigger.idempotency_key) : h("span", { className: "quiet" }, "none"),
        trigger.correlation_id && h("small", {}, " for ", foreign(trigger.correlation_id))),
      h("td", { className: "mono" }, foreign(trigger.message_id)))))),
    more > 0 && h("p", { className: "card-body quiet" }, `and ${more} more`),
  ]);
}

function showEvent({ run, event }) {
  replaceWhenChanged($("event"), JSON.stringify(event), () => {
    if (!event) return h("p", { className: "quiet" }, run.phase === "ended" ? "Not known here." : "None yet: the ending is published as one event.");
    const text = JSON.stringify(event, null, 2);
    const copy = async () => {
      try {
        await navigator.clipboard.writeText(text);
        announce("The event is copied.");
      } catch {
        announce("The browser does not allow copying; select the text instead.", { isBad: true });
      }
    };
    return h("div", { className: "stack" }, h("p", { className: "view-head" }, h("span", { className: "quiet" }, "As a rule on the bus receives it."),
      h("button", { type: "button", onclick: copy }, "Copy")), h("pre", { className: "sunk", tabIndex: 0 }, json(event)));
  });
}

// ---- Dead letters

const PLANS = { __proto__: null, send: ["Send again", "flight", "started"], drop: ["Drop", "neutral", "deleted"], leave: ["Leave", "warn", "overdue"] };

function buildLetters() {
  return [
    h("div", { className: "view-head" }, h("h1", { tabIndex: -1 }, "Dead letters"), h("button", { type: "button", id: "redrive", hidden: true, onclick: redrive }, "Redrive…")),
    h("p", { className: "quiet" }, "Messages that were received too often without success. Fix the cause first; a redrive then sends each trigger again under its first key, so one that was accepted restarts nothing."),
    h("section", { className: "card", id: "letters" }, h("p", { className: "empty quiet" }, "Reading…")),
  ];
}

function showLetters() {
  if (!known.letters) return;
  const { letters } = known.letters;
  $("redrive").hidden = letters.length === 0 || !known.overview.bridge.can_trigger;
  replaceWhenChanged($("letters"), JSON.stringify(letters), () => {
    if (letters.length === 0) return h("div", { className: "empty" }, icon("done", "done"), h("h2", {}, "No dead letters"), h("p", {}, "Every message was handled."));
    return h("table", { className: "cards" },
      h("caption", { className: "hidden" }, "Dead letters, and what a redrive does with each"),
      heading("Message", "About", { text: "Received", className: "figure" }, "A redrive will"),
      h("tbody", {}, letters.map(letterRow)));
  });
}

function letterRow(letter) {
  const [name, tone, shape] = PLANS[letter.plan] ?? [letter.plan, "neutral", "earlier"];
  return h("tr", {},
    h("td", {}, visible(letter.kind.replaceAll("_", " ")), h("small", {}, " sent ", moment(letter.sent_at, now())), h("div", { className: "mono quiet" }, foreign(letter.message_id)),
      letter.body && h("details", {}, h("summary", {}, "Text"), h("pre", { className: "sunk", tabIndex: 0 }, visibleLines(letter.body)))),
    h("td", { className: "mono" }, letter.subject ? h("a", { href: runLink(letter.subject) }, foreign(letter.subject)) : h("span", { className: "quiet" }, "none")),
    h("td", { className: "figure", "data-label": "received" }, `${letter.receive_count}×`),
    h("td", {}, h("span", { className: "plan" }, icon(shape, tone), h("span", { className: tone }, visible(name))), h("small", {}, visible(letter.why))));
}

async function redrive() {
  const { letters } = known.letters;
  const plans = Object.entries(PLANS).map(([plan, [name]]) => [name.toLowerCase(), letters.filter((letter) => letter.plan === plan).length]);
  const text = plans.filter(([, count]) => count > 0).map(([name, count]) => `${name} ${count}`).join(", ");
  if (!await confirmed("Redrive the dead letters?", `It will ${text}. A message that fails again comes back here.`, "Redrive")) return;
  await act(async () => {
    const { sent, dropped, left, not_found: notFound } = await ask("POST", "/api/redrive", { message_ids: letters.map((letter) => letter.message_id) });
    const rest = notFound > 0 ? ` Not found: ${notFound}, gone or held by another consumer; try again in a minute.` : "";
    announce(`Redriven: ${sent} sent again, ${dropped} dropped, ${left} left.${rest}`);
  });
}

// ---- Changes

async function cancelRun(run) {
  const text = "The run makes no further call and ends for all its triggers as bridge/cancelled. A sync that postpress has begun goes on there: its API cannot stop one.";
  if (!await confirmed("Cancel this run?", text, "Cancel run")) return;
  await act(async () => {
    await ask("POST", "/api/cancel", { subject: run.subject });
    announce("The cancel is on the queue. It takes effect at once, or with the run's next message.");
  });
}

async function syncAgain(run) {
  const text = "The sync has ended. Another trigger makes postpress load the whole history again, from the start.";
  if (!await confirmed("Start the whole sync again?", text, "Sync again")) return;
  await act(async () => {
    const workspace = run.workspace === "default" ? {} : { workspace: run.workspace };
    await ask("POST", "/api/triggers", { [run.kind === "account" ? "account_id" : "chat_id"]: run.id, ...workspace });
    announce("The trigger is on the queue; a new run begins.");
  });
}

async function act(change) {
  try {
    await change();
  } catch (error) {
    if (token) announce(`That failed: ${failureOf(error)}`, { isBad: true });
  }
  refresh();
}

/** Without an answer, nobody knows whether a message was sent. */
const failureOf = (error) => (error instanceof Refused ? visible(error.message) : "the bridge did not answer; look whether it happened before you try again");

let hiding = null;
function announce(text, { isBad = false, link } = {}) {
  const result = $("result");
  result.replaceChildren(h("p", {}, icon(isBad ? "bad" : "done", isBad ? "bad" : "done"), h("span", {}, text, link && " ", link && h("a", { href: link.href }, link.text))));
  const hideSoon = () => {
    clearTimeout(hiding);
    hiding = setTimeout(() => (result.matches(":hover, :focus-within") ? hideSoon() : result.replaceChildren()), RESULT_SHOWN_MS);
  };
  hideSoon();
}

/** Whether the user says yes. */
function confirmed(title, text, yes) {
  const dialog = $("confirm");
  setText($("confirm-title"), title);
  setText($("confirm-text"), text);
  setText($("confirm-yes"), yes);
  dialog.returnValue = "no";
  dialog.showModal();
  return new Promise((resolve) => {
    dialog.addEventListener("close", () => resolve(dialog.returnValue === "yes"), { once: true });
  });
}

// ---- The trigger form

const form = $("trigger-form");

function openTrigger() {
  if (!known.overview?.bridge.can_trigger || document.querySelector("dialog[open]")) return;
  fieldError("", null);
  showKind();
  $("trigger").showModal();
}

function showKind() {
  const kind = form.elements.kind.value;
  const isAccount = kind === "account_id";
  setText($("id-label"), isAccount ? "Account id" : "Chat id");
  $("resync-field").hidden = !isAccount;
  $("examples").hidden = known.overview.bridge.kind !== "dev";
  replaceWhenChanged($("examples").lastElementChild, kind, () => EXAMPLES[kind].map((example) =>
    h("button", { type: "button", onclick: () => choose(example) }, example)));
}

/** The same example with a suffix of its own, so that it is a chat that was not synced before. */
function choose(example) {
  form.elements.id.value = `${example}~${Math.random().toString(36).slice(2, 6)}`;
  form.elements.id.focus();
}

function fieldError(text, field) {
  setText($("trigger-error"), text);
  for (const element of form.elements) element.removeAttribute("aria-invalid");
  if (!field) return;
  field.setAttribute("aria-invalid", "true");
  field.setAttribute("aria-describedby", "trigger-error");
  const options = field.closest("details");
  if (options) options.open = true;
  field.focus();
}

class InvalidField extends Error {
  constructor(field, message) {
    super(message);
    this.field = field;
  }
}

function triggerOf({ kind, id, after_request: after, ...fields }) {
  const isAccount = kind.value === "account_id";
  if (!id.value) throw new InvalidField(id, `Enter the id of ${isAccount ? "an account" : "a chat"}.`);
  const trigger = { [kind.value]: id.value };
  for (const name of ["idempotency_key", "correlation_id", "workspace"]) {
    if (fields[name].value) trigger[name] = fields[name].value;
  }
  for (const name of isAccount ? ["metadata", "resync"] : ["metadata"]) {
    const object = objectOf(fields[name], name);
    if (object) trigger[name] = object;
  }
  if (after.checked) trigger.after_request = true;
  return trigger;
}

function objectOf(field, name) {
  if (!field.value.trim()) return null;
  let value = null;
  try {
    value = JSON.parse(field.value);
  } catch (error) {
    throw new InvalidField(field, `The ${name} is not valid JSON: ${visible(error.message)}`);
  }
  if (typeof value !== "object" || value === null || Array.isArray(value)) throw new InvalidField(field, `The ${name} must be a JSON object, such as {"team": "sales"}.`);
  return value;
}

async function submit(event) {
  event.preventDefault();
  const send = form.querySelector("[type=submit]");
  if (send.disabled) return;
  fieldError("", null);
  send.disabled = true;
  try {
    const { kind, id, idempotency_key, correlation_id, workspace, metadata, resync, after_request } = form.elements;
    const { subject } = await ask("POST", "/api/triggers", triggerOf({ kind, id, idempotency_key, correlation_id, workspace, metadata, resync, after_request }));
    $("trigger").close();
    form.reset();
    announce("The trigger is on the queue.", { link: { href: runLink(subject), text: "Open its run" } });
    refresh();
  } catch (error) {
    if (token) fieldError(error.field ? error.message : failureOf(error), error.field ?? form.elements.id);
  } finally {
    send.disabled = false;
  }
}

form.addEventListener("submit", submit);
form.addEventListener("change", (event) => event.target.name === "kind" && showKind());
form.querySelector("[data-close]").addEventListener("click", () => $("trigger").close());
$("open-trigger").addEventListener("click", openTrigger);
$("open-help").addEventListener("click", () => $("help").showModal());

// ---- Keys

function move(by) {
  const links = [...document.querySelectorAll("#rows .run a")];
  const place = links.indexOf(document.activeElement);
  const target = links[place < 0 ? 0 : Math.min(links.length - 1, Math.max(0, place + by))];
  target?.focus();
  target?.scrollIntoView({ block: "nearest" });
}

function go(hash) {
  if (location.hash !== hash) location.hash = hash;
}

function escapeKey() {
  if (document.activeElement === $("search")) {
    $("search").value = "";
    filter = "";
    $("search").blur();
    refresh();
  } else if (view.name !== "runs") go("#/");
}

const KEYS = {
  "/": () => {
    if (view.name === "runs") $("search").focus();
    else {
      isSearchWanted = true;
      go("#/");
    }
  },
  j: () => move(1), k: () => move(-1), n: openTrigger, r: () => go("#/"), d: () => go("#/dead-letters"), "?": () => $("help").showModal(),
};

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || event.isComposing || !token || document.querySelector("dialog[open]")) return;
  const isTyping = event.target.matches("input, textarea");
  const isInList = event.target === document.body || event.target.closest("#rows, .search");
  let action = null;
  if (event.key === "Escape") action = escapeKey;
  else if (event.key === "ArrowDown" && isInList && view.name === "runs") action = KEYS.j;
  else if (event.key === "ArrowUp" && isInList && view.name === "runs" && !isTyping) action = KEYS.k;
  else if (!isTyping && Object.hasOwn(KEYS, event.key)) action = KEYS[event.key];
  if (!action) return;
  event.preventDefault();
  action();
});

document.addEventListener("visibilitychange", refresh);
window.addEventListener("hashchange", () => {
  token = takeToken();
  open();
});
new ResizeObserver(() => requestAnimationFrame(() => view.name === "run" && render())).observe($("view"));
// Times go on between two answers.
setInterval(() => isConnected && !document.hidden && render(), 1_000);
open();
