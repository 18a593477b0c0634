// A run's history, drawn: a lane for each answer, along which the polls are as far apart as they were in time.

import { span, svg } from "./dom.js";

const LANE = 26;
const AXIS = 30;
const TICKS = [1, 2, 5, 10, 20, 60, 120, 300, 600, 1200, 3600, 7200, 14400, 28800, 86400, 172800, 604800];

const NAMES = {
  earlier: "earlier calls",
  unrecorded: "no answer recorded",
  unusable: "unusable answer",
  timed_out: "no answer in time",
  credentials: "key refused",
  connecting: "account not connected",
  unknown: "unknown answer",
};

/** What an answer is called, and its colour. */
export function answerOf(entry) {
  if (entry.answer === "failed") return { name: `HTTP ${entry.status ?? "error"}`, tone: "bad" };
  if (/^[A-Z_]+$/.test(entry.answer)) return { name: entry.answer, tone: "flight" };
  const tone = entry.answer === "earlier" ? "flight" : entry.answer === "unrecorded" ? "warn" : "bad";
  return { name: NAMES[entry.answer] ?? entry.answer, tone };
}

/** Every mark of a run: `{ lane, tone, at, until, shape, title }`, times in milliseconds since it began. */
export function marksOf(details, now) {
  const { run, history, unrecorded } = details;
  const began = Date.parse(run.started_at);
  const end = Math.max(run.finished_at ? Date.parse(run.finished_at) : now, began + 1000) - began;
  const marks = [];
  let wasRunning = false;
  history.forEach((entry, place) => {
    const { name, tone } = answerOf(entry);
    const at = Math.min(Math.max(0, Date.parse(entry.at) - began), end);
    const next = history.slice(place + 1).find((later) => later.answer !== "unrecorded");
    const until = next ? Math.min(end, Math.max(at, Date.parse(next.at) - began)) : end;
    const restarts = wasRunning && entry.answer === "SYNC_STARTED";
    if (entry.answer === "SYNC_RUNNING") wasRunning = true;
    if (["SYNC_STARTED", "CHUNK_DONE"].includes(entry.answer)) wasRunning = false;
    const before = place ? Math.max(0, Date.parse(history[place - 1].at) - began) : 0;
    for (let nth = 0; nth < Math.min(entry.count, 60); nth += 1) {
      // Calls without a recorded answer were made between their neighbours.
      const time = entry.answer === "unrecorded"
        ? before + ((at - before) * (nth + 1)) / (entry.count + 1)
        : at + ((until - at) * nth) / entry.count;
      const shape = restarts && nth === 0 ? "restart" : tone === "flight" ? "dot" : tone === "warn" ? "dagger" : "cross";
      const title = `${restarts && nth === 0 ? "the sync started again: " : ""}${name}, ${span(time)} after the start`;
      marks.push({ lane: name, tone, at: time, until: tone === "flight" ? until : null, shape, title });
    }
  });
  const last = history.length ? Math.max(0, Date.parse(history.at(-1).at) - began) : 0;
  for (let nth = 0; nth < Math.min(unrecorded, 20); nth += 1) {
    const time = last + ((end - last) * (nth + 1)) / (unrecorded + 1);
    marks.push({ lane: NAMES.unrecorded, tone: "warn", at: time, until: null, shape: "dagger", title: "a call without a recorded answer" });
  }
  if (run.ending) {
    const tone = run.ending === "SYNC_DONE" ? "done" : "bad";
    const name = run.error_type ? "ended with an error" : run.ending;
    marks.push({ lane: name, tone, at: end, until: null, shape: "diamond", title: `${run.ending}, ${span(end)} after the start` });
  } else if (run.next_poll_at) {
    const at = Math.max(end, Date.parse(run.next_poll_at) - began);
    marks.push({ lane: "next call", tone: "flight", at, until: null, shape: "hollow", title: `the next call is due ${span(at)} after the start` });
  }
  return marks;
}

/** The drawing, as wide as `width` pixels. */
export function chart(details, now, width) {
  const marks = marksOf(details, now);
  const lanes = [...new Set(marks.map((mark) => mark.lane))];
  const end = Math.max(1000, ...marks.map((mark) => mark.at));
  const left = width < 560 ? 0 : 170;
  const lane = width < 560 ? LANE + 16 : LANE;
  const right = 14;
  const x = (at) => left + 8 + ((width - left - right - 8) * at) / end;
  const y = (name) => lanes.indexOf(name) * lane + (left ? LANE / 2 : LANE / 2 + 16);
  const bottom = lanes.length * lane + 4;
  const drawing = svg("svg", {
    class: "chart", viewBox: `0 0 ${width} ${bottom + AXIS}`, height: bottom + AXIS, role: "img",
    "aria-label": `The history of the run over ${span(end)}; the table below has the same data`,
  });
  for (const tick of ticks(end / 1000, Math.max(2, Math.floor((width - left) / 80)))) {
    drawing.append(
      svg("line", { class: "grid", x1: x(tick * 1000), x2: x(tick * 1000), y1: 0, y2: bottom }),
      svg("text", { x: x(tick * 1000), y: bottom + 18, "text-anchor": tick ? "middle" : "start" }, span(tick * 1000)),
    );
  }
  for (const name of lanes) {
    const label = svg("text", { class: "lane-name", x: 0, y: y(name) + (left ? 4 : -12) }, name);
    drawing.append(label);
  }
  for (const mark of marks) {
    if (mark.until > mark.at) {
      drawing.append(svg("line", { class: `span ${mark.tone}`, x1: x(mark.at), x2: x(mark.until), y1: y(mark.lane), y2: y(mark.lane) }));
    }
  }
  for (const mark of marks) drawing.append(shape(mark, x(mark.at), y(mark.lane)));
  return drawing;
}

function ticks(seconds, most) {
  const step = TICKS.find((tick) => seconds / tick <= most) ?? Math.ceil(seconds / most);
  return Array.from({ length: Math.floor(seconds / step) + 1 }, (_, nth) => nth * step);
}

function shape(mark, x, y) {
  const title = svg("title", {}, mark.title);
  const path = (d, attributes = {}) => svg("path", { d, class: mark.tone, "stroke-width": 2, ...attributes }, title);
  switch (mark.shape) {
    case "cross":
      return path(`M${x - 4} ${y - 4}l8 8m0-8l-8 8`, { fill: "none" });
    case "dagger":
      return path(`M${x} ${y - 6}v12M${x - 4} ${y - 2}h8`, { fill: "none" });
    case "diamond":
      return path(`M${x} ${y - 7}l7 7-7 7-7-7z`);
    case "restart":
      return path(`M${x - 5} ${y - 6}l11 6-11 6z`);
    case "hollow":
      return svg("circle", { class: `${mark.tone} hollow`, cx: x, cy: y, r: 4, "stroke-width": 2 }, title);
    default:
      return svg("circle", { class: mark.tone, cx: x, cy: y, r: 4 }, title);
  }
}
