// A run's history as a drawing: a lane for each answer, along which its calls are as far apart as they were in time.

import { clock, plural, span, svg, visible } from "./dom.js";

const LANE_HEIGHT = 26;
const TICK_DISTANCE = 72;
/** The most characters of a lane's name that fit beside it. */
const NAME_MAX = 16;
const TICKS = [1, 2, 5, 10, 20, 30, 60, 120, 300, 600, 1_200, 1_800, 3_600, 7_200, 14_400, 28_800, 86_400, 172_800, 604_800];
/** The most marks of one entry of the history; more are a band. */
const MARKS_MAX = 40;

/** Each shape has one meaning, so that no colour is needed to tell them apart. `hollow` parts have only an outline. */
const SHAPES = {
  started: [["circle", { r: 5.5 }]],
  running: [["circle", { r: 4 }]],
  chunk: [["rect", { x: -4.5, y: -4.5, width: 9, height: 9, rx: 1.5 }]],
  earlier: [["rect", { x: -3, y: -3, width: 6, height: 6, rx: 1 }]],
  failure: [["path", { d: "M-4-4 4 4M4-4-4 4", class: "stroke" }]],
  restart: [["circle", { r: 7.5, class: "back" }], ["path", { d: "M4.6 2.2A5 5 0 1 1 4.2-2.8M5.2-6v3.6H1.6", class: "stroke" }]],
  unrecorded: [["path", { d: "M0-6 6 0 0 6-6 0Z", class: "hollow dashed" }]],
  next: [["circle", { r: 4.5, class: "hollow" }]],
  trigger: [["path", { d: "M-4.5-3.5h9L0 4.5Z" }]],
  flight: [["circle", { r: 5.5, class: "hollow" }], ["circle", { r: 2.5 }]],
  waiting: [["circle", { r: 5.5, class: "hollow dashed" }]],
  done: [["circle", { r: 7 }], ["path", { d: "M-3.2 .2-.9 2.6 3.3-2.3", class: "cut" }]],
  bad: [["path", { d: "M0-7.5 7.5 0 0 7.5-7.5 0Z" }], ["path", { d: "M-2.3-2.3 2.3 2.3M2.3-2.3-2.3 2.3", class: "cut" }]],
  deleted: [["rect", { x: -6.5, y: -6.5, width: 13, height: 13, rx: 3 }], ["path", { d: "M-3.2 0h6.4", class: "cut" }]],
  cancelled: [["circle", { r: 5.5, class: "hollow" }], ["path", { d: "M-3.9 3.9 3.9-3.9", class: "stroke" }]],
  overdue: [["path", { d: "M0-7 7.5 6h-15Z" }], ["path", { d: "M0-2.6V1.6M0 3.6v.6", class: "cut" }]],
};

/** A shape as a drawing of its own, for beside a text. */
export function icon(shape, tone) {
  return svg("svg", { class: `icon ${tone}`, viewBox: "-8 -8 16 16", width: 16, height: 16, "aria-hidden": "true" }, drawShape(shape));
}

const shortened = (name) => (name.length > NAME_MAX ? `${name.slice(0, NAME_MAX - 1)}…` : name);

const drawShape = (shape) => SHAPES[shape].map(([name, attributes]) => svg(name, attributes));

const ANSWERS = {
  __proto__: null,
  SYNC_STARTED: ["SYNC_STARTED", "flight", "started"],
  SYNC_RUNNING: ["SYNC_RUNNING", "flight", "running"],
  CHUNK_DONE: ["CHUNK_DONE", "flight", "chunk"],
  timed_out: ["timed out", "warn", "failure"],
  unusable: ["unusable", "warn", "failure"],
  credentials: ["key refused", "warn", "failure"],
  connecting: ["connecting", "warn", "failure"],
  unrecorded: ["no record", "bad", "unrecorded"],
  earlier: ["earlier", "neutral", "earlier"],
};

/** How an answer is named and drawn. */
export function answerOf({ answer, status }) {
  const [name, tone, shape] = ANSWERS[answer] ?? [answer === "failed" ? `HTTP ${status}` : answer, "warn", "failure"];
  return { name, tone, shape };
}

/** How an ending is drawn: one that was asked for is no failure. */
export function endingOf({ ending, error_type: error }) {
  if (ending === "SYNC_DONE") return { name: ending, tone: "done", shape: "done" };
  if (ending === "CHAT_DELETED") return { name: ending, tone: "neutral", shape: "deleted" };
  if (error === "bridge/cancelled") return { name: "cancelled", tone: "neutral", shape: "cancelled" };
  return { name: ending === "SYNC_ERROR" ? ending : "error", tone: "bad", shape: "bad" };
}

/** Every call of a run, in order, with the time of each. */
export function calls({ run, history, unrecorded }, now) {
  const started = Date.parse(run.started_at);
  const end = run.finished_at ? Date.parse(run.finished_at) : now;
  const all = [];
  let number = 0;
  let before = started;
  let wasRunning = false;
  // Calls without a recorded answer were made at some time between two others.
  const between = (from, to, count) => {
    for (let nth = 1; nth <= Math.min(count, MARKS_MAX); nth += 1) {
      const at = from + ((to - from) * nth) / (Math.min(count, MARKS_MAX) + 1);
      all.push({ ...answerOf({ answer: "unrecorded" }), at, number: number + nth, count: 1, isExact: false });
    }
    number += count;
  };
  history.forEach((entry, place) => {
    const at = Date.parse(entry.at);
    if (entry.answer === "unrecorded") {
      between(before, at, entry.count);
      return;
    }
    const answer = answerOf(entry);
    const restarts = wasRunning && entry.answer === "SYNC_STARTED";
    if (entry.answer === "SYNC_RUNNING") wasRunning = true;
    if (entry.answer === "SYNC_STARTED" || entry.answer === "CHUNK_DONE") wasRunning = false;
    const next = history.slice(place + 1).find((later) => later.answer !== "unrecorded");
    const until = Math.max(at, next ? Date.parse(next.at) : end);
    const drawn = Math.min(entry.count, MARKS_MAX);
    for (let nth = 0; nth < drawn; nth += 1) {
      const mark = { ...answer, at: at + ((until - at) * nth) / drawn, number: number + nth + 1, count: 1, isExact: nth === 0 };
      if (entry.count > MARKS_MAX) Object.assign(mark, { number: number + 1, count: entry.count });
      if (restarts && nth === 0) Object.assign(mark, { markTone: "bad", shape: "restart", isRestart: true });
      all.push(mark);
    }
    number += entry.count;
    before = at;
  });
  between(before, end, unrecorded);
  return all;
}

/** Splits calls into lanes, in the order of their first one; triggers above them, the ending or the next poll at the end. */
function lanesOf(details, now) {
  const { run, triggers } = details;
  const lanes = [];
  const lane = (name, tone) => {
    const found = lanes.find((other) => other.name === name);
    return found ?? lanes[lanes.push({ name, tone, marks: [], lines: [], count: 0 }) - 1];
  };
  const requests = lane("triggers", "neutral");
  for (const trigger of triggers) {
    const at = Date.parse(trigger.requested_at);
    requests.marks.push({ at, shape: "trigger", text: `Trigger${trigger.joined ? " that joined" : ""}, ${clock(at, now)}` });
  }
  requests.count = triggers.length + details.more_triggers;

  let last = null;
  const path = [];
  const advance = (to, toLane) => {
    if (last) {
      last.lane.lines.push({ from: last.at, to });
      path.push({ at: to, from: last.lane, to: toLane });
    }
  };
  for (const call of calls(details, now)) {
    const its = lane(call.name, call.tone);
    const text = [call.count > 1 ? `${call.count} calls from call ${call.number} on` : `Call ${call.number}`, call.isRestart ? "the sync started again" : call.name];
    if (call.shape === "unrecorded") text.push("made about here; its answer was never recorded");
    else text.push(`${call.isExact ? "" : "about "}${clock(call.at, now)}`);
    if (last && call.isExact) text.push(`${span(call.at - last.at)} after the one before`);
    its.marks.push({ ...call, text: text.join(", ") });
    if (call.shape === "unrecorded") continue;
    advance(call.at, its);
    last = { at: call.at, lane: its };
  }
  for (const call of details.history) lane(answerOf(call).name, answerOf(call).tone).count += call.count;
  if (details.unrecorded) lane("no record", "bad").count += details.unrecorded;

  if (run.finished_at) {
    const at = Date.parse(run.finished_at);
    const ending = endingOf(run);
    const its = lane(ending.name, ending.tone);
    its.marks.push({ at, shape: ending.shape, text: `The ending, ${run.error_type ?? run.ending}, ${clock(at, now)}` });
    its.count = run.ending === "ERROR_ENVELOPE" ? 0 : 1;
    advance(at, its);
  } else {
    const next = run.next_poll_at && Date.parse(run.next_poll_at);
    const its = last?.lane ?? lane("next call", "flight");
    if (last) its.lines.push({ from: last.at, to: now, isOpen: true });
    if (next > now) its.marks.push({ at: next, shape: "next", text: `Next poll about ${clock(next, now)}` });
  }
  return { lanes: lanes.filter((its) => its.marks.length > 0), path };
}

/** The drawing, `width` pixels wide. `describe` is called with the text of the mark under the pointer, or with null. */
export function chart(details, now, width, describe) {
  const { run } = details;
  const { lanes, path } = lanesOf(details, now);
  const next = run.next_poll_at ? Date.parse(run.next_poll_at) : 0;
  const to = run.finished_at ? Date.parse(run.finished_at) : Math.max(now, next);
  const started = Date.parse(run.started_at);
  // A trigger that waited for long would leave no room for the calls.
  const requested = Math.min(started, ...details.triggers.map((trigger) => Date.parse(trigger.requested_at)));
  const from = started - requested > to - started ? started : requested;
  const length = Math.max(1_000, to - from);

  const [left, right] = [width < 480 ? 104 : 128, width < 480 ? 34 : 46];
  const inner = Math.max(60, width - left - right - 20);
  const x = (at) => left + 10 + inner * Math.min(1, Math.max(0, (at - from) / length));
  const y = (lane) => 8 + LANE_HEIGHT * (lanes.indexOf(lane) + 0.5);
  const bottom = 8 + LANE_HEIGHT * lanes.length + 6;

  const parts = [];
  const step = TICKS.find((seconds) => (inner * seconds * 1_000) / length >= TICK_DISTANCE) ?? TICKS.at(-1);
  for (let seconds = 0; seconds * 1_000 <= length; seconds += step) {
    const at = x(from + seconds * 1_000);
    parts.push(svg("line", { class: "grid", x1: at, x2: at, y1: 8, y2: bottom }));
    parts.push(svg("text", { x: at, y: bottom + 16, "text-anchor": "middle" }, span(seconds * 1_000)));
  }
  for (const lane of lanes) {
    const at = y(lane);
    parts.push(svg("line", { class: "rail", x1: left, x2: width - right, y1: at, y2: at }));
    parts.push(svg("text", { class: "lane", x: 0, y: at + 4 }, shortened(visible(lane.name))));
    if (lane.count) parts.push(svg("text", { class: "count", x: width - 2, y: at + 4, "text-anchor": "end" }, String(lane.count)));
    for (const line of lane.lines) {
      parts.push(svg("line", { class: `held ${lane.tone}${line.isOpen ? " open" : ""}`, x1: x(line.from), x2: x(line.to), y1: at, y2: at }));
    }
  }
  for (const { at, from: above, to: below } of path) {
    if (above !== below) parts.push(svg("line", { class: "step", x1: x(at), x2: x(at), y1: y(above), y2: y(below) }));
  }
  if (!run.finished_at && next > now) {
    parts.push(svg("line", { class: "now", x1: x(now), x2: x(now), y1: 2, y2: bottom }));
  }
  for (const lane of lanes) {
    for (const mark of lane.marks) {
      const place = `translate(${x(mark.at).toFixed(1)} ${y(lane)})`;
      const shape = svg("g", { class: `mark ${mark.markTone ?? lane.tone}`, transform: place }, svg("title", {}, visible(mark.text)), drawShape(mark.shape));
      shape.addEventListener("pointerenter", () => describe(visible(mark.text)));
      shape.addEventListener("pointerleave", () => describe(null));
      parts.push(shape);
    }
  }
  const made = plural(run.polls, "call");
  const state = run.finished_at ? `ended with ${run.error_type ?? run.ending}` : "in flight";
  const label = visible(`History: ${made} in ${span(to - from)}, ${state}. The table below has the same data.`);
  return svg("svg", { class: "chart", role: "img", "aria-label": label, width, height: bottom + 24, viewBox: `0 0 ${width} ${bottom + 24}` }, parts);
}
