// Figures and names as people read them; the same as `relay top` writes.

export const UNKNOWN = "–";

/** Text that others chose: what does not print, or turns the direction, is shown as an escape. */
export function plain(text, longest = 200) {
  if (text === null || text === undefined || text === "") return UNKNOWN;
  const cut = [...String(text)].slice(0, longest).join("");
  const shown = cut.replace(/[\p{C}\p{Zl}\p{Zp}]/gu, escaped);
  return shown + (cut.length < String(text).length ? "…" : "");
}

function escaped(character) {
  return `\\u{${character.codePointAt(0).toString(16)}}`;
}

const UNITS = [
  [86400, "d", 3600, "h"],
  [3600, "h", 60, "min"],
  [60, "min", 1, "s"],
];

/** `4 ms`, `0.42 s`, `4.2 s`, `42 s`, `2 h 10 min`. */
export function duration(seconds) {
  if (seconds === null || seconds === undefined) return UNKNOWN;
  if (seconds < 0.0995) return `${Math.round(seconds * 1000)} ms`;
  if (seconds < 0.995) return `${seconds.toFixed(2)} s`;
  return seconds < 9.95 ? `${seconds.toFixed(1)} s` : whole(Math.round(seconds));
}

function whole(seconds) {
  const unit = UNITS.find(([size]) => seconds >= size);
  if (unit === undefined) return `${seconds} s`;
  const [large, largeUnit, small, smallUnit] = unit;
  const rest = Math.floor((seconds % large) / small);
  return `${Math.floor(seconds / large)} ${largeUnit}` + (rest ? ` ${rest} ${smallUnit}` : "");
}

/** An age in whole seconds: what counts up does not flicker. */
export function age(seconds) {
  return whole(Math.max(0, Math.floor(seconds)));
}

/** `4 s ago`, and for what is yet to be `in 4 s`. */
export function ago(seconds) {
  if (seconds < -0.5) return `in ${whole(Math.ceil(-seconds))}`;
  return seconds < 1 ? "just now" : `${age(seconds)} ago`;
}

/** `999`, `1.2k`, `45k`, `1.3M`. */
export function amount(value) {
  if (value === null || value === undefined) return UNKNOWN;
  let unit = "";
  for (const larger of ["k", "M", "G"]) {
    if (value < 999.5) break;
    value /= 1000;
    unit = larger;
  }
  if (value >= 9.95 || !unit) return `${Math.round(value)}${unit}`;
  return value.toFixed(1).replace(/\.0$/, "") + unit;
}

/** A share: only all is 100 %, and only nothing 0 %. */
export function percent(share) {
  if (share === null || share === undefined || Number.isNaN(share)) return UNKNOWN;
  const rounded = Math.round(share * 100);
  if (rounded === 0 && share > 0) return "<1 %";
  if (rounded === 100 && share < 1) return ">99 %";
  return `${rounded} %`;
}

/** US dollars, to the cent from ten cents on. */
export function dollars(value) {
  if (value === null || value === undefined) return UNKNOWN;
  return `$${value.toFixed(value !== 0 && value < 0.1 ? 4 : 2)}`;
}

/** An amount that somebody chose: `$20`, `$0.50`. */
export function price(value) {
  const cents = value.toFixed(2);
  return `$${Number.isInteger(value) ? value : Number(cents) === value ? cents : value}`;
}

/** `12.3 kB`. */
export function bytes(value) {
  const text = amount(value);
  return /[kMG]$/.test(text) ? `${text.slice(0, -1)} ${text.at(-1)}B` : `${text} B`;
}

// Without Intl, whose first format takes some thirty milliseconds to make.
const DAYS = ["Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"];
const MONTHS = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

/** A moment to the second, in the reader's own time zone. */
export function exact(unix) {
  const date = new Date(unix * 1000);
  const time = [date.getHours(), date.getMinutes(), date.getSeconds()];
  const day = `${date.getDate()} ${MONTHS[date.getMonth()]} ${date.getFullYear()}`;
  return `${day}, ${time.map((each) => String(each).padStart(2, "0")).join(":")}`;
}

/** A day of the calendar, given as `2026-11-27`. */
export function day(text) {
  const date = new Date(text); // midnight in UTC
  const name = `${DAYS[date.getUTCDay()]} ${date.getUTCDate()} ${MONTHS[date.getUTCMonth()]}`;
  return `${name} ${date.getUTCFullYear()}`;
}

/** The number of a day in its month. */
export function dayOfMonth(text) {
  return String(new Date(text).getUTCDate());
}
