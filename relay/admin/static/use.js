// Use: what was used and what it cost, by the ledger or since the relay started.

import { arrange, foreign, make, say, show } from "./dom.js";
import { amount, day, dayOfMonth, dollars, percent, plain } from "./format.js";
import { moment } from "./time.js";

const TITLES = { today: "Today", fortnight: "14 days" };
const HEADS = ["calls", "in", "cached", "out", "cost"];

let chosen = "today";

/** Shows what was used; `use` changes only when a call has ended. */
export function showUse(section, use) {
  const { spans } = use;
  const isEmpty = spans.every((span) => span.total.calls === 0);
  const days = isEmpty ? [] : (use.days ?? []);
  say(section.querySelector(".empty"), emptyWords(use));
  show(section.querySelector(".empty"), isEmpty);
  showProblem(section, use);
  showTotals(section.querySelector(".totals"), use, isEmpty);
  showDays(section.querySelector(".days"), days);
  showChoice(section, use, isEmpty);
  showTables(section.querySelector(".body"), use, isEmpty);
  say(section.querySelector(".marks"), isEmpty ? "" : marks(spans.at(-1).total, use.priced));
}

function emptyWords({ source, spans, is_unused }) {
  if (source === "ledger" && spans.length === 0) return "The ledger is being read.";
  return is_unused ? "Nothing has been used yet." : "Nothing was used in the last 14 days.";
}

/** Says how to have more, or why the ledger does not say it. */
function showProblem(section, use) {
  const problem = section.querySelector(".problem");
  show(section.querySelector(".more"), use.source === "memory" && use.problem === undefined);
  show(problem, use.problem !== undefined);
  say(problem, `The ledger ${plain(use.problem, 1000)}. So this is since the start.`);
}

// The sums of all, a row for each span.

function showTotals(totals, use, isEmpty) {
  const rows = use.spans.map((span) => ({ ...span.total, name: span.name }));
  const table = { name: "time", title: "All calls", rows, head: (span) => spanHead(span, use) };
  arrange(totals, isEmpty ? [] : [table], {
    key: (each) => each.name,
    create: createTable,
    update: (element, each) => updateTable(element, each, use.priced),
  });
}

function spanHead(span, use) {
  if (span.name === "start") return ["Since the start, ", moment(use.since)];
  return [span.name === "today" ? `Today (${plain(use.timezone)})` : "The last 14 days"];
}

function input(row) {
  return row.input + row.cache_read + row.cache_write;
}

function share(row) {
  return input(row) ? row.cache_read / input(row) : null;
}

/** A cost with its marks, as `relay usage` has them. */
function money(row) {
  if (row.unpriced && !row.cost_usd) return "no price";
  return dollars(row.cost_usd) + (row.estimate_usd ? "~" : "") + (row.is_notional ? "*" : "") + (row.unpriced ? "?" : "");
}

/** What the marks mean that are in sight. */
function marks(total, priced) {
  return [
    priced ? "Costs are by list prices." : "",
    total.estimate_usd ? `~ with ${dollars(total.estimate_usd)} estimated, of calls whose usage or price is unknown.` : "",
    total.is_notional ? "* notional: a subscription is not billed by tokens." : "",
    total.unpriced && total.cost_usd ? "? without models that have no known price." : "",
  ]
    .filter(Boolean)
    .join(" ");
}

// The days, as columns.

function showDays(list, days) {
  show(list.parentElement, days.length > 0);
  const size = days.some((each) => each.cost_usd > 0) ? (each) => each.cost_usd : (each) => input(each) + each.output;
  const most = Math.max(...days.map(size));
  arrange(list, days, {
    key: (each) => each.day,
    create: createDay,
    update: (row, each) => updateDay(row, each, most > 0 ? size(each) / most : 0),
  });
}

function createDay() {
  const row = make("li");
  row.column = row.appendChild(make("span", "column-of-day"));
  row.time = row.appendChild(make("time"));
  row.sums = row.appendChild(make("span", "unseen"));
  return row;
}

function updateDay(row, each, height) {
  const text = `${money(each)}, ${amount(each.calls)} calls, ${amount(input(each))} in, ${amount(each.output)} out`;
  row.column.style.setProperty("--height", String(height));
  row.time.dateTime = each.day;
  say(row.time, dayOfMonth(each.day));
  say(row.sums, `: ${text}`);
  const title = `${day(each.day)}: ${text}`;
  if (row.title !== title) row.title = title;
}

// The tables, of one span at a time.

function showChoice(section, use, isEmpty) {
  const choice = section.querySelector(".choice");
  show(choice, use.spans.length > 1 && !isEmpty);
  arrange(choice, use.spans.length > 1 ? use.spans : [], {
    key: (span) => span.name,
    create: (span) => {
      const button = make("button", "", TITLES[span.name] ?? plain(span.name));
      button.type = "button";
      return button;
    },
    update: (button, span) => {
      button.setAttribute("aria-pressed", String(span.name === chosen));
      button.onclick = () => {
        chosen = span.name;
        showUse(section, use);
      };
    },
  });
}

function showTables(body, use, isEmpty) {
  const span = use.spans.find((each) => each.name === chosen) ?? use.spans[0];
  arrange(body, isEmpty ? [] : tables(span), {
    key: (table) => table.name,
    create: createTable,
    update: (element, table) => updateTable(element, table, use.priced),
  });
}

function tables(span) {
  return [
    { name: "model", title: "By model", rows: span.models },
    { name: "client", title: "By client", rows: span.clients },
    { name: "session", title: "By session, the last used first", rows: span.sessions },
  ];
}

function createTable({ name, title }) {
  const row = make("tr");
  for (const head of [name, ...HEADS]) {
    const cell = make("th", head === name ? "wide" : `number ${head}`, head);
    cell.scope = "col";
    row.append(cell);
  }
  const body = make("tbody");
  const table = make("table", "", make("caption", "", title), make("thead", "", row), body);
  table.rows_ = body;
  return table;
}

function updateTable(table, { name, rows, head }, priced) {
  table.classList.toggle("unpriced", !priced);
  arrange(table.rows_, rows, {
    key: (row) => String(row.name),
    create: (row) => createRow(row.name, name, head),
    update: updateRow,
  });
  show(table, rows.length > 0);
}

function createRow(name, kind, words) {
  const text = name === null ? `no ${kind}` : plain(name);
  const head = make("th", "wide", ...(words?.({ name }) ?? [foreign(text)]));
  head.scope = "row";
  head.title = head.textContent;
  const row = make("tr", "", head);
  row.cells_ = HEADS.map((each) => row.appendChild(make("td", `number ${each}`)));
  return row;
}

function updateRow(row, use) {
  const texts = [amount(use.calls), amount(input(use)), percent(share(use)), amount(use.output), money(use)];
  row.cells_.forEach((cell, index) => say(cell, texts[index]));
}
