// The stream of events: read while the page is seen, opened again whenever it ends.

const RETRY_MS = 2000;
// An event comes each second; a relay that stands still closes nothing.
const SILENCE_MS = 6000;

/**
 * Reads `/events` for as long as the page lives. `told(event, isFirst)` gets each event,
 * `gone(why)` hears that there are none, with the relay's words where it has any.
 */
export class Stream {
  #told;
  #gone;
  #reading = null;
  #retry = 0;

  constructor(told, gone) {
    this.#told = told;
    this.#gone = gone;
    document.addEventListener("visibilitychange", () => this.#follow());
    this.#follow();
  }

  #follow() {
    clearTimeout(this.#retry);
    if (document.visibilityState === "hidden") {
      this.#reading?.abort();
      this.#reading = null;
    } else if (this.#reading === null) {
      this.#open();
    }
  }

  async #open() {
    const reading = (this.#reading = new AbortController());
    let why = "";
    try {
      why = await this.#read(reading);
    } catch {
      // The relay has gone, or the page is hidden: told apart below.
    }
    if (this.#reading !== reading) return;
    this.#reading = null;
    this.#gone(why);
    this.#retry = setTimeout(() => this.#follow(), RETRY_MS);
  }

  async #read(reading) {
    const watch = new Watch(() => reading.abort());
    try {
      const answer = await fetch("/events", { signal: reading.signal, cache: "no-store" });
      if (!answer.ok) return (await answer.text()).trim();
      let isFirst = true;
      for await (const event of events(answer.body)) {
        watch.heard();
        this.#told(event, isFirst);
        isFirst = false;
      }
      return "";
    } finally {
      watch.stop();
    }
  }
}

/** Calls back once nothing was heard for too long. */
class Watch {
  #timer = 0;
  #late;

  constructor(late) {
    this.#late = late;
    this.heard();
  }

  heard() {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(this.#late, SILENCE_MS);
  }

  stop() {
    clearTimeout(this.#timer);
  }
}

/** Yields what the events of a body hold. */
async function* events(body) {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return;
    const whole = (rest + value).split("\n\n");
    rest = whole.pop();
    for (const event of whole) yield JSON.parse(event.replace(/^data: /, ""));
  }
}
