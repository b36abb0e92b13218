// The page: takes what the relay tells, and has each section show its part.

import { showBars } from "./bars.js";
import { showLately, showNow } from "./calls.js";
import { showChains } from "./chains.js";
import { arrange, foreign, link, make, say, show } from "./dom.js";
import { exact, plain } from "./format.js";
import { Stream } from "./stream.js";
import { now, setClock, tick } from "./time.js";
import { showUse } from "./use.js";

const SHOWN_CALLS = 100;
// Rows that a frame may add to each list: two hundred at once would hold up a click.
const ROWS_A_FRAME = 10;
const RELOADED = "relay-reloaded-for";

const section = Object.fromEntries(
  ["chains", "now", "lately", "use", "wrong"].map((id) => [id, document.getElementById(id)]),
);
const version = document.querySelector('meta[name="relay-version"]').content;

let room = 0;
let lately = [];
let use = null;
let heardAt = 0;
let latest = null;
let lastNews = null;

function told(event, isFirst) {
  if (event.version !== version && reload(event.version)) return;
  setClock(event.time);
  heardAt = event.time;
  lately = isFirst ? event.ended : [...lately, ...event.ended].slice(-SHOWN_CALLS);
  use = event.use ?? use;
  event.is_unused = use.is_unused;
  latest = event;
  document.body.classList.remove("stale");
  show(document.getElementById("gone"), false);
  showChains(section.chains, event.relays, lately);
  if (room === 0) {
    grow();
  } else {
    showNow(section.now, event, room);
    if (isFirst || event.ended.length > 0) showLately(section.lately, lately, room);
  }
  if (event.use !== undefined) showUse(section.use, use);
  showBars(section.use, event.relays, event.limits);
  showWrong(event.wrong);
  summarise(event);
  tick();
}

/** Makes room for more rows of the lists, frame by frame, until all have it. */
function grow() {
  room += ROWS_A_FRAME;
  showNow(section.now, latest, room);
  showLately(section.lately, lately, room);
  if (room < SHOWN_CALLS) requestAnimationFrame(() => setTimeout(grow));
}

/** A relay of another version has other parts; once is enough, should it lie. */
function reload(other) {
  if (sessionStorage.getItem(RELOADED) === other) return false;
  sessionStorage.setItem(RELOADED, other);
  location.reload();
  return true;
}

function showWrong(wrong) {
  say(section.wrong.querySelector(".empty"), "Nothing is wrong.");
  show(section.wrong.querySelector(".empty"), wrong.length === 0);
  section.wrong.classList.toggle("some", wrong.length > 0);
  arrange(section.wrong.querySelector("ul"), wrong, {
    key: (each) => each.what,
    create: (each) => {
      const row = make("li", "", make("b", "", foreign(plain(each.what))));
      row.text = row.appendChild(foreign(""));
      row.append(link(each.help, "What to do"));
      return row;
    },
    update: (row, each) => say(row.text, plain(each.text, 1000)),
  });
}

function summarise({ wrong, draining }) {
  const many = wrong.length === 1 ? "1 thing is wrong" : `${wrong.length} things are wrong`;
  const state = draining ? "the relay is stopping" : wrong.length > 0 ? many : "all is well";
  setSummary(state, wrong.length > 0 || draining ? "bad" : "good");
  announce([state, ...wrong.map((each) => `${plain(each.what)}: ${plain(each.text)}`)].join(". "));
}

function setSummary(text, tone) {
  const summary = document.getElementById("summary");
  say(summary.querySelector("a"), text);
  summary.className = `summary ${tone}`;
  document.title = tone === "good" ? "relay" : `relay: ${text}`;
}

/** Says what has changed to those who do not see it: states, never figures. */
function announce(news) {
  if (news === lastNews) return;
  lastNews = news;
  say(document.getElementById("news"), news);
}

function gone(why) {
  const text = why ? plain(why) : "The relay does not answer.";
  const asOf = heardAt ? ` What is below is as of ${exact(heardAt)}.` : "";
  say(document.getElementById("gone"), `${text}${asOf} Trying again.`);
  show(document.getElementById("gone"), true);
  document.body.classList.add("stale");
  setSummary("no connection", "bad");
  announce(text);
}

new Stream(told, gone);
setInterval(() => document.visibilityState === "visible" && now() && tick(), 1000);
