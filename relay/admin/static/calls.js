// Now and Lately: the calls in flight, and the last hundred with their timelines.

import { arrange, foreign, link, make, say, show } from "./dom.js";
import { UNKNOWN, age, amount, bytes, duration, exact, plain } from "./format.js";
import { moment, setMoment } from "./time.js";

/** Shows the calls in flight, the oldest first, in so many rows. */
export function showNow(section, told, room) {
  const calls = told.in_flight;
  const isFirst = told.ended_count === 0 && told.in_flight_count === 0 && told.is_unused;
  const more = told.in_flight_count - calls.length;
  say(section.querySelector(".empty"), "Nothing is in flight.");
  say(section.querySelector(".note"), more > 0 ? `The oldest ${calls.length}; ${more} more.` : "");
  show(section.querySelector(".empty"), calls.length === 0 && !isFirst);
  show(section.querySelector(".first"), isFirst);
  show(section.querySelector("table"), calls.length > 0);
  arrange(section.querySelector("tbody"), calls.slice(0, room), {
    key: (call) => call.key,
    create: createRunning,
    update: updateRunning,
  });
}

function createRunning() {
  const row = make("tr");
  row.age = row.appendChild(make("td", "when"));
  row.call = row.appendChild(subjectCell());
  row.input = row.appendChild(make("td", "number"));
  row.output = row.appendChild(make("td", "number"));
  row.silence = row.appendChild(make("td", "number"));
  return row;
}

function updateRunning(row, call) {
  say(row.age, age(call.age));
  setSubject(row.call, call);
  say(row.input, amount(call.input));
  say(row.output, call.estimated ? `~${amount(call.output)}` : amount(call.output || null));
  say(row.silence, duration(call.silence));
  row.silence.classList.toggle("warn", call.silence > 30);
}

/** Shows the calls that are over, the latest first, in so many rows. */
export function showLately(section, calls, room) {
  say(section.querySelector(".empty"), "No call has ended yet.");
  show(section.querySelector(".empty"), calls.length === 0);
  show(section.querySelector("table"), calls.length > 0);
  arrange(section.querySelector("tbody"), calls.toReversed().slice(0, room), {
    key: (call) => call.key,
    create: createEnded,
    update: (row, call) => setMoment(row.time, call.finished),
  });
}

function createEnded(call) {
  const row = make("tr", "ended");
  row.time = moment(call.finished);
  const button = make("button", "", row.time);
  button.type = "button";
  button.setAttribute("aria-expanded", "false");
  const subject = subjectCell();
  setSubject(subject, call);
  const outcome = make("td", `outcome ${tone(call)}`, outcomeWords(call));
  row.append(make("td", "when", button), subject, outcome);
  row.append(make("td", "number", duration(call.duration)));
  row.append(make("td", "number tokens", tokens(call)));
  row.addEventListener("click", (event) => {
    if (event.target.closest("a") === null) toggle(row, button, call);
  });
  return row;
}

function tokens(call) {
  return call.input === null ? UNKNOWN : `${amount(call.input)} / ${amount(call.output)}`;
}

function outcomeWords(call) {
  const words = plain(call.said);
  return call.help ? link(call.help, words) : words;
}

function tone(call) {
  if (call.outcome === "ok") return "good";
  return call.outcome === "client_abort" ? "warn" : "bad";
}

function toggle(row, button, call) {
  const opens = row.after_row === undefined;
  button.setAttribute("aria-expanded", String(opens));
  if (opens) {
    row.after_row = details(call);
    row.after(row.after_row);
  } else {
    row.after_row.remove();
    row.after_row = undefined;
  }
}

// What a call is about: its model, and below it whose it is.

function subjectCell() {
  const cell = make("td", "wide");
  cell.main = cell.appendChild(foreign("", "main"));
  cell.side = cell.appendChild(foreign("", "side"));
  return cell;
}

function setSubject(cell, call) {
  const usual = call.method === "POST" || call.method === undefined;
  const path = (usual ? "" : `${plain(call.method)} `) + plain(call.path);
  say(cell.main, call.model === undefined ? path : plain(call.model));
  const side = [call.client, call.session_id].filter((each) => each !== undefined);
  say(cell.side, side.map((each) => plain(each)).join(" · ") || "no client");
  if (cell.title !== path) cell.title = path;
}

// One call, from its beginning to its end.

// As the stylesheet has it: of five columns it shows three.
const NARROW = matchMedia("(max-width: 46rem)");
NARROW.addEventListener("change", () => {
  for (const cell of document.querySelectorAll(".details td")) cell.colSpan = columns();
});

function columns() {
  return NARROW.matches ? 3 : 5;
}

const FACTS = [
  ["path", (call) => call.path && `${plain(call.method)} ${plain(call.path, 300)}`],
  ["status", (call) => call.status && String(call.status)],
  ["error", (call) => call.error_type && plain(call.error_type)],
  ["session", (call) => call.session_id && plain(call.session_id)],
  ["agent", (call) => call.agent_id && plain(call.agent_id)],
  ["request id", (call) => call.request_id && plain(call.request_id)],
  ["tier", (call) => call.tier && plain(call.tier)],
  ["cache read", (call) => call.cache_read && `${amount(call.cache_read)} of ${amount(call.input)}`],
  ["longest silence", (call) => call.max_gap && duration(call.max_gap)],
  ["bytes", (call) => `${bytes(call.request_bytes)} sent, ${bytes(call.response_bytes)} back`],
  ["attempts", (call) => call.legs && String(call.legs)],
];

function details(call) {
  const facts = make("dl");
  for (const [name, value] of FACTS) {
    const text = value(call);
    if (text) facts.append(make("div", "", make("dt", "", name), make("dd", "", foreign(text))));
  }
  for (const hop of call.hops ?? []) facts.append(hopFact(hop));
  const cell = make("td", "", timeline(call), facts);
  cell.colSpan = columns();
  return make("tr", "details", cell);
}

function hopFact(hop) {
  const size = hop.bytes_out === undefined ? "" : `, ${bytes(hop.bytes_in)} in, ${bytes(hop.bytes_out)} out`;
  const text = `${plain(hop.outcome)}, ${duration(hop.seconds)}${size}`;
  return make("div", "", make("dt", "", foreign(plain(hop.name))), make("dd", "", foreign(text)));
}

function timeline(call) {
  const list = make("ol", "timeline");
  list.setAttribute("aria-label", "Timeline");
  const began = call.finished - call.duration;
  const end = Math.max(call.duration, 1e-6);
  for (const [what, at] of call.timeline) {
    const time = make("time", "", what === "admitted" ? exact(began) : `+${precise(at)}`);
    time.dateTime = new Date((began + at) * 1000).toISOString();
    time.title = clock(began + at);
    const bar = make("span", "bar");
    bar.style.setProperty("--at", String(Math.min(1, at / end)));
    list.append(make("li", "", foreign(plain(what), "what"), time, bar));
  }
  return list;
}

function precise(seconds) {
  return seconds < 1 ? `${(seconds * 1000).toFixed(1)} ms` : `${seconds.toFixed(3)} s`;
}

function clock(unix) {
  const fraction = (unix % 1).toFixed(3).slice(1);
  return exact(unix) + ` (${fraction} s)`;
}
