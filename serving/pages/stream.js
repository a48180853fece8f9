// The screen's line to the server: server-sent events read with fetch, so that a token travels in a header and not in an
// address. It always comes back: after a fault with growing pauses, at once when the network returns; where a stream
// cannot be read (an old player, a proxy that holds answers back) it asks every few seconds instead.

const FIRST_PAUSE = 1000;
const LONGEST_PAUSE = 30000;
const SILENCE = 45000; // longer than the server's pause between pings: a line so quiet is dead
const FIRST_WORD = 15000; // the server tells the current state at once; a line without it is held back by a proxy
const ASK_EVERY = 5000;
const ASK_FOR = 12; // then the stream is tried again

export class Line {
  /** `on(type, data)` hears slate, idle and ping; `refused(status)` a status that is no answer; `back()` a return. */
  constructor({ base, token, on, refused, back }) {
    Object.assign(this, { base, token, on, refused, back });
    this.lastId = null;
    this.etag = null;
    this.pause = FIRST_PAUSE;
    addEventListener("online", () => this.wake?.());
    addEventListener("offline", () => this.request?.abort());
  }

  /** Run for ever. */
  async run() {
    for (let again = false; ; again = true) {
      const heard = await this.listen(again);
      if (heard === "held back") for (let count = 0; count < ASK_FOR; count += 1) await this.ask().catch(() => {});
      else await this.rest(heard);
    }
  }

  async rest(heard) {
    if (heard === "heard") this.pause = FIRST_PAUSE;
    await this.sleep(this.pause * (0.75 + Math.random() / 2)); // spread out, or a chain's screens all return at once
    this.pause = Math.min(this.pause * 2, LONGEST_PAUSE);
  }

  sleep(milliseconds) {
    return new Promise((done) => {
      const timer = setTimeout(done, milliseconds);
      this.wake = () => { clearTimeout(timer); this.pause = FIRST_PAUSE; done(); };
    });
  }

  headers(more) {
    return { ...more, ...(this.token ? { Authorization: `Bearer ${this.token}` } : {}) };
  }

  async listen(again) {
    this.request = new AbortController();
    let watch = setTimeout(() => this.request.abort(), FIRST_WORD);
    const headers = this.headers({ Accept: "text/event-stream", ...(this.lastId ? { "Last-Event-ID": this.lastId } : {}) });
    let heard = "fault";
    try {
      const answer = await fetch(`${this.base}/stream`, { headers, cache: "no-store", signal: this.request.signal });
      if (!answer.ok) { this.refused(answer.status); return "fault"; }
      if (!answer.headers.get("Content-Type")?.startsWith("text/event-stream")) return "fault"; // a hotspot's login page
      if (!answer.body?.getReader) return "held back";
      if (again) this.back();
      heard = "held back";
      const bytes = () => {
        heard = "heard";
        clearTimeout(watch);
        watch = setTimeout(() => this.request.abort(), SILENCE);
      };
      for await (const event of events(answer.body.getReader(), bytes)) {
        if (event.id !== null) this.lastId = event.id;
        this.tell(event.type, event.data);
      }
    } catch {
      // the line fell; what was heard before says how to go on
    } finally {
      clearTimeout(watch);
      this.request.abort();
    }
    return heard === "held back" && !navigator.onLine ? "fault" : heard;
  }

  async ask() {
    const headers = this.headers({ Accept: "application/json", ...(this.etag ? { "If-None-Match": this.etag } : {}) });
    try {
      const answer = await fetch(`${this.base}/offers`, { headers, cache: "no-store", signal: AbortSignal.timeout(FIRST_WORD) });
      if (answer.ok) {
        this.etag = answer.headers.get("ETag");
        this.tell("slate", await answer.text());
      } else if (answer.status !== 304) this.refused(answer.status);
    } finally {
      await this.sleep(ASK_EVERY);
    }
  }

  tell(type, text) {
    let data;
    try { data = text ? JSON.parse(text) : null; } catch { return; }
    this.on(type, data);
  }
}

/** Parse an event stream (HTML standard, 9.2.6) into {type, data, id}; `bytes` is called whenever something arrives. */
export async function* events(reader, bytes = () => {}) {
  const decoder = new TextDecoder();
  let rest = "";
  let event = { type: "message", lines: [], id: null };
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return;
    bytes();
    const lines = (rest + decoder.decode(value, { stream: true })).split(/\r\n|\n|\r(?!$)/);
    rest = lines.pop();
    for (const line of lines) {
      if (line === "") {
        if (event.lines.length || event.type !== "message") yield { type: event.type, data: event.lines.join("\n"), id: event.id };
        event = { type: "message", lines: [], id: null };
      } else if (!line.startsWith(":")) take(event, line);
    }
  }
}

function take(event, line) {
  const colon = line.indexOf(":");
  const name = colon < 0 ? line : line.slice(0, colon);
  const value = colon < 0 ? "" : line.slice(colon + 1).replace(/^ /, "");
  if (name === "data") event.lines.push(value);
  else if (name === "event") event.type = value;
  else if (name === "id" && !value.includes("\0")) event.id = value;
}
