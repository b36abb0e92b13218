// Moments, as `<time>`: how long ago they are, and on hover exactly when.

import { say } from "./dom.js";
import { ago, exact } from "./format.js";

let skew = 0;

/** Takes the relay's clock: ages are by that one, and not by the reader's. */
export function setClock(unix) {
  skew = unix - Date.now() / 1000;
}

/** The relay's time, in seconds since the epoch. */
export function now() {
  return Date.now() / 1000 + skew;
}

/** Has a `<time>` stand for another moment. */
export function setMoment(element, unix) {
  if (element.unix !== unix) {
    element.unix = unix;
    element.dateTime = new Date(unix * 1000).toISOString();
    element.title = exact(unix);
  }
  say(element, ago(now() - unix));
}

/** Makes a `<time>` of a moment. */
export function moment(unix) {
  const element = document.createElement("time");
  setMoment(element, unix);
  return element;
}

/** Says anew how long ago all of them are. */
export function tick() {
  for (const element of document.querySelectorAll("time")) {
    if (element.unix !== undefined) say(element, ago(now() - element.unix));
  }
}
