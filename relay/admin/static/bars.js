// Bars: how much of each limit and quota is used, and when it begins anew.

import { arrange, foreign, make, say, show } from "./dom.js";
import { amount, dollars, percent, plain, price } from "./format.js";
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
  const session = sessionName(limit);
  const name = nameOf(limit, session);
  const most = limit.kind === "usd" ? price(limit.most) : amount(limit.most);
  const isReached = limit.used >= limit.most;
  return {
    key: `own ${limit.kind} ${name}`,
    name,
    label: nameOf(limit, beginning(session)),
    used: limit.ratio,
    text: `${isReached ? "reached: " : ""}${inKind(limit)} of ${most}`,
    tone: isReached ? "bad" : limit.kind !== "at_once" && limit.ratio >= limit.warn ? "warn" : "",
    reset: limit.reset,
  };
}

function sessionName({ session }) {
  if (session === null) return "";
  return session === "" ? "no session" : `session ${plain(session)}`;
}

/** Enough of it to find the session in the tables. */
function beginning(name) {
  return name.length > 20 ? `${name.slice(0, 16)}…` : name;
}

function nameOf(limit, session) {
  const client = limit.client === "all" ? "all clients" : plain(limit.client);
  const tokens = limit.kind === "tokens" ? "tokens" : "";
  const period = limit.session === null && limit.per !== null ? `per ${plain(limit.per)}` : "";
  const what = limit.kind === "at_once" ? "calls at once" : `${tokens} ${period}`.trim();
  return [client, session, what].filter(Boolean).join(", ");
}

function inKind({ kind, used }) {
  return kind === "usd" ? dollars(used) : amount(used);
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
  return { key: `api ${name}`, name, label: name, used, text, tone, reset };
}

function createBar({ name, label: words }) {
  const row = make("div", "quota");
  const label = make("span", "label", foreign(words));
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
