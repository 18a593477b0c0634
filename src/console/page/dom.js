// Elements, and text for people. Nothing here makes markup from a string: what comes from outside is text.

/** An element. `on…` properties are listeners, properties of the element are set as such, all others are attributes. */
export function h(name, properties = {}, ...children) {
  const element = document.createElement(name);
  for (const [key, value] of Object.entries(properties)) {
    if (value === undefined || value === null || value === false) continue;
    if (key.startsWith("on")) element.addEventListener(key.slice(2), value);
    else if (key in element && key !== "form") element[key] = value;
    else element.setAttribute(key, value === true ? "" : value);
  }
  element.append(...children.flat().filter((child) => child !== undefined && child !== null && child !== false));
  return element;
}

/** An element of a drawing. */
export function svg(name, attributes = {}, ...children) {
  const element = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  element.append(...children.flat());
  return element;
}

/** Changes a text only where it differs, so that a selection in it survives. */
export function setText(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

/** Replaces an element's children only when `key` changes. */
export function replaceWhenChanged(element, key, build) {
  if (element.renderedKey === key) return;
  element.renderedKey = key;
  element.replaceChildren(...[build()].flat().filter(Boolean));
}

// Controls and everything else that hides, reorders or breaks text: C0, C1, soft hyphen, zero-width and bidi characters, line
// separators, variation selectors, tags, lone surrogates.
const INVISIBLE =
  /[\u0000-\u001f\u007f-\u009f\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u2028-\u202f\u205f-\u206f\u3164\ufe00-\ufe0e\ufeff\ufff9-\ufffb\u{e0000}-\u{e0fff}\p{Surrogate}]/gu;

function escape(character) {
  const code = character.codePointAt(0);
  const digits = code.toString(16);
  return code > 0xffff ? `\\u{${digits}}` : `\\u${digits.padStart(4, "0")}`;
}

/** A text from outside, with every invisible character as a visible one. */
export const visible = (text) => String(text).replace(INVISIBLE, escape);

/** The same, with line breaks left as they are. */
export const visibleLines = (text) => String(text).split("\n").map(visible).join("\n");

/** A text from outside as an element: its direction is its own, and its invisible characters are marked. */
export function foreign(text) {
  const element = h("bdi");
  let end = 0;
  for (const match of String(text).matchAll(INVISIBLE)) {
    element.append(String(text).slice(end, match.index), h("span", { className: "escape" }, escape(match[0])));
    end = match.index + match[0].length;
  }
  element.append(String(text).slice(end));
  return element;
}

/** JSON with its parts in colours. */
export function json(value) {
  const text = JSON.stringify(value, null, 2);
  const parts = [];
  let end = 0;
  for (const { 0: part, index, groups } of text.matchAll(/(?<string>"(?:[^"\\]|\\.)*")(?<colon>:)?|\b(?<word>true|false|null)\b|(?<number>-?\d[\d.eE+-]*)/g)) {
    const kind = groups.colon ? "key" : groups.string ? "string" : "literal";
    const token = groups.colon ? part.slice(0, -1) : part;
    parts.push(text.slice(end, index), h("span", { className: `json-${kind}` }, visible(token)), groups.colon ?? "");
    end = index + part.length;
  }
  parts.push(text.slice(end));
  return h("code", {}, parts);
}

const UNITS = [[86_400, "d"], [3_600, "h"], [60, "min"], [1, "s"]];

/** A length of time: `45 s`, `3 min 20 s`, `2 h`. */
export function span(milliseconds) {
  if (milliseconds > 0 && milliseconds < 1_000) return `${Math.round(milliseconds)} ms`;
  let rest = Math.max(0, Math.round(milliseconds / 1_000));
  const first = UNITS.findIndex(([seconds]) => rest >= seconds);
  if (first < 0) return "0 s";
  const parts = [];
  for (const [seconds, unit] of UNITS.slice(first, first + 2)) {
    if (rest >= seconds) parts.push(`${Math.floor(rest / seconds)} ${unit}`);
    rest %= seconds;
  }
  return parts.join(" ");
}

/** How long ago, in one unit. */
export function ago(milliseconds) {
  const seconds = Math.round(milliseconds / 1_000);
  if (seconds < 2) return "just now";
  const [size, unit] = UNITS.find(([size]) => seconds >= size);
  return `${Math.floor(seconds / size)} ${unit} ago`;
}

/** The local time of day, with the date where it is another day than `now`'s. */
export function clock(time, now) {
  const [at, today] = [new Date(time), new Date(now)];
  const two = (number) => String(number).padStart(2, "0");
  const hours = [at.getHours(), at.getMinutes(), at.getSeconds()].map(two).join(":");
  if (at.toDateString() === today.toDateString()) return hours;
  return `${at.getFullYear()}-${two(at.getMonth() + 1)}-${two(at.getDate())} ${hours}`;
}

/** A `time` element: local time, with the exact one on hover. */
export function moment(time, now) {
  return h("time", { dateTime: time, title: time }, clock(time, now));
}

export const plural = (count, one, many = `${one}s`) => `${count.toLocaleString("en")} ${count === 1 ? one : many}`;
