// Chains: for each relay its boxes, from the agent to the API, and the legs between them.

import { arrange, foreign, make, say } from "./dom.js";
import { ago, duration, plain } from "./format.js";
import { now } from "./time.js";

const WORDS = {
  up: "up",
  down: "down",
  refused: "refused",
  skipped: "skipped",
  bypassed: "goes past the relay",
  unknown: "not tried yet",
};

/** Shows the chains; `lately` tells what the last calls did at their hops. */
export function showChains(section, relays, lately) {
  section.querySelector(".empty").hidden = relays.length > 0;
  say(section.querySelector(".empty"), "No relay is configured.");
  arrange(section.querySelector(".body"), relays, {
    key: (relay) => relay.name,
    create: createChain,
    update: (row, relay) => updateChain(row, relay, lately),
  });
}

function createChain(relay) {
  const name = make("h3", "", foreign(plain(relay.name)));
  const list = make("ol", "chain");
  const row = make("div", "relay", name, list);
  list.setAttribute("aria-label", `The way of a call of the relay ${plain(relay.name)}`);
  row.list = list;
  return row;
}

function updateChain(row, relay, lately) {
  arrange(row.list, parts(relay, lately), {
    key: (part) => part.key,
    create: (part) => (part.leg ? createLeg() : createBox()),
    update: (element, part) => (part.leg ? updateLeg(element, part) : updateBox(element, part)),
  });
}

/** The chain in its order: a box, the leg to the next one, and so on. */
function parts(relay, lately) {
  const found = [agentBox(relay)];
  for (const hop of relay.hops) {
    found.push(leg(relay, `hop ${hop.name}`, hop.name), hopBox(relay, hop, lately));
  }
  found.push(lastLeg(relay), apiBox(relay));
  return found;
}

function agentBox(relay) {
  const figures = relay.legs.agent;
  const note = figures ? `first byte ${pair(figures.p50, figures.p95)}` : "no call yet";
  return { key: "agent", title: "agent", state: null, note };
}

function hopBox(relay, hop, lately) {
  const figures = relay.legs[`hop ${hop.name}`];
  const added = figures?.added_p50;
  return {
    key: `hop ${hop.name}`,
    title: plain(hop.name),
    state: hopState(relay, hop, lately),
    note: added === undefined ? plain(hop.url) : `adds ${pair(added, figures.added_p95)}`,
    hint: hop.url,
  };
}

function hopState(relay, hop, lately) {
  if (hop.bypassed) return "bypassed";
  if (hop.up !== false) return hop.up ? "up" : "unknown";
  const last = lately.findLast((call) => call.relay === relay.name && call.hops !== undefined);
  const was = last?.hops.find((each) => each.name === hop.name);
  return was?.outcome === "skipped" ? "skipped" : "down";
}

function apiBox(relay) {
  const state = relay.refused ? "refused" : relay.state;
  return {
    key: "API",
    title: "API",
    state,
    note: plain(relay.upstream),
    hint: relay.upstream,
    connections: `${relay.connections.active} connections in use, ${relay.connections.idle} kept`,
  };
}

function leg(relay, end) {
  return { key: `leg ${end}`, leg: true, figures: relay.legs[end] };
}

function lastLeg(relay) {
  const credential = `credential ${plain(relay.grant)}`;
  const { ready, refused, expires_at: end } = relay;
  return { ...leg(relay, "API"), credential, ready, refused, end };
}

function pair(p50, p95) {
  return `${duration(p50)} / ${duration(p95)}`;
}

function createBox() {
  const box = make("li", "box");
  box.title_ = box.appendChild(foreign("", "title"));
  box.state = box.appendChild(make("span", "state"));
  box.note = box.appendChild(foreign("", "box-note"));
  box.connections = box.appendChild(make("span", "box-note"));
  return box;
}

function updateBox(box, part) {
  say(box.title_, part.title);
  say(box.state, part.state === null ? "" : WORDS[part.state]);
  say(box.note, part.note);
  say(box.connections, part.connections ?? "");
  const className = `box ${part.state ?? ""}`.trim();
  if (box.className !== className) box.className = className;
  if (part.hint && box.title !== part.hint) box.title = plain(part.hint);
}

/** How long a credential still lasts, where it says so. */
function lasting(end) {
  return end === null || end === undefined ? "" : `, ends ${ago(now() - end)}`;
}

function createLeg() {
  const element = make("li", "leg");
  element.credential = element.appendChild(foreign("", "credential"));
  element.figures = element.appendChild(make("span", "figures"));
  element.title = "Time to the first byte of this leg's answer: the median / 19 of 20 are below";
  return element;
}

function updateLeg(element, part) {
  say(element.figures, part.figures ? pair(part.figures.p50, part.figures.p95) : "no call yet");
  const missing = part.credential && !part.ready;
  say(element.credential, (part.credential ?? "") + (missing ? ": none" : lasting(part.end)));
  element.credential.classList.toggle("bad", Boolean(missing || part.refused));
}
