// The page in a real browser, as a person uses it: by pointer, by keyboard, with a hostile provider, and without its server.
//
// Without `PAGE_URL` all run against the mock; with it (the whole URL, token included) those that need no made data.

import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { after, before, describe, test } from "node:test";

import { chromium } from "playwright-core";

import { COMPARISON, HOSTILE, TOKEN, detailsOf, failed, manyRuns, run, someLetters, startMock } from "./mock.mjs";

const REAL = process.env.PAGE_URL || null;
const ARGUMENTS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync"];
const AXE = await readFile(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");
const RULES = ["wcag2a", "wcag2aa", "wcag21aa", "best-practice"];
const WIDE = { width: 1280, height: 900 };
const NARROW = { width: 400, height: 860 };

let browser;
let mock;
before(async () => {
  browser = await chromium.launch({ executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium", args: ARGUMENTS });
  if (!REAL) mock = await startMock();
});
after(async () => {
  await browser?.close();
  await mock?.stop();
});

/** Opens the page, and fails if it logs an error, breaks its policy, asks another host or runs an attacker's script. */
async function withPage(act, { viewport = WIDE, colorScheme = "light", url = REAL ?? mock.url, expectedErrors = /^$/ } = {}) {
  if (mock) Object.assign(mock, { runs: manyRuns(), letters: someLetters(), details: new Map(), bridge: {}, comparison: COMPARISON, answerWith: null, token: TOKEN, requests: [] });
  const context = await browser.newContext({ viewport, colorScheme, permissions: ["clipboard-read", "clipboard-write"] });
  const page = await context.newPage();
  page.setDefaultTimeout(10_000);
  const complaints = [];
  page.on("console", (message) => {
    if (["error", "warning"].includes(message.type()) && !expectedErrors.test(message.text())) complaints.push(message.text());
  });
  page.on("pageerror", (error) => complaints.push(String(error)));
  page.on("dialog", (dialog) => complaints.push(`a dialog: ${dialog.message()}`));
  page.on("request", (request) => {
    if (new URL(request.url()).origin !== new URL(url).origin) complaints.push(`a request to ${request.url()}`);
  });
  await page.addInitScript(() => {
    globalThis.violations = [];
    document.addEventListener("securitypolicyviolation", (event) => globalThis.violations.push(`${event.violatedDirective} ${event.blockedURI}`));
  });
  try {
    await page.goto(url);
    await page.locator("#rows .run, #none h2, #view h1").first().waitFor();
    await act(page, context);
    assert.deepEqual(await page.evaluate(() => globalThis.violations), [], "the policy is kept");
    assert.equal(await page.evaluate(() => globalThis.attacked), undefined, "no foreign script ran");
    assert.deepEqual(complaints, []);
  } finally {
    await context.close();
  }
}

const listed = (page) => page.locator("#rows .run").first().waitFor();
const ids = (page) => page.locator("#rows .run a").allTextContents();
const focused = (page) => page.evaluate(() => document.activeElement.textContent);
/** Waits until the page has asked twice more. */
const afterRefresh = async (page) => {
  for (let times = 0; times < 2; times += 1) await page.waitForResponse(/api\/overview/);
};

async function openRun(page, id) {
  await page.locator("#rows a", { hasText: id }).first().click();
  await page.locator(".chart").waitFor();
}

async function assertFits(page) {
  const [content, window] = await page.evaluate(() => [document.documentElement.scrollWidth, document.documentElement.clientWidth]);
  assert.ok(content <= window, `${content} px of content in ${window} px`);
}

async function assertAccessible(page, name) {
  await page.evaluate(AXE);
  const { violations } = await page.evaluate((values) => globalThis.axe.run(document, { runOnly: { type: "tag", values } }), RULES);
  const found = violations.map(({ id, impact, nodes }) => `${impact} ${id}: ${nodes.map((node) => `${node.html} ${node.failureSummary}`).join("\n")}`);
  assert.deepEqual(found, [], name);
}

describe("any server", () => {
  test("the token leaves the address bar, is sent as a header, and lasts for the tab", () => withPage(async (page) => {
    assert.equal(new URL(page.url()).hash, "#/");
    const request = await page.waitForRequest(/api\/overview/);
    assert.match(request.headers().authorization, /^Bearer .{16}/);
    assert.doesNotMatch(request.url(), /token/);
    await page.reload();
    await page.getByText("Live", { exact: true }).waitFor();
  }));

  test("without a token, or with a wrong one, the page says where to get it", async () => {
    for (const hash of ["", "#token=wrong", "#/run/x"]) {
      const url = (REAL ?? mock.url).replace(/#.*/, "") + hash;
      await withPage(async (page) => {
        await page.getByRole("heading", { name: "Open the URL that the command printed" }).waitFor();
        assert.equal(await page.locator("#open-trigger").isVisible(), false);
        await assertAccessible(page, "locked");
      }, { url, expectedErrors: /401/ });
    }
  });

  test("a token that is pasted later opens the page", () => withPage(async (page) => {
    await page.evaluate((hash) => { location.hash = hash; }, new URL(REAL ?? mock.url).hash);
    await page.getByText("Live", { exact: true }).waitFor();
    assert.equal(new URL(page.url()).hash, "#/");
  }, { url: (REAL ?? mock.url).replace(/#.*/, "") }));

  test("policy and page have nothing inline and nothing from elsewhere", async () => {
    const response = await fetch((REAL ?? mock.url).replace(/#.*/, ""));
    const html = await response.text();
    assert.match(response.headers.get("content-security-policy"), /default-src 'none'.*require-trusted-types-for 'script'/);
    assert.doesNotMatch(html, /\sstyle=|<style|\son\w+=|<script(?![^>]*\ssrc="\/)|https?:/);
  });

  test("a trigger is sent, and its run opened", () => withPage(async (page) => {
    await page.getByRole("button", { name: "New sync" }).first().click();
    await page.getByRole("button", { name: "done-in-20s", exact: true }).click();
    const id = await page.getByLabel("Chat id").inputValue();
    assert.match(id, /^done-in-20s~.+/);
    await page.getByRole("button", { name: "Send trigger" }).click();
    await page.getByRole("link", { name: "Open its run" }).click();
    await page.getByRole("heading", { name: id }).waitFor();
    await page.getByRole("button", { name: "Cancel run" }).waitFor();
    await page.getByRole("link", { name: "← Runs" }).click();
    await page.locator("#rows a", { hasText: id }).waitFor();
  }));

  test("a run that nobody asked for is explained, and any address is harmless", () => withPage(async (page) => {
    for (const hash of ["#/run/default%2Fchat%2Fnobody", "#/run/%E0%A4%A", "#/run/", "#/nowhere", "#/run/__proto__"]) {
      await page.evaluate((hash) => { location.hash = hash; }, hash);
      await page.locator("#view h1").waitFor();
      await afterRefresh(page);
    }
    await page.getByRole("heading", { name: "No run yet" }).waitFor();
  }, { expectedErrors: /404/ }));
});

describe("with made data", { skip: REAL ? "PAGE_URL is set" : false }, () => {
  test("runs in flight come before those that ended, each with its state in words", () => withPage(async (page) => {
    await listed(page);
    assert.deepEqual(await page.locator("#rows .group").allTextContents(), ["In flight6", "Ended7"]);
    assert.equal((await ids(page)).length, 13);
    for (const [id, state] of [["done-in-20s~k3f9", "Running"], ["done-in-2h~lost", "Overduefor 3 min 10 s"], ["done-in-30s~7", "Done"], ["deleted~2", "Deleted"], ["done-in-2m~stopped", "Cancelled"]]) {
      const row = page.locator("#rows .run", { has: page.getByText(id, { exact: true }) });
      assert.equal(await row.locator(".phase").textContent(), state);
      assert.equal(await row.locator(".phase svg").count(), 1, "a shape too");
    }
    const row = page.locator("#rows .run", { hasText: "done-in-30s~7" });
    assert.equal(await row.locator(".fate").textContent(), "restarted 2×, 3 endings");
    const totals = () => page.locator("#compare td").allTextContents();
    assert.deepEqual(await totals(), ["", "17", "0", "14", "22", "5", "18"]);
    mock.comparison = { bridge: { syncs_started: 6, restarts: 5, endings: 4 }, stateless: { syncs_started: 3, restarts: 2, endings: 1 } };
    await page.waitForFunction(() => document.querySelector("#compare tbody td").textContent === "6");
    assert.deepEqual(await totals(), ["", "6", "5", "4", "3", "2", "1"]);
    mock.comparison = null;
    await page.locator("#compare").waitFor({ state: "hidden" });
    assert.equal(await row.locator(".fate").isVisible(), false);
  }));

  test("search asks the server, says when nothing matches, and Escape clears it", () => withPage(async (page) => {
    await listed(page);
    await page.keyboard.press("/");
    await page.keyboard.type("DELETED");
    await page.waitForFunction(() => document.querySelectorAll("#rows .run").length === 1);
    assert.deepEqual(await ids(page), ["deleted~2"]);
    await page.keyboard.type("<b>no");
    await page.getByText("No run matches “DELETED<b>no”").waitFor();
    await page.keyboard.press("Escape");
    await page.waitForFunction(() => document.querySelectorAll("#rows .run").length === 13);
    assert.ok(mock.requests.some(({ path }) => path.includes("filter=DELETED%3Cb%3Eno")));
  }));

  test("everything is reached by keyboard", () => withPage(async (page) => {
    await listed(page);
    await page.keyboard.press("Tab");
    assert.equal(await focused(page), "Skip to the content");
    await page.evaluate(() => document.activeElement.blur());
    for (const key of ["j", "j", "k", "ArrowDown"]) await page.keyboard.press(key);
    assert.equal(await focused(page), "done-in-2m~4");
    await page.keyboard.press("Enter");
    await page.locator(".chart").waitFor();
    assert.equal(await focused(page), "done-in-2m~4", "the heading has the focus");
    await page.keyboard.press("Escape");
    await page.waitForFunction(() => document.activeElement.closest("#rows"));
    assert.equal(await focused(page), "done-in-2m~4", "the row has it again");
    await page.keyboard.press("d");
    await page.getByRole("button", { name: "Redrive…" }).waitFor();
    await page.keyboard.press("?");
    await page.getByRole("dialog", { name: "Keyboard shortcuts" }).waitFor();
    await page.keyboard.press("Escape");
    await page.keyboard.press("n");
    await page.getByRole("dialog", { name: "New sync" }).waitFor();
    await page.keyboard.type("/jd?");
    assert.equal(await page.getByLabel("Chat id").inputValue(), "/jd?", "in a field, a key is a letter");
  }));

  test("updates keep focus, selection and scroll position", () => withPage(async (page) => {
    mock.runs = [...manyRuns(), ...Array.from({ length: 60 }, (_, nth) => run(`old~${nth}`, { started: -9_000 - nth, finished: -8_000 - nth }))];
    await page.locator("#rows a", { hasText: "old~30" }).focus();
    await page.evaluate(() => window.scrollTo(0, 900));
    await page.evaluate(() => getSelection().selectAllChildren(document.querySelectorAll("#rows .id")[20]));
    const before = await page.evaluate(() => [document.activeElement.textContent, String(getSelection()), scrollY]);
    // One ends, one begins, and the order is another.
    mock.runs = [run("new~1", { started: -1, next: 1 }), ...mock.runs.slice(1).reverse()];
    await page.locator("#rows a", { hasText: "new~1" }).waitFor();
    await afterRefresh(page);
    const after = await page.evaluate(() => [document.activeElement.textContent, String(getSelection()), scrollY]);
    assert.deepEqual(after.slice(0, 2), before.slice(0, 2));
    assert.ok(Math.abs(after[2] - before[2]) < 80, `scrolled from ${before[2]} to ${after[2]}`);
  }));

  test("without focus or pointer in the list, it is in the server's order", () => withPage(async (page) => {
    await listed(page);
    mock.runs = manyRuns().reverse();
    const reversed = mock.runs.filter((its) => its.phase === "active").map((its) => its.id);
    await page.waitForFunction((id) => document.querySelector("#rows .run a").textContent === id, reversed[0]);
    assert.deepEqual((await ids(page)).slice(0, 6), reversed);
  }));

  test("a run's history is drawn, with the same data in a table", () => withPage(async (page) => {
    await listed(page);
    await openRun(page, "done-in-10s~killed");
    const lanes = ["triggers", "SYNC_STARTED", "SYNC_RUNNING", "HTTP 429", "HTTP 503", "timed out", "no record", "SYNC_DONE"];
    assert.deepEqual(await page.locator(".chart .lane").allTextContents(), lanes);
    assert.match(await page.locator(".chart").getAttribute("aria-label"), /12 calls in 1 min, ended with SYNC_DONE/);
    const titles = await page.locator(".chart .mark title").allTextContents();
    assert.equal(titles.length, 13, "a trigger, eleven calls and the ending");
    assert.ok(titles.some((title) => title.startsWith("Call 10, the sync started again")), titles.join("\n"));
    assert.ok(titles.some((title) => title.startsWith("Call 8, no record")));
    await page.locator(".chart .mark").nth(3).hover();
    assert.match(await page.locator("#legend").textContent(), /^Call \d/);
    await page.getByText("As a table").click();
    assert.equal(await page.locator("#entries tr").count(), 12);
    assert.match(await page.locator("#entries").textContent(), /SYNC_STARTED, a restart/);
  }));

  test("histories of every shape are drawn", () => withPage(async (page) => {
    const its = run("shapes", { started: -600, next: 30, polls: 400, kind: "account", chunks: 3, triggers: 30 });
    const started = Date.parse(its.started_at);
    const entry = (seconds, answer, count = 1, status = null) => ({ at: new Date(started + seconds * 1_000).toISOString(), answer, status, count });
    const shapes = {
      none: [], long: [entry(0, "earlier", 300), entry(300, "SYNC_RUNNING", 90), entry(500, "CHUNK_DONE")],
      odd: [entry(1, "SYNC_STARTED"), entry(1, "credentials"), entry(1, "connecting"), entry(2, "unusable"), entry(3, "unknown"), entry(4, "<svg onload=globalThis.attacked=1>"), entry(5, "unrecorded", 3), entry(5, "SYNC_RUNNING")],
      still: [entry(0, "SYNC_STARTED"), entry(0, "SYNC_STARTED")],
    };
    for (const [name, history] of Object.entries(shapes)) {
      mock.runs = [{ ...its, id: name, subject: `default/account/${name}` }];
      mock.details.set(mock.runs[0].subject, { ...detailsOf(mock.runs[0]), history, unrecorded: 2, more_triggers: 10 });
      await page.evaluate((hash) => { location.hash = hash; }, `#/run/${encodeURIComponent(mock.runs[0].subject)}`);
      await page.locator("h1", { hasText: name }).waitFor();
      await page.locator(".chart").waitFor();
      const places = await page.locator(".chart .mark").evaluateAll((marks) => marks.map((mark) => mark.getAttribute("transform")));
      assert.ok(places.length > 0 && places.every((place) => !place.includes("NaN")), `${name}: ${places}`);
      assert.match(await page.locator("#triggers").textContent(), /and 10 more/);
    }
  }, { expectedErrors: /404/ }));

  test("the event is shown and copied as it is", () => withPage(async (page) => {
    await listed(page);
    await openRun(page, "done-in-30s~7");
    await page.getByRole("button", { name: "Copy" }).click();
    await page.getByText("The event is copied.").waitFor();
    const copied = JSON.parse(await page.evaluate(() => navigator.clipboard.readText()));
    assert.equal(copied["detail-type"], "SYNC_DONE");
    assert.deepEqual(JSON.parse(await page.locator("#event pre").textContent()), copied);
  }));

  test("a cancel is confirmed first", () => withPage(async (page) => {
    await listed(page);
    await openRun(page, "done-in-2m~4");
    await page.getByRole("button", { name: "Cancel run" }).click();
    await page.getByRole("dialog").getByRole("button", { name: "Go back" }).click();
    assert.deepEqual(mock.requests.filter(({ method }) => method === "POST"), []);
    await page.getByRole("button", { name: "Cancel run" }).click();
    await page.getByRole("dialog").getByRole("button", { name: "Cancel run" }).click();
    await page.getByText("Cancelling").waitFor();
    assert.deepEqual(mock.requests.find(({ method }) => method === "POST").body, { subject: "default/chat/done-in-2m~4" });
  }));

  test("syncing again warns that the whole sync starts again", () => withPage(async (page) => {
    mock.runs = [run("acc", { kind: "account", workspace: "sales", finished: -3 })];
    await page.waitForFunction(() => document.querySelectorAll("#rows .run").length === 1);
    await openRun(page, "acc");
    await page.getByRole("button", { name: "Sync again" }).click();
    await page.getByText("load the whole history again").waitFor();
    await page.getByRole("dialog").getByRole("button", { name: "Sync again" }).click();
    await page.getByText("The trigger is on the queue").waitFor();
    assert.deepEqual(mock.requests.find(({ method }) => method === "POST").body, { account_id: "acc", workspace: "sales" });
  }));

  test("the form checks what it can, says what the bridge says, and sends what was entered", () => withPage(async (page) => {
    await listed(page);
    await page.getByRole("button", { name: "New sync" }).click();
    const error = page.locator("#trigger-error");
    const send = page.getByRole("button", { name: "Send trigger" });
    await send.click();
    assert.equal(await error.textContent(), "Enter the id of a chat.");
    await page.getByText("Account", { exact: true }).click();
    await page.getByLabel("Account id").fill("W".repeat(600));
    await send.click();
    await page.getByText("at most 512 bytes").waitFor();
    await page.getByLabel("Account id").fill(" acc~1");
    await page.getByText("Options", { exact: true }).click();
    for (const [metadata, message] of [["{x", /not valid JSON/], ["[1]", /must be a JSON object/]]) {
      await page.getByLabel(/^Metadata/).fill(metadata);
      await send.click();
      assert.match(await error.textContent(), message);
      assert.equal(await page.getByLabel(/^Metadata/).getAttribute("aria-invalid"), "true");
    }
    await page.getByLabel(/^Metadata/).fill('{"team": "sales"}');
    await page.getByLabel(/^Resync/).fill('{"chunk_size": 100}');
    await page.getByLabel(/^Idempotency/).fill("crm-1");
    await page.getByLabel(/^Correlation/).fill("order-17");
    await page.getByRole("textbox", { name: "Workspace" }).fill("sales");
    await page.getByText("Begin after this request").click();
    await send.click();
    await page.getByRole("link", { name: "Open its run" }).waitFor();
    const { body } = mock.requests.filter(({ method }) => method === "POST").at(-1);
    assert.deepEqual(body, { account_id: " acc~1", metadata: { team: "sales" }, resync: { chunk_size: 100 }, idempotency_key: "crm-1", correlation_id: "order-17", workspace: "sales", after_request: true });
  }, { expectedErrors: /400/ }));

  test("dead letters show their plan, and a redrive says what it will do", () => withPage(async (page) => {
    await page.getByRole("link", { name: /^Dead letters/ }).click();
    await page.getByRole("button", { name: "Redrive…" }).click();
    await page.getByText("It will send again 2, drop 1, leave 1.").waitFor();
    // Nobody has seen its plan.
    mock.letters = [...mock.letters, { ...mock.letters[0], message_id: "came-meanwhile" }];
    await page.waitForFunction(() => document.querySelectorAll("#letters tbody tr").length === 5);
    await page.getByRole("button", { name: "Redrive", exact: true }).click();
    await page.getByText("Redriven: 2 sent again, 1 dropped, 1 left.").waitFor();
    await page.waitForFunction(() => document.querySelectorAll("#letters tbody tr").length === 2);
    mock.letters = [];
    await page.getByRole("heading", { name: "No dead letters" }).waitFor();
    await page.locator("#dead-count").waitFor({ state: "hidden" });
  }));

  test("a lost connection is announced, the data stays, and it comes back", () => withPage(async (page) => {
    await listed(page);
    await mock.stop();
    await page.getByRole("status").getByText("Not connected, trying again").waitFor();
    assert.equal((await ids(page)).length, 13);
    await page.getByRole("button", { name: "New sync" }).click();
    await page.getByLabel("Chat id").fill("done");
    await page.getByRole("button", { name: "Send trigger" }).click();
    await page.getByText("look whether it happened").waitFor();
    await page.keyboard.press("Escape");
    await mock.resume();
    await page.getByText("Live", { exact: true }).waitFor({ timeout: 20_000 });
  }, { expectedErrors: /ERR_CONNECTION|ERR_EMPTY/ }));

  test("an error of the bridge is shown until it is over", () => withPage(async (page) => {
    await listed(page);
    mock.answerWith = () => [503, { type: "bridge/unavailable", title: "Unavailable", detail: "the table cannot be reached <b>\u202e" }];
    await page.getByRole("alert").getByText("the table cannot be reached <b>\\u202e").waitFor();
    assert.equal((await ids(page)).length, 13);
    mock.answerWith = null;
    await page.getByText("Live", { exact: true }).waitFor({ timeout: 20_000 });
    assert.equal(await page.locator("#problem").isVisible(), false);
  }, { expectedErrors: /503/ }));

  test("a hidden tab does not ask", () => withPage(async (page) => {
    await listed(page);
    const hide = (isHidden) => page.evaluate((value) => {
      Object.defineProperty(document, "hidden", { value, configurable: true });
      document.dispatchEvent(new Event("visibilitychange"));
    }, isHidden);
    await hide(true);
    await page.getByText("Paused").waitFor();
    await page.waitForTimeout(300);
    const asked = mock.requests.length;
    await page.waitForTimeout(700);
    assert.equal(mock.requests.length, asked);
    await hide(false);
    await page.getByText("Live", { exact: true }).waitFor();
  }));

  test("without runs the page says what to do", () => withPage(async (page) => {
    mock.runs = [];
    await page.getByRole("heading", { name: "No runs yet" }).waitFor();
    assert.match(await page.locator("#none pre").textContent(), /^curl http:\/\/127\.0\.0\.1:4817\/v1\/syncs/);
    mock.bridge = { kind: "file", can_trigger: false, front_door: null };
    await page.getByText("postpress-bridge sync CHAT_ID").waitFor();
    assert.equal(await page.locator("#open-trigger").isVisible(), false);
  }));

  for (const viewport of [WIDE, NARROW]) {
    test(`hostile texts run no script and fit at ${viewport.width}`, () => withPage(async (page) => {
      for (const text of HOSTILE) {
        const its = run(text, { started: -60, finished: -3, ...failed, error_type: text, workspace: text });
        const details = detailsOf(its);
        Object.assign(details.event.detail.error, { title: text, detail: text });
        details.triggers = [{ ...details.triggers[0], message_id: text, idempotency_key: text, correlation_id: text }];
        details.history = [{ at: its.started_at, answer: text, status: null, count: 1 }];
        mock.runs = [its, run(text, { status: text, started: -5, next: 5, stateless: null })];
        mock.bridge = { title: text, front_door: text };
        mock.details.set(its.subject, details);
        mock.letters = [{ message_id: text, kind: text, subject: its.subject, body: text, receive_count: 10, sent_at: its.started_at, plan: text, why: text }];
        await page.evaluate(() => { location.hash = "#/"; });
        // As the page shows what cannot be seen.
        const shown = text.replace(/[\u0000-\u001f\u00ad\u200b\u200e\u2028\u202d\u202e\u2066]/g, (character) => `\\u${character.codePointAt(0).toString(16).padStart(4, "0")}`);
        await page.waitForFunction((shown) => document.querySelector("#rows .run a")?.textContent === shown && document.querySelectorAll("#rows .run").length === 2, shown);
        await assertFits(page);
        await page.evaluate((subject) => { location.hash = `#/run/${encodeURIComponent(subject)}`; }, its.subject);
        await page.locator("#failure:not([hidden])").waitFor();
        await assertFits(page);
        await page.evaluate(() => { location.hash = "#/dead-letters"; });
        await page.locator("#letters summary").click();
        await assertFits(page);
      }
    }, { viewport }));
  }

  for (const viewport of [WIDE, NARROW]) {
    for (const colorScheme of ["light", "dark"]) {
      test(`every view is accessible and fits at ${viewport.width}, ${colorScheme}`, () => withPage(async (page) => {
        const check = async (name) => {
          await assertFits(page);
          await assertAccessible(page, name);
        };
        await listed(page);
        await check("runs");
        await page.locator("#rows a").first().focus();
        await check("runs with focus");
        for (const id of ["done-in-10s~killed", "done-in-2m~4", "503"]) {
          await page.evaluate((hash) => { location.hash = hash; }, `#/run/${encodeURIComponent(`default/chat/${id}`)}`);
          await page.locator("h1", { hasText: id }).waitFor();
          await page.locator(".chart").waitFor();
          await page.getByText("As a table").click();
          await check(`run ${id}`);
        }
        await page.evaluate(() => { location.hash = "#/dead-letters"; });
        await page.locator("#letters summary").first().click();
        await check("dead letters");
        await page.getByRole("button", { name: "Redrive…" }).click();
        await check("confirmation");
        await page.keyboard.press("Escape");
        await page.keyboard.press("?");
        await check("help");
        await page.keyboard.press("Escape");
        await page.getByRole("button", { name: "New sync" }).click();
        await page.getByText("Options", { exact: true }).click();
        await page.getByRole("button", { name: "Send trigger" }).click();
        await check("form with an error");
        await page.keyboard.press("Escape");
        mock.letters = [];
        await page.getByRole("heading", { name: "No dead letters" }).waitFor();
        await check("no dead letters");
        await page.evaluate(() => { location.hash = "#/"; });
        mock.runs = [];
        await page.getByRole("heading", { name: "No runs yet" }).waitFor();
        await check("no runs");
        mock.answerWith = () => [503, { type: "bridge/unavailable", title: "Unavailable", detail: "the table cannot be reached" }];
        await page.locator("#problem:not([hidden])").waitFor();
        await check("an error");
      }, { viewport, colorScheme, expectedErrors: /503/ }));
    }
  }
});
