// Use: what was used and what it may have cost, and how much of limits and quotas.

import { arrange, foreign, make, say, show } from "./dom.js";
import { amount, dollars, percent, plain } from "./format.js";
import { moment, now, setMoment } from "./time.js";

/** Shows what was used; `use` changes only when a call has ended. */
export function showUse(section, use) {
  const isEmpty = use.total.calls === 0;
  say(section.querySelector(".empty"), "Nothing has been used yet.");
  show(section.querySelector(".empty"), isEmpty);
  show(section.querySelector(".more"), use.source === "memory");
  show(section.querySelector(".note"), !isEmpty);
  showSpan(section.querySelector(".note"), use);
  arrange(section.querySelector(".body"), isEmpty ? [] : tables(use), {
    key: (table) => table.name,
    create: (table) => createTable(table, use.priced),
    update: (element, table) => updateTable(element, table, use.priced),
  });
}

function showSpan(note, use) {
  const total = summary(use);
  if (use.source !== "memory") {
    say(note, `Today (${plain(use.timezone)}): ${total}`);
    return;
  }
  if (note.since === undefined) {
    note.since = moment(use.since);
    note.total = make("span");
    note.append("Since the start, ", note.since, ": ", note.total);
  }
  setMoment(note.since, use.since);
  say(note.total, total);
}

function summary(use) {
  const { total } = use;
  const cost = use.priced ? `${dollars(total.cost_usd)} by list prices, ` : "";
  return `${cost}${amount(total.calls)} calls, ${amount(input(total))} tokens in (${percent(share(total))} from the cache), ${amount(total.output)} out.`;
}

function input(row) {
  return row.input + row.cache_read + row.cache_write;
}

function share(row) {
  return input(row) ? row.cache_read / input(row) : null;
}

function tables(use) {
  const found = [
    { name: "model", title: "By model", rows: use.models },
    { name: "client", title: "By client", rows: use.clients },
    { name: "session", title: "By session", rows: use.sessions },
  ];
  if (use.days) found.push({ name: "day", title: "The last 14 days", rows: use.days });
  return found;
}

function createTable({ name, title }, priced) {
  const heads = [name, "calls", "in", "cached", "out", "cost"];
  const row = make("tr");
  for (const head of heads) {
    const cell = make("th", head === name ? "wide" : `number ${head}`, head);
    cell.scope = "col";
    row.append(cell);
  }
  const body = make("tbody");
  const table = make("table", "", make("caption", "", title), make("thead", "", row), body);
  table.classList.toggle("unpriced", !priced);
  table.rows_ = body;
  return table;
}

function updateTable(table, { name, rows }, priced) {
  table.classList.toggle("unpriced", !priced);
  arrange(table.rows_, rows, {
    key: (row) => String(row.name ?? row.day),
    create: (row) => createRow(row.day ?? row.name, name),
    update: updateRow,
  });
}

function createRow(name, kind) {
  const text = name === null ? `no ${kind}` : plain(name);
  const head = make("th", "wide", foreign(text));
  head.scope = "row";
  head.title = text;
  const row = make("tr", "", head);
  row.cells_ = ["calls", "in", "cached", "out", "cost"].map((each) =>
    row.appendChild(make("td", `number ${each}`)),
  );
  return row;
}

function updateRow(row, use) {
  const cost = use.unpriced && !use.cost_usd ? "no price" : dollars(use.cost_usd);
  const texts = [
    amount(use.calls),
    amount(input(use)),
    percent(share(use)),
    amount(use.output),
    use.unpriced && use.cost_usd ? `${cost} +?` : cost,
  ];
  row.cells_.forEach((cell, index) => say(cell, texts[index]));
}

// Limits and quotas

/** Shows how much of each is used, and when it begins anew. */
export function showBars(section, relays, limits) {
  arrange(section.querySelector(".bars"), [...bars(relays), ...ownBars(limits)], {
    key: (bar) => bar.key,
    create: createBar,
    update: updateBar,
  });
}

function* bars(relays) {
  for (const relay of relays) {
    for (const quota of relay.quotas) {
      const text = `${percent(quota.utilization)} used`;
      yield bar(relay, `quota ${quota.name}`, quota.utilization, text, quota.reset);
    }
    for (const limit of relay.limits) {
      if (!limit.limit || limit.remaining === undefined) continue;
      const text = `${amount(limit.remaining)} of ${amount(limit.limit)} left`;
      const name = limit.name.replaceAll("_", " ").replaceAll("-", " ");
      yield bar(relay, name, 1 - limit.remaining / limit.limit, text, limit.reset);
    }
  }
}

function bar(relay, what, used, text, reset) {
  const name = `${plain(relay.name)}: ${plain(what)}`;
  return { key: `${relay.name} ${what}`, name, used, text, reset };
}

function* ownBars(limits) {
  for (const limit of limits ?? []) {
    const name = `${plain(limit.client)}: ${plain(limit.limit)}`;
    const text = `${plain(limit.used)} of ${plain(limit.of)}`;
    yield { key: `own ${name}`, name, used: limit.ratio, text, reset: limit.reset, warn: limit.warn };
  }
}

function createBar({ name }) {
  const row = make("div", "quota");
  const label = make("span", "label", foreign(name));
  row.meter = make("meter");
  row.meter.setAttribute("aria-label", name);
  row.meter.max = 1;
  row.text = make("span", "text");
  row.reset = make("span", "reset");
  row.append(label, row.meter, row.text, row.reset);
  return row;
}

function updateBar(row, { used, text, reset, warn }) {
  const value = Math.max(0, Math.min(1, used));
  if (row.meter.value !== value) row.meter.value = value;
  row.className = `quota ${value >= 0.9 ? "bad" : value >= (warn ?? 0.75) ? "warn" : ""}`.trim();
  say(row.text, text);
  if (reset === undefined || reset === null) {
    row.reset.replaceChildren();
  } else if (row.reset.time === undefined) {
    row.reset.time = moment(reset);
    row.reset.replaceChildren("resets ", row.reset.time);
  } else {
    setMoment(row.reset.time, reset);
  }
  show(row.reset, reset !== undefined && reset !== null && reset > now() - 1);
}
