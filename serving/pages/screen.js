// A store display. It shows the slate that the server last allowed: a personal one until it expires or the shopper
// leaves, whatever the network does; otherwise the anonymous one, which is the only thing it ever keeps.

import { card, make } from "./card.js";
import { placeholder } from "./placeholder.js";
import { onTap, report } from "./report.js";
import { Line } from "./stream.js";
import { wordsOf } from "./words.js";

const config = JSON.parse(document.getElementById("config").textContent);
const stage = document.getElementById("stage");
const words = wordsOf(document.documentElement.lang);
const KEPT = `facings.anonymous.${config.screen_id}`;
const WITHOUT_EXPIRY = 30000; // a personal slate that does not say how long it may stand
const base = `/v1/screens/${encodeURIComponent(config.screen_id)}`;
const shown = { anonymous: kept(), personal: null, refusal: null, drawn: null, told: null };

// ---- what may be shown -------------------------------------------------------------------------------------------

function kept() {
  try {
    const slate = JSON.parse(localStorage.getItem(KEPT));
    return slate?.personal === false ? slate : null;
  } catch {
    return null; // storage may be switched off on a kiosk
  }
}

function keep(slate) {
  shown.anonymous = slate;
  try { localStorage.setItem(KEPT, JSON.stringify(slate)); } catch { /* it is only a convenience */ }
}

// Milliseconds that a slate may still be shown. The server's own clock counts (`now`), not the display's: displays are
// often wrong by hours, and a replay is by years.
function remaining(slate) {
  if (!slate.expires_at) return WITHOUT_EXPIRY;
  const from = slate.now ? Date.parse(slate.now) : Date.now();
  return Date.parse(slate.expires_at) - from;
}

function greet(slate) {
  const time = remaining(slate);
  clearTimeout(shown.personal?.timer);
  // Two clocks: one may be set, the other may stand still while a player sleeps. Whichever ends first ends it.
  const ends = { mono: performance.now() + time, wall: Date.now() + time };
  shown.personal = time > 0 ? { slate, ends, timer: setTimeout(part, time) } : null;
}

function part() {
  clearTimeout(shown.personal?.timer);
  shown.personal = null;
  draw();
}

function checkExpiry() {
  const ends = shown.personal?.ends;
  if (ends && (performance.now() >= ends.mono || Date.now() >= ends.wall)) part();
}

function hear(type, data) {
  shown.refusal = null;
  if (type === "slate" && data) {
    if (data.personal === false) { keep(data); part(); } else greet(data);
  } else if (type === "idle") {
    if (data?.personal === false && Array.isArray(data.items)) keep(data);
    part();
  } else return;
  draw();
}

// Told to the installer who has just opened the page; once it has shown something, a display stays calm.
function refused(status) {
  if (!shown.anonymous && !shown.personal && words.setUpLine[status]) {
    shown.refusal = status;
    draw();
  }
}

// ---- how it is drawn ---------------------------------------------------------------------------------------------

function room() {
  const shape = innerWidth / innerHeight;
  return shape > 2.4 ? 4 : 5;
}

function draw() {
  const slate = shown.personal?.slate ?? shown.anonymous;
  const items = (slate?.items ?? []).slice(0, room());
  tell("impression", items.map((item) => item.item_id));
  if (sameFace(slate, items)) return;
  stage.replaceChildren(items.length ? offersPage(slate, items) : quietPage());
  for (const text of stage.querySelectorAll("h1, .price")) fit(text);
  for (const text of stage.querySelectorAll(".title")) fit(text);
}

// Whether the display already says all this. A slate that is decided again with the same outcome gets its new code and
// is otherwise left alone: nothing moves before the eyes of those who are reading it.
function sameFace(slate, items) {
  const told = items.map(({ item_id, title, brand, category, image_url, reason, offer, price }) =>
    [item_id, title, brand, category, image_url, reason, offer?.price ?? price, offer?.was, offer?.discount]);
  const whose = [slate?.personal === false, slate?.shopper_greeting, Boolean(slate?.qr_svg), slate?.phone_note];
  const face = JSON.stringify([told, whose, shown.refusal]);
  const same = face === shown.drawn;
  shown.drawn = face;
  const code = same && stage.querySelector(".along img");
  if (code) code.src = codeImage(slate);
  return same;
}

// Only of a personal slate: of what everybody sees nobody in particular has seen it. Each slate's impression once.
function tell(kind, items) {
  const slate = shown.personal?.slate;
  if (!slate?.recommendation_id || !items.length || (kind === "impression" && shown.told === slate.recommendation_id)) return;
  if (kind === "impression") shown.told = slate.recommendation_id;
  report(`${base}/responses`, { event_type: kind, recommendation_id: slate.recommendation_id, item_ids: items }, line.token);
}

function offersPage(slate, items) {
  const view = { words, language: document.documentElement.lang, currency: slate.currency ?? config.currency, origins: config.picture_origins };
  const offers = make("section", "offers", ...items.map((item, place) => {
    const cell = make("div", "cell", card(item, view));
    cell.style.setProperty("--place", place);
    return cell;
  }));
  offers.dataset.count = items.length;
  return make("div", "slate", make("header", "side", head(slate), along(slate)), offers);
}

function head(slate) {
  const personal = slate === shown.personal?.slate;
  const title = personal ? (slate.shopper_greeting ? words.greetingNamed(slate.shopper_greeting) : words.greeting) : words.favourites;
  const lead = make("p", "lead", personal ? words.picked : words.favouritesLine);
  return make("div", "head", storeLine(), make("h1", "", title), lead, personal ? notMe() : null);
}

// Somebody is greeted as another: the display lets go at once, and the server greets nobody here for a while.
function notMe() {
  const button = make("button", "not-me", words.notMe);
  button.type = "button";
  button.addEventListener("click", () => {
    report(`${base}/not-me`, {}, line.token);
    part();
  });
  return button;
}

// What has no room gives way in this order: the old price takes a line of its own, the maker is left out, and a long
// word, name or price is set smaller in steps. What is still too long ends in an ellipsis.
function fit(text) {
  const price = text.classList.contains("price");
  const holds = () => text.scrollWidth <= text.clientWidth && (price || (tall(text) && tall(text.parentElement)));
  if (price) text.classList.toggle("stacked", !holds());
  else if (!holds()) text.parentElement.querySelector(".brand")?.remove();
  for (const size of [1, 0.92, 0.84, 0.76, 0.68, 0.6, 0.5]) {
    text.style.setProperty("--fit", size);
    if (holds()) return;
  }
}

function tall(box) {
  return box.scrollHeight <= box.clientHeight + 2;
}

function storeLine() {
  return config.store ? make("p", "store", config.store) : null;
}

// The code is shown as an image, so that nothing in it can run.
function codeImage(slate) {
  return `data:image/svg+xml,${encodeURIComponent(slate.qr_svg)}`;
}

function along(slate) {
  if (!slate.qr_svg || !slate.phone_url) return null;
  const code = new Image();
  code.alt = words.qrAlt;
  code.src = codeImage(slate);
  return make("div", "along", code, make("div", "", make("p", "line", words.takeAlong), make("p", "note", slate.phone_note || words.scan)));
}

function quietPage() {
  const line = shown.refusal ? words.setUpLine[shown.refusal] : words.welcomeLine;
  const title = shown.refusal ? words.setUp : words.welcome(config.store);
  const [pattern] = placeholder(config.store || "welcome", 32, 18);
  const page = make("section", "quiet", pattern, make("div", "panel", make("h1", "", title), make("p", "lead", line)));
  page.classList.toggle("set-up", Boolean(shown.refusal));
  return page;
}

// ---- the display itself ------------------------------------------------------------------------------------------

// The token comes after the #, which no server and no log sees; it leaves the address bar and lives as long as the tab.
function token() {
  const given = new URLSearchParams(location.hash.slice(1)).get("token");
  try {
    if (given) sessionStorage.setItem("facings.token", given);
    if (given) history.replaceState(null, "", location.pathname + location.search);
    return given ?? sessionStorage.getItem("facings.token");
  } catch {
    return given;
  }
}

// A display runs for months: when the line comes back it takes the page that the server has by now, if that is another.
async function renew() {
  const answer = await fetch(location.pathname, { method: "HEAD", cache: "no-store" }).catch(() => null);
  const build = answer?.ok && answer.headers.get("Facings-Build");
  if (build && build !== config.build && !shown.personal) location.reload();
}

// A few pixels of drift keep a panel from burning in; nobody sees them.
function drift(step = 0) {
  const [x, y] = [[0, 0], [2, 1], [1, -2], [-2, -1], [-1, 2]][step % 5];
  stage.style.setProperty("--shift-x", `${x}px`);
  stage.style.setProperty("--shift-y", `${y}px`);
  setTimeout(drift, 240000, step + 1);
}

// Keeps the page itself, never an answer of the API, so that a display that restarts without a network still opens.
async function keepPage() {
  if (!navigator.serviceWorker) return;
  try {
    await navigator.serviceWorker.register(trusted("/pages/worker.js"), { scope: "/screens/" });
  } catch { /* a player may forbid it; the page works without */ }
}

function trusted(address) {
  const policy = globalThis.trustedTypes?.createPolicy("facings", { createScriptURL: (text) => text });
  return policy ? policy.createScriptURL(address) : address;
}

const line = new Line({ base, token: token(), on: hear, refused, back: renew });
draw();
drift();
keepPage();
setInterval(checkExpiry, 1000);
onTap(stage, (item) => tell("tap", [item]));
addEventListener("resize", () => { shown.drawn = null; draw(); });
document.addEventListener("visibilitychange", checkExpiry);
addEventListener("pagehide", part); // nothing personal waits in a browser's back-forward cache
navigator.wakeLock?.request("screen").catch(() => {});
line.run();
