// The page's files with the headers of the real server, and made data for them.
//
// `node mock.mjs` prints a URL to look at; `PORT` chooses the port.

import { readFile } from "node:fs/promises";
import { createServer } from "node:http";
import { fileURLToPath } from "node:url";

export const TOKEN = "0123456789abcdef0123456789abcdef";

const PAGE = new URL("../../src/console/page/", import.meta.url);
const FILES = {
  "/": ["index.html", "text/html; charset=utf-8"],
  "/console.css": ["console.css", "text/css; charset=utf-8"],
  "/console.js": ["console.js", "text/javascript; charset=utf-8"],
  "/chart.js": ["chart.js", "text/javascript; charset=utf-8"],
  "/dom.js": ["dom.js", "text/javascript; charset=utf-8"],
  "/icon.svg": ["icon.svg", "image/svg+xml"],
};
const HEADERS = {
  "Content-Security-Policy":
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'",
  "X-Content-Type-Options": "nosniff",
  "X-Frame-Options": "DENY",
  "Referrer-Policy": "no-referrer",
  "Cache-Control": "no-store",
};

/** Ids and texts that try to run a script, to reorder what is around them, or to break the layout. */
export const HOSTILE = [
  "<img src=x onerror=globalThis.attacked=1>",
  "\"><script>globalThis.attacked=1</script>",
  "javascript:globalThis.attacked=1",
  "'-globalThis.attacked=1-'",
  "\u202egnp.exe\u2066\u202d",
  "nul\u0000bell\u0007escape\u001b[31m",
  "zero\u200bwidth\u00adsoft\u2028line",
  "W".repeat(256),
  "שלום‎/مرحبا",
  "../../?filter=x#/dead-letters",
  "%00%2e%2e%zz",
  "__proto__",
  "constructor",
];

const iso = (time) => new Date(time).toISOString();

/** A run whose times are in seconds before or after now. */
export function run(id, changes = {}) {
  const { started = -30, finished = null, next = null, kind = "chat", workspace = "default", ...rest } = changes;
  const now = Date.now();
  const at = (seconds) => (seconds === null ? null : iso(now + seconds * 1_000));
  const isOver = finished !== null;
  return {
    subject: `${workspace}/${kind}/${id}`, kind, id, workspace,
    phase: isOver ? "ended" : "active", status: isOver ? "SYNC_DONE" : "SYNC_RUNNING", ending: isOver ? "SYNC_DONE" : null,
    error_type: null, polls: 4, failures: 0, restarts: 0, chunks: null, triggers: 1,
    requested_at: at(started - 1), started_at: at(started), finished_at: at(finished), cancelled_at: null, next_poll_at: at(next),
    overdue_seconds: null, is_published: isOver, stateless: { syncs_started: 1, restarts: 0, endings: isOver ? 1 : 0 },
    ...rest,
  };
}

export const failed = { status: null, ending: "ERROR_ENVELOPE" };

/** Runs in every state. */
export function manyRuns() {
  return [
    run("done-in-20s~k3f9", { started: -9, next: 3, polls: 3 }),
    run("done-in-2m~4", { started: -64, next: 11, polls: 6, triggers: 2, stateless: { syncs_started: 2, restarts: 1, endings: 1 } }),
    run("chat_01HXYZ4QK3WJ8FN3M6QH7TZ8GR", { started: -1, status: null, polls: 1, workspace: "sales" }),
    run("done-in-3-chunks-of-5s~1", { kind: "account", started: -12, next: 6, status: "CHUNK_DONE", chunks: 2 }),
    run("503-for-2-calls-then-done-in-10s~x2", { started: -48, next: 22, polls: 5, cancelled_at: iso(Date.now() - 2_000) }),
    run("done-in-2h~lost", { started: -4_000, polls: 17, overdue_seconds: 190 }),
    run("done-in-30s~7", { started: -120, finished: -80, polls: 7, triggers: 2, stateless: { syncs_started: 3, restarts: 2, endings: 3 } }),
    run("done-in-10s~killed", { started: -300, finished: -240, polls: 12, restarts: 1, stateless: { syncs_started: 2, restarts: 1, endings: 2 } }),
    run("error-in-10s", { started: -400, finished: -380, status: "SYNC_ERROR", ending: "SYNC_ERROR", is_published: false }),
    run("deleted~2", { started: -500, finished: -499, polls: 1, status: "CHAT_DELETED", ending: "CHAT_DELETED" }),
    run("503", { started: -900, finished: -600, ...failed, error_type: "bridge/retries_exhausted", polls: 9 }),
    run("done-in-2m~stopped", { started: -1_000, finished: -950, ...failed, error_type: "bridge/cancelled" }),
    run("resource_not_found", { started: -90_000, finished: -89_999, ...failed, error_type: "errors/resource_not_found", polls: 1 }),
  ];
}

/** A run's history with all that can happen: entries are [seconds after the first call, answer, count, status]. */
export function detailsOf(its) {
  const started = Date.parse(its.started_at);
  const end = its.finished_at ? Date.parse(its.finished_at) : Date.now();
  const length = (end - started) / 1_000;
  const plain = [[0, "SYNC_STARTED", 1], [0.15, "SYNC_RUNNING", 1], [0.4, "SYNC_RUNNING", 1]];
  const eventful = [
    [0, "SYNC_STARTED", 1], [0.01, "SYNC_RUNNING", 1], [0.03, "SYNC_RUNNING", 1], [0.07, "SYNC_RUNNING", 1], [0.12, "failed", 1, 429],
    [0.19, "failed", 1, 503], [0.29, "timed_out", 1], [0.4, "unrecorded", 1], [0.4, "SYNC_RUNNING", 1], [0.55, "SYNC_STARTED", 1], [0.75, "SYNC_RUNNING", 1],
  ];
  const history = (its.restarts ? eventful : its.status === null && !its.finished_at ? [] : plain).map(([share, answer, count, status = null]) =>
    ({ at: iso(started + Math.floor(share * length) * 1_000), answer, status, count }));
  const triggers = Array.from({ length: its.triggers }, (_, nth) => ({
    message_id: `5fea7756-0ea4-451a-a703-a558b933e27${nth}`, idempotency_key: nth ? null : "crm-8841", correlation_id: nth ? null : "order-17",
    requested_at: iso(started - 400 + nth * 600 * length), joined: nth > 0,
  }));
  const error = its.error_type && {
    type: its.error_type, title: "Service unavailable", status: 503, detail: `The last of ${its.polls} calls was answered with HTTP 503.`,
  };
  const event = its.finished_at && {
    version: "0", id: "849d8df8-5164-56ce-81c6-616a87c98d33", "detail-type": its.ending, source: "postpress.bridge", resources: [its.id],
    detail: {
      schema_version: "1", event_id: "2d7c61a8-54b3-4e09-9f10-83c2d6e50f01", chat_id: its.id, object: "ChatHistorySync", ...(error ? { error, origin: "bridge" } : { status: its.status }),
      ended_by: "answer", triggers: triggers.map(({ message_id, requested_at, joined }) => ({ message_id, requested_at, joined })), polls: its.polls, restarts: its.restarts,
      requested_at: its.requested_at, finished_at: its.finished_at,
    },
  };
  return { run: its, history, unrecorded: 0, triggers, more_triggers: 0, event };
}

export function someLetters() {
  const letter = (kind, plan, why, rest) => ({ message_id: `d3a0dc45-7f1e-4b0f-9e0a-6f1b4c5e8a9${rest.nth}`, kind, subject: null, body: null, receive_count: 10, sent_at: iso(Date.now() - 3_600_000), plan, why, ...rest });
  return [
    letter("trigger", "send", "sent again under their first keys: one that was accepted restarts nothing", { nth: 0, subject: "default/chat/done-in-20s~9", body: '{"chat_id": "done-in-20s~9"}' }),
    letter("invalid", "send", "sent again, so that each gets its event", { nth: 1, body: "{\"chat_id\": 5, \"x\": \"<script>globalThis.attacked=1</script>\u202e\"}" }),
    letter("poll", "drop", "dropped: the sweep has replaced them", { nth: 2, subject: "default/chat/503" }),
    letter("newer", "leave", "left: redrive them with a newer postpress-bridge", { nth: 3 }),
  ];
}

export const COMPARISON = { bridge: { syncs_started: 17, restarts: 0, endings: 14 }, stateless: { syncs_started: 22, restarts: 5, endings: 18 } };

/** A server with its data, which tests change as it runs. */
export async function startMock({ port = 0 } = {}) {
  const mock = {
    runs: manyRuns(), letters: someLetters(), details: new Map(), bridge: {}, comparison: COMPARISON, refreshMs: 200,
    /** What was asked for, and what to answer instead. */
    requests: [], answerWith: null, token: TOKEN,
  };

  function overview(filter) {
    const texts = (its) => [its.id, its.workspace, its.status, its.ending, its.error_type].filter(Boolean);
    const runs = mock.runs.filter((its) => texts(its).some((text) => text.toLowerCase().includes(filter.toLowerCase())));
    const count = (is) => mock.runs.filter(is).length;
    return {
      bridge: { kind: "dev", title: "dev on this machine", front_door: "http://127.0.0.1:4817/v1/syncs", can_trigger: true, ...mock.bridge },
      now: iso(Date.now()), refresh_ms: mock.refreshMs,
      counts: { active: count((its) => its.phase === "active"), ended: count((its) => its.phase === "ended"), unpublished: count((its) => its.phase === "ended" && !its.is_published), overdue: count((its) => its.overdue_seconds !== null), ended_is_partial: false },
      queue: { visible: 0, delayed: 4, in_flight: 1, dead_letters: mock.letters.length },
      runs, is_cut: false,
      stateless: mock.comparison,
    };
  }

  function api(method, url, body) {
    const { pathname, searchParams } = url;
    if (method === "GET" && pathname === "/api/overview") return [200, overview(searchParams.get("filter") ?? "")];
    if (method === "GET" && pathname === "/api/run") {
      const its = mock.runs.find((other) => other.subject === searchParams.get("subject"));
      if (!its) return [404, { type: "bridge/no_run", title: "No run", detail: "no sync of it was requested here, or its run has expired" }];
      return [200, mock.details.get(its.subject) ?? detailsOf(its)];
    }
    if (method === "GET" && pathname === "/api/dead-letters") return [200, { letters: mock.letters }];
    if (method === "POST" && pathname === "/api/triggers") {
      const id = body.chat_id ?? body.account_id;
      if (id.includes("\n") || Buffer.byteLength(id) > 512) return [400, { type: "bridge/invalid_trigger", title: "Invalid trigger", detail: "chat_id: at most 512 bytes, without control characters" }];
      const its = run(id, { started: 0, status: null, polls: 0, kind: body.chat_id ? "chat" : "account", workspace: body.workspace ?? "default" });
      mock.runs = [its, ...mock.runs.filter((other) => other.subject !== its.subject)];
      return [202, { message_id: "5fea7756-0ea4-451a-a703-a558b933e274", subject: its.subject }];
    }
    if (method === "POST" && pathname === "/api/cancel") {
      mock.runs.find((other) => other.subject === body.subject).cancelled_at = iso(Date.now());
      return [202, { message_id: "5fea7756-0ea4-451a-a703-a558b933e275" }];
    }
    if (method === "POST" && pathname === "/api/redrive") {
      const isShown = (letter) => body.message_ids.includes(letter.message_id);
      const count = (plan) => mock.letters.filter((letter) => isShown(letter) && letter.plan === plan).length;
      const redriven = { sent: count("send"), dropped: count("drop"), left: count("leave"), not_found: 0 };
      mock.letters = mock.letters.filter((letter) => !isShown(letter) || letter.plan === "leave");
      return [200, redriven];
    }
    return [404, { type: "bridge/no_such_path", title: "Not found", detail: "there is nothing here" }];
  }

  const server = createServer(async (request, response) => {
    const url = new URL(request.url, "http://mock");
    const send = (status, type, body) => response.writeHead(status, { ...HEADERS, "Content-Type": type }).end(body);
    if (FILES[url.pathname]) {
      const [file, type] = FILES[url.pathname];
      return send(200, type, await readFile(new URL(file, PAGE)));
    }
    let text = "";
    for await (const chunk of request) text += chunk;
    const body = text ? JSON.parse(text) : undefined;
    mock.requests.push({ method: request.method, path: url.pathname + url.search, body });
    if (request.headers.authorization !== `Bearer ${mock.token}`) return send(401, "text/plain; charset=utf-8", "open the URL that was printed: it has the token\n");
    const [status, answer] = mock.answerWith?.(request.method, url.pathname) ?? api(request.method, url, body);
    return send(status, "application/json", JSON.stringify(answer));
  });
  await new Promise((resolve) => server.listen(port, "127.0.0.1", resolve));
  mock.port = server.address().port;
  mock.url = `http://127.0.0.1:${mock.port}/#token=${TOKEN}`;
  mock.stop = () => {
    server.closeAllConnections();
    return new Promise((resolve) => server.close(resolve));
  };
  /** Listens again on the same port. */
  mock.resume = () => new Promise((resolve) => server.listen(mock.port, "127.0.0.1", resolve));
  return mock;
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const mock = await startMock({ port: Number(process.env.PORT ?? 0) });
  mock.refreshMs = 1_000;
  console.log(mock.url);
}
