// Bars: how much of each limit and quota is used, and when it begins anew.

import { arrange, foreign, make, say, show } from "./dom.js";
import { amount, dollars, percent, plain } from "./format.js";
import { moment, now, setMoment } from "./time.js";

// From here on the API's own stand out; the relay's limits have theirs configured.
const WARN = 0.75;
const BAD = 0.9;

/** Shows the limits of clients, and what the APIs last said of theirs. */
export function showBars(section, relays, limits) {
  arrange(section.querySelector(".bars"), [...limits.map(ownBar), ...relays.flatMap(apiBars)], {
    key: (bar) => bar.key,
    create: createBar,
    update: updateBar,
  });
  show(section.querySelector(".sessions"), limits.some((limit) => limit.per === "session"));
}

function ownBar(limit) {
  const whose = [limit.client === "all" ? "all clients" : plain(limit.client)];
  if (limit.session !== null) whose.push(limit.session === "" ? "no session" : plain(limit.session));
  const name = `${whose.join(" · ")}: ${most(limit)}`;
  const isReached = limit.used >= limit.most;
  const text = `${isReached ? "reached: " : ""}${inKind(limit, limit.used)} of ${inKind(limit, limit.most)}`;
  const tone = isReached ? "bad" : limit.kind !== "at_once" && limit.ratio >= limit.warn ? "warn" : "";
  return { key: `own ${name}`, name, used: limit.ratio, text, tone, reset: limit.reset };
}

function most(limit) {
  if (limit.kind === "at_once") return "calls at once";
  return `${limit.kind === "usd" ? "dollars" : "tokens"} per ${plain(limit.per)}`;
}

function inKind(limit, value) {
  return limit.kind === "usd" ? dollars(value) : amount(value);
}

function apiBars(relay) {
  const quotas = relay.quotas
    .filter((quota) => quota.utilization !== undefined)
    .map((quota) =>
      apiBar(relay, `quota ${plain(quota.name)}`, quota.utilization, `${percent(quota.utilization)} used`, quota.reset),
    );
  const limits = relay.limits
    .filter((limit) => limit.limit && limit.remaining !== undefined)
    .map((limit) => {
      const text = `${amount(limit.remaining)} of ${amount(limit.limit)} left`;
      return apiBar(relay, plain(limit.name).replaceAll(/[-_]/g, " "), 1 - limit.remaining / limit.limit, text, limit.reset);
    });
  return [...quotas, ...limits];
}

function apiBar(relay, what, used, text, reset) {
  const name = `${plain(relay.name)}: ${what}`;
  const tone = used >= BAD ? "bad" : used >= WARN ? "warn" : "";
  return { key: `api ${name}`, name, used, text, tone, reset };
}

function createBar({ name }) {
  const row = make("div", "quota");
  const label = make("span", "label", foreign(name));
  label.title = name;
  row.meter = make("meter");
  row.meter.setAttribute("aria-label", name);
  row.meter.max = 1;
  row.text = make("span", "text");
  row.reset = make("span", "reset");
  row.append(label, row.meter, row.text, row.reset);
  return row;
}

function updateBar(row, { used, text, tone, reset }) {
  const value = Math.max(0, Math.min(1, used));
  if (row.meter.value !== value) row.meter.value = value;
  row.className = `quota ${tone}`.trim();
  say(row.text, text);
  const isKnown = reset !== undefined && reset !== null;
  if (!isKnown) {
    row.reset.replaceChildren();
  } else if (row.reset.time === undefined) {
    row.reset.time = moment(reset);
    row.reset.replaceChildren("resets ", row.reset.time);
  } else {
    setMoment(row.reset.time, reset);
  }
  show(row.reset, isKnown && reset > now() - 1);
}
