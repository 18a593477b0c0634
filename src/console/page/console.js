// The page: asks the bridge again and again, and shows what it says.

import { answerOf, chart } from "./chart.js";
import { clock, foreign, h, moment, setText, span, visible } from "./dom.js";

const $ = (id) => document.getElementById(id);
const EXAMPLES = [
  "done-in-20s", "error-in-15s", "deleted", "resource_not_found", "service_unavailable-for-2-calls-then-done-in-20s",
  "done-in-2m",
];
const ACCOUNT_EXAMPLES = ["done-in-3-chunks-of-10s", "done-in-20s"];

/** What the page knows. */
const known = { overview: null, details: null, letters: null, failedAt: null };
let filter = "";
let view = null;
let timer = null;

// ---- The token: from the URL's fragment, which no server sees; kept for this tab.

const given = new URLSearchParams(location.hash.slice(1)).get("token");
if (given) {
  sessionStorage.setItem("token", given);
  history.replaceState(null, "", "#/");
}

class Refused extends Error {}

async function ask(method, path, body) {
  const headers = { authorization: `Bearer ${sessionStorage.getItem("token") ?? ""}` };
  if (body !== undefined) headers["content-type"] = "application/json";
  const response = await fetch(path, { method, headers, body: body === undefined ? undefined : JSON.stringify(body) });
  if (response.status === 401) throw new Refused("the token is missing or wrong");
  const answer = await response.json().catch(() => ({}));
  if (!response.ok) {
    const error = new Error(answer.detail ?? answer.title ?? `HTTP ${response.status}`);
    error.type = answer.type;
    throw error;
  }
  return answer;
}

// ---- Routes

function route() {
  const [, name = "", ...rest] = location.hash.split("/");
  if (name === "run") return { name: "run", subject: decodeURIComponent(rest.join("/")) };
  return { name: name === "dead-letters" ? "dead-letters" : "runs" };
}

const runLink = (subject) => `#/run/${encodeURIComponent(subject)}`;

function open() {
  const next = route();
  const hasMoved = !view || view.name !== next.name || view.subject !== next.subject;
  view = next;
  known.details = null;
  known.letters = null;
  for (const link of document.querySelectorAll("nav a")) {
    const isCurrent = link.dataset.view === (view.name === "run" ? "runs" : view.name);
    if (isCurrent) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  document.title = `${view.name === "run" ? visible(view.subject) : view.name === "runs" ? "Runs" : "Dead letters"} – postpress-bridge`;
  $("main").replaceChildren(...pages[view.name].build());
  if (hasMoved && document.activeElement === document.body) $("main").focus({ preventScroll: true });
  show();
  refresh();
}

// ---- The loop

async function refresh() {
  clearTimeout(timer);
  const asked = view;
  try {
    known.overview = await ask("GET", `/api/overview?filter=${encodeURIComponent(filter)}`);
    if (asked.name === "run") known.details = await details(asked.subject);
    if (asked.name === "dead-letters") known.letters = await ask("GET", "/api/dead-letters");
    known.failedAt = null;
    known.offset = Date.parse(known.overview.now) - Date.now();
  } catch (error) {
    if (error instanceof Refused) return refused();
    known.failedAt ??= Date.now();
    known.failure = error.type ? error.message : "the program does not answer";
  }
  if (asked === view) show();
  clearTimeout(timer);
  timer = document.hidden ? null : setTimeout(refresh, known.failedAt ? 2000 : known.overview?.refresh_ms ?? 1000);
}

async function details(subject) {
  try {
    return await ask("GET", `/api/run?subject=${encodeURIComponent(subject)}`);
  } catch (error) {
    if (error.type === "bridge/no_run") return { missing: true };
    throw error;
  }
}

function refused() {
  sessionStorage.removeItem("token");
  $("open-trigger").hidden = true;
  connection("no access", true);
  $("main").replaceChildren(h("section", { class: "card" },
    h("h1", {}, "This page needs its token"),
    h("p", {}, "Open the URL that the command printed in the terminal: it ends in #token=…")));
}

function connection(text, isLost) {
  setText($("connection"), text);
  $("connection").classList.toggle("lost", isLost);
}

const now = () => Date.now() + (known.offset ?? 0);

function show() {
  const { overview } = known;
  if (known.failedAt) connection(`${known.failure}; trying again`, true);
  else connection(overview ? "live" : "connecting", false);
  if (!overview) return;
  setText($("place"), overview.bridge.title);
  $("open-trigger").hidden = !overview.bridge.can_trigger;
  const dead = overview.queue?.dead_letters ?? 0;
  $("dead-count").hidden = dead === 0;
  setText($("dead-count"), String(dead));
  pages[view.name].show(overview);
}

// ---- What a run's state is called, its shape and its colour

function stateOf(run) {
  if (run.overdue_seconds !== null) return { tone: "bad", glyph: "▲", text: run.phase === "active" ? "overdue" : "event unpublished" };
  if (run.phase === "active") {
    if (run.cancelled_at) return { tone: "warn", glyph: "◌", text: "being cancelled" };
    if (run.failures > 0) return { tone: "warn", glyph: "◐", text: `failing, ${run.failures} in a row` };
    return { tone: "flight", glyph: "●", text: run.status ?? "calling" };
  }
  if (run.ending === "SYNC_DONE") return { tone: "done", glyph: "✓", text: "SYNC_DONE" };
  return { tone: "bad", glyph: "✕", text: run.error_type ?? run.ending };
}

function badge(run) {
  const { tone, glyph, text } = stateOf(run);
  return h("span", { class: `state ${tone}` }, h("span", { "aria-hidden": "true" }, glyph), foreign(text));
}

function elapsed(run) {
  const end = run.finished_at ? Date.parse(run.finished_at) : now();
  return span(end - Date.parse(run.started_at));
}

function next(run) {
  if (run.overdue_seconds !== null) return `lost for ${span(run.overdue_seconds * 1000)}`;
  if (run.phase === "ended") return run.is_published ? `ended ${clock(run.finished_at, now())}` : "publishing";
  if (!run.next_poll_at) return "calling";
  const wait = Date.parse(run.next_poll_at) - now();
  return wait > 500 ? `polls in ${span(wait)}` : "poll due";
}

const times = (count, word) => `${count} ${word}${count === 1 ? "" : "s"}`;

function fateText(fate) {
  if (fate.restarts === 0) return fate.endings ? "no restart" : "";
  return `restarted ${fate.restarts} ×, ${times(fate.endings, "ending")}`;
}

// ---- The list

const pages = { runs: {}, run: {}, "dead-letters": {} };

pages.runs.build = () => {
  const search = h("input", { type: "search", id: "search", value: filter, placeholder: "Search id, status, error", autocomplete: "off" });
  search.setAttribute("aria-label", "Search the runs by id, workspace, status or error");
  search.addEventListener("input", () => {
    filter = search.value;
    clearTimeout(timer);
    timer = setTimeout(refresh, 120);
  });
  const heads = [["Chat or account"], ["State"], ["Calls", 1], ["Time", 1], ["Next"], ["Beside it", 0, "with the poller without a table"]];
  const head = h("tr", {}, ...heads.map(([text, isFigure, title]) =>
    h("th", { scope: "col", class: isFigure ? "figure" : undefined, title }, text)));
  return [
    h("h1", { class: "skip" }, "Runs"),
    h("dl", { class: "numbers", id: "numbers" }),
    h("section", { class: "card compare", id: "compare", hidden: true }),
    h("section", { class: "card" },
      h("div", { class: "toolbar" }, h("h2", {}, "Runs"), h("span", { class: "quiet", id: "listed" }), search),
      h("table", { class: "runs" }, h("thead", {}, head), h("tbody", { id: "rows" })),
      h("div", { class: "empty", id: "empty", hidden: true })),
  ];
};

pages.runs.show = (overview) => {
  const { counts, queue } = overview;
  numbers([
    ["In flight", counts.active, ""],
    ["Ended", counts.ended_is_partial ? `${counts.ended}+` : counts.ended, "", counts.unpublished ? `${counts.unpublished} publishing` : ""],
    ["Overdue", counts.overdue, counts.overdue ? "bad" : ""],
    ...(queue ? [
      ["On the queue", queue.visible + queue.delayed + queue.in_flight, "", `${queue.delayed} delayed, ${queue.in_flight} received`],
      ["Dead letters", queue.dead_letters, queue.dead_letters ? "warn" : ""],
    ] : []),
  ]);
  compare(overview.stateless);
  const rows = $("rows");
  const before = new Map([...rows.children].map((row) => [row.dataset.subject, row]));
  const isCompared = overview.stateless !== null;
  document.querySelector(".runs th:last-child").hidden = !isCompared;
  overview.runs.forEach((run, place) => {
    const row = before.get(run.subject) ?? newRow(run);
    before.delete(run.subject);
    fill(row, run, isCompared);
    if (rows.children[place] !== row) rows.insertBefore(row, rows.children[place] ?? null);
  });
  before.forEach((row) => row.remove());
  setText($("listed"), overview.is_cut ? `the first ${overview.runs.length}` : "");
  const isEmpty = overview.runs.length === 0;
  document.querySelector(".runs").hidden = isEmpty;
  $("empty").hidden = !isEmpty;
  if (isEmpty) showEmpty(overview);
};

function numbers(list) {
  const all = $("numbers");
  list.forEach(([name, value, tone, note], place) => {
    let tile = all.children[place];
    if (!tile) {
      tile = h("div", { class: "number" }, h("dt"), h("dd", {}, h("span"), h("small")));
      all.append(tile);
    }
    tile.className = `number ${tone}`;
    setText(tile.querySelector("dt"), name);
    setText(tile.querySelector("dd span"), String(value));
    setText(tile.querySelector("small"), note ?? "");
  });
}

function compare(compared) {
  const section = $("compare");
  section.hidden = compared === null;
  if (compared === null) return;
  if (!section.hasChildNodes()) {
    section.append(
      h("div", {}, h("h3", {}, "The bridge"), h("dl", { id: "of-bridge" })),
      h("div", {}, h("h3", {}, "Beside it: a poller without a table"), h("dl", { id: "of-stateless" })),
      h("p", {}, "Both get the same messages; some are delivered twice, and some processes are killed before they publish. A call after the end of a sync starts the whole sync again."),
    );
  }
  for (const [id, fate] of [["of-bridge", compared.bridge], ["of-stateless", compared.stateless]]) {
    const facts = [["syncs started", fate.syncs_started], ["started again after the end", fate.restarts], ["endings", fate.endings]];
    facts.forEach(([name, value], place) => {
      const list = $(id);
      const fact = list.children[place] ?? list.appendChild(h("div", {}, h("dt", {}, name), h("dd")));
      fact.className = place === 1 && value > 0 ? "bad" : "";
      setText(fact.querySelector("dd"), String(value));
    });
  }
}

function newRow(run) {
  const where = [run.kind === "account" ? "account" : "", run.workspace === "default" ? "" : run.workspace].filter(Boolean).join(", ");
  const name = h("td", {}, h("a", { href: runLink(run.subject) }, foreign(run.id)), where && h("span", { class: "quiet" }, foreign(where)));
  const cells = [["State"], ["Calls", 1], ["Time", 1], ["Next"], ["Beside it", 0, "fate"]];
  const rest = cells.map(([label, isFigure, kind]) =>
    h("td", { class: [isFigure ? "figure" : "", kind ?? ""].join(" ").trim() || undefined, "data-label": label }));
  return h("tr", { "data-subject": run.subject }, name, ...rest);
}

function fill(row, run, isCompared) {
  const [, state, calls, time, following, fate] = row.children;
  const { tone, text } = stateOf(run);
  if (state.dataset.shown !== tone + text) {
    state.replaceChildren(badge(run));
    state.dataset.shown = tone + text;
  }
  setText(calls, `${run.polls}${run.restarts ? `, restarted ${run.restarts} ×` : ""}`);
  setText(time, elapsed(run));
  setText(following, next(run));
  fate.hidden = !isCompared;
  if (isCompared) {
    setText(fate, run.stateless ? fateText(run.stateless).split(",")[0] : "");
    fate.className = run.stateless?.restarts ? "fate bad" : "fate quiet";
  }
}

function showEmpty(overview) {
  const isFiltered = filter !== "";
  if ($("empty").dataset.shown === String(isFiltered)) return;
  $("empty").dataset.shown = String(isFiltered);
  const trigger = overview.bridge.can_trigger && h("button", { type: "button", class: "primary", onclick: openTrigger }, "Sync a chat");
  const parts = isFiltered ? [h("p", {}, "No run matches the search.")] : [h("p", {}, "No runs yet."), trigger];
  $("empty").replaceChildren(...parts.filter(Boolean));
}

// ---- One run

pages.run.build = () => [h("p", { class: "back" }, h("a", { href: "#/" }, "← All runs")), h("div", { id: "run" }, "Reading…")];

pages.run.show = () => {
  const { details } = known;
  if (!details) return;
  const place = $("run");
  if (details.missing) {
    place.replaceChildren(h("section", { class: "card" }, h("h1", {}, foreign(view.subject)),
      h("p", {}, "No sync of it was requested here, or its run has expired. A trigger that was just sent appears when the worker has it.")));
    delete place.dataset.run;
    return;
  }
  // The event and the triggers change rarely; rebuilding them would take away a selection.
  const shown = JSON.stringify([details.run.subject, details.run.phase, details.event, details.triggers, details.run.cancelled_at]);
  if (place.dataset.run !== shown) {
    place.replaceChildren(...buildRun(details));
    place.dataset.run = shown;
  }
  const { run, history } = details;
  $("run-state").replaceChildren(badge(run));
  facts($("facts"), [
    ["Calls", `${run.polls}${details.unrecorded ? `, ${details.unrecorded} without an answer yet` : ""}`],
    ["Time", elapsed(run)],
    ["Next", next(run)],
    ["Pauses", pauses(details)],
    ["Restarts seen", String(run.restarts)],
    ...(run.chunks === null ? [] : [["Chunks done", String(run.chunks)]]),
    ["Requested", run.requested_at ? clock(run.requested_at, now()) : "unknown"],
    ["Started", clock(run.started_at, now())],
    ...(run.finished_at ? [["Ended", clock(run.finished_at, now())]] : []),
    ...(run.finished_at ? [["Event", run.is_published ? "published" : "not confirmed published"]] : []),
    ...(run.stateless ? [["The poller beside it", fateText(run.stateless) || "still polling"]] : []),
  ]);
  const box = $("history");
  box.replaceChildren(chart(details, now(), Math.max(280, box.clientWidth)));
  const rows = history.map((entry) => h("tr", {}, h("td", {}, moment(entry.at, now())), h("td", {}, foreign(answerOf(entry).name)), h("td", {}, String(entry.count))));
  if (run.finished_at) rows.push(h("tr", {}, h("td", {}, moment(run.finished_at, now())), h("td", {}, foreign(run.error_type ?? run.ending)), h("td", {}, "the ending")));
  $("entries").replaceChildren(...rows);
};

function buildRun(details) {
  const { run } = details;
  const where = [run.kind, run.workspace === "default" ? "" : `workspace ${run.workspace}`].filter(Boolean).join(", ");
  const can = known.overview.bridge.can_trigger;
  const actions = h("div", { class: "actions" },
    can && run.phase === "active" && !run.cancelled_at && h("button", { type: "button", class: "danger", onclick: () => cancelRun(run) }, "Cancel"),
    can && run.phase === "ended" && h("button", { type: "button", onclick: () => syncAgain(run) }, "Sync again"));
  const sections = [
    h("section", { class: "card" },
      h("div", { class: "title" }, h("h1", { class: "mono" }, foreign(run.id)), h("span", { id: "run-state" }), actions),
      h("p", { class: "quiet" }, foreign(where))),
    h("section", { class: "card" }, h("h2", {}, "History"), h("div", { id: "history" }),
      h("details", {}, h("summary", {}, "As a table"),
        h("table", { class: "plain" },
          h("thead", {}, h("tr", {}, ...["When", "Answer", "Calls"].map((text) => h("th", { scope: "col" }, text)))),
          h("tbody", { id: "entries" })))),
    h("section", { class: "card" }, h("h2", {}, "Facts"), h("dl", { class: "facts", id: "facts" })),
    h("section", { class: "card" }, h("h2", {}, details.triggers.length + details.more_triggers === 1 ? "Its trigger" : `Its ${details.triggers.length + details.more_triggers} triggers`),
      h("table", { class: "plain" },
        h("thead", {}, h("tr", {}, ...["Requested", "Idempotency key", "Message"].map((text) => h("th", { scope: "col" }, text)))),
        h("tbody", {}, ...details.triggers.map((trigger) => h("tr", {},
          h("td", {}, moment(trigger.requested_at, now()), trigger.joined ? h("span", { class: "quiet" }, " joined the run") : ""),
          h("td", { class: "mono" }, trigger.idempotency_key ? foreign(trigger.idempotency_key) : h("span", { class: "quiet" }, "none")),
          h("td", { class: "mono" }, foreign(trigger.message_id)))))),
      details.more_triggers > 0 && h("p", { class: "quiet" }, `and ${details.more_triggers} more`)),
  ];
  if (details.event) {
    const text = JSON.stringify(details.event, null, 2);
    const copy = h("button", { type: "button" }, "Copy");
    copy.addEventListener("click", () => navigator.clipboard.writeText(text).then(() => announce("The event is copied.")));
    sections.push(h("section", { class: "card" },
      h("div", { class: "toolbar" }, h("h2", {}, "Its event, as a rule receives it"), copy), h("pre", { tabIndex: 0 }, visible(text).replaceAll("␊", "\n"))));
  }
  return sections;
}

function facts(list, all) {
  all.forEach(([name, text], place) => {
    const fact = list.children[place] ?? list.appendChild(h("div", {}, h("dt"), h("dd")));
    setText(fact.querySelector("dt"), name);
    setText(fact.querySelector("dd"), text);
  });
  while (list.children.length > all.length) list.lastChild.remove();
}

/** The shortest and the longest time between two answers. */
function pauses({ run, history }) {
  const at = history.filter((entry) => !["earlier", "unrecorded"].includes(entry.answer)).map((entry) => [Date.parse(entry.at), entry.count]);
  if (run.finished_at && !run.error_type) at.push([Date.parse(run.finished_at), 1]);
  const between = at.slice(1).map(([time], place) => (time - at[place][0]) / at[place][1]);
  return between.length ? `${span(Math.min(...between))} to ${span(Math.max(...between))}` : "none yet";
}

// ---- Dead letters

pages["dead-letters"].build = () => [h("section", { class: "card" },
  h("div", { class: "toolbar" }, h("h1", {}, "Dead letters"), h("button", { type: "button", id: "redrive", hidden: true, onclick: redrive }, "Redrive")),
  h("p", { class: "quiet" }, "Messages that were received too often without being handled. A redrive sends triggers again under their first keys, so that one that was accepted restarts nothing."),
  h("div", { id: "letters" }, "Reading…"))];

const PLANS = { send: "send again", drop: "drop", leave: "leave" };

pages["dead-letters"].show = () => {
  const { letters } = known;
  if (!letters) return;
  $("redrive").hidden = letters.letters.length === 0 || !known.overview.bridge.can_trigger;
  const shown = JSON.stringify(letters);
  if ($("letters").dataset.shown === shown) return;
  $("letters").dataset.shown = shown;
  if (letters.letters.length === 0) {
    $("letters").replaceChildren(h("p", { class: "empty" }, "There are none."));
    return;
  }
  $("letters").replaceChildren(h("table", { class: "plain" },
    h("thead", {}, h("tr", {}, ...["Message", "About", "Receives", "A redrive will"].map((text) => h("th", { scope: "col" }, text)))),
    h("tbody", {}, ...letters.letters.map((letter) => h("tr", {},
      h("td", {}, letter.kind.replaceAll("_", " "), h("div", { class: "quiet mono" }, foreign(letter.message_id)),
        letter.body && h("details", {}, h("summary", {}, "Its text"), h("pre", { tabIndex: 0 }, visible(letter.body)))),
      h("td", { class: "mono" }, letter.subject ? h("a", { href: runLink(letter.subject) }, foreign(letter.subject)) : "–"),
      h("td", {}, String(letter.receive_count)),
      h("td", {}, h("strong", {}, PLANS[letter.plan] ?? letter.plan), h("div", { class: "quiet" }, letter.why)))))));
};

async function redrive() {
  const { letters } = known.letters;
  const count = (plan) => letters.filter((letter) => letter.plan === plan).length;
  const text = `${count("send")} will be sent again, ${count("drop")} dropped and ${count("leave")} left.`;
  if (!await confirmed("Redrive the dead letters?", text, "Redrive")) return;
  await act(async () => {
    const done = await ask("POST", "/api/redrive", {});
    return `Redriven: ${done.sent} sent again, ${done.dropped} dropped, ${done.left} left.`;
  });
}

// ---- Actions

async function cancelRun(run) {
  if (!await confirmed("Cancel this run?", "It makes no further call and ends for all its triggers. A sync that postpress has begun goes on there.", "Cancel the run")) return;
  await act(async () => {
    await ask("POST", "/api/cancel", { subject: run.subject });
    return "The request to cancel is on the queue; it takes effect with the run's next message.";
  });
}

async function syncAgain(run) {
  if (!await confirmed("Sync again from the start?", "The last sync has ended. Another trigger makes postpress load the whole history again.", "Sync again")) return;
  await act(async () => {
    const trigger = { [run.kind === "account" ? "account_id" : "chat_id"]: run.id };
    if (run.workspace !== "default") trigger.workspace = run.workspace;
    await ask("POST", "/api/triggers", trigger);
    return "The trigger is on the queue.";
  });
}

async function act(action) {
  try {
    announce(await action());
  } catch (error) {
    announce(`That did not work: ${error.message}`, true);
  }
  refresh();
}

let hideResult = null;
function announce(text, isBad = false) {
  const result = $("result");
  result.hidden = false;
  result.classList.toggle("bad", isBad);
  setText(result, visible(text));
  clearTimeout(hideResult);
  hideResult = setTimeout(() => { result.hidden = true; }, 8000);
}

/** Whether the user confirms. */
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

function openTrigger() {
  if (!known.overview?.bridge.can_trigger || $("trigger").open) return;
  $("trigger-error").hidden = true;
  showExamples();
  $("trigger").showModal();
}

function showExamples() {
  const isDev = known.overview.bridge.kind === "dev";
  $("examples").hidden = !isDev;
  if (!isDev) return;
  const form = $("trigger-form");
  const examples = form.kind.value === "account_id" ? ACCOUNT_EXAMPLES : EXAMPLES;
  $("examples").querySelector("div").replaceChildren(...examples.map((example) =>
    h("button", { type: "button", class: "chip", onclick: () => { form.id.value = `${example}~${Math.random().toString(36).slice(2, 6)}`; form.id.focus(); } }, example)));
}

function triggerOf(form) {
  const fields = form.elements;
  const id = fields.id.value.trim();
  if (!id) throw new Error("Enter the id.");
  const trigger = { [fields.kind.value]: id };
  for (const name of ["idempotency_key", "workspace"]) {
    if (fields[name].value.trim()) trigger[name] = fields[name].value.trim();
  }
  if (fields.after_request.checked) trigger.after_request = true;
  if (fields.metadata.value.trim()) {
    try {
      trigger.metadata = JSON.parse(fields.metadata.value);
    } catch (error) {
      throw new Error(`The metadata is not JSON: ${error.message}`);
    }
  }
  return trigger;
}

$("trigger-form").addEventListener("submit", async (event) => {
  event.preventDefault();
  const form = event.currentTarget;
  try {
    const { subject } = await ask("POST", "/api/triggers", triggerOf(form));
    $("trigger").close();
    form.reset();
    announce("The trigger is on the queue.");
    location.hash = runLink(subject);
    refresh();
  } catch (error) {
    setText($("trigger-error"), visible(error.message));
    $("trigger-error").hidden = false;
    form.elements.id.focus();
  }
});
$("trigger-form").addEventListener("change", (event) => { if (event.target.name === "kind") showExamples(); });
document.querySelector("[data-close]").addEventListener("click", () => $("trigger").close());
$("open-trigger").addEventListener("click", openTrigger);

// ---- Keys

function move(by) {
  const links = [...document.querySelectorAll("#rows a")];
  const place = links.indexOf(document.activeElement);
  links[Math.min(links.length - 1, Math.max(0, place + by))]?.focus();
}

document.addEventListener("keydown", (event) => {
  const isTyping = /^(INPUT|TEXTAREA)$/.test(event.target.tagName);
  if (event.key === "Escape" && event.target.id === "search") event.target.blur();
  if (isTyping || event.ctrlKey || event.metaKey || event.altKey || document.querySelector("dialog[open]")) return;
  const actions = {
    "/": () => { if (view.name !== "runs") location.hash = "#/"; setTimeout(() => $("search")?.focus()); },
    j: () => move(1), k: () => move(-1),
    n: openTrigger, g: () => { location.hash = "#/"; }, "?": () => $("help").showModal(),
  };
  if (actions[event.key]) {
    event.preventDefault();
    actions[event.key]();
  }
});

document.addEventListener("visibilitychange", () => { if (!document.hidden) refresh(); });
window.addEventListener("hashchange", open);
// Countdowns go on between two answers.
setInterval(() => { if (!document.hidden && known.overview && view.name === "runs") show(); }, 1000);
let resizing = null;
window.addEventListener("resize", () => { clearTimeout(resizing); resizing = setTimeout(show, 100); });
open();
