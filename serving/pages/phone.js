// The list that a shopper took along: the item asked for first, then the rest, until the list closes.

import { card, make } from "./card.js";
import { onTap, report } from "./report.js";
import { wordsOf } from "./words.js";

const { list, store, currency, picture_origins: origins } = JSON.parse(document.getElementById("config").textContent);
const language = document.documentElement.lang;
const words = wordsOf(language);
const view = { words, language, currency: list.currency ?? currency, origins };
const stage = document.getElementById("stage");
// The server's clock gives the time left, this page counts it down: a phone's clock may say anything.
const closes = performance.now() + (list.expires_at ? Date.parse(list.expires_at) - Date.parse(list.now) : Infinity);

function offer(item, first) {
  const made = card(item, view);
  made.classList.toggle("first", first);
  if (item.in_stock === true) made.querySelector(".text").append(make("p", "stock", words.inStock(store)));
  return made;
}

function open() {
  const first = list.items.find((item) => item.item_id === list.claimed_item_id);
  const others = list.items.filter((item) => item !== first);
  const left = make("p", "lead", "");
  left.id = "left";
  const parts = [];
  if (first) parts.push(make("h2", "part", words.tapped), offer(first, true));
  if (others.length) parts.push(make("h2", "part", first ? words.alsoOnList : words.offers), ...others.map((item) => offer(item, false)));
  if (!list.items.length) parts.push(make("p", "lead", words.emptyList));
  stage.replaceChildren(make("header", "", store ? make("p", "store", store) : null, make("h1", "", words.yourList), left), ...parts, make("footer", "", words.private));
  tick();
}

function close() {
  document.title = words.listClosed;
  stage.className = "notice";
  stage.replaceChildren(make("h1", "", words.listClosed), make("p", "lead", words.listClosedLine));
}

function tick() {
  const minutes = Math.ceil((closes - performance.now()) / 60000);
  if (minutes <= 0) { close(); return; }
  const left = document.getElementById("left");
  if (Number.isFinite(minutes)) left.textContent = minutes > 90 ? words.openForHours(Math.round(minutes / 60)) : words.openFor(minutes);
  setTimeout(tick, 5000);
}

const responses = `/v1/claims/${location.pathname.split("/").pop()}/responses`;

// What a person saw and touched here, under the slate it belongs to; the code in the address says for whom that was.
function tell(kind, items) {
  const slateOf = (item) => item.recommendation_id ?? list.recommendation_id;
  for (const slate of new Set(items.map(slateOf))) {
    const own = items.filter((item) => slateOf(item) === slate).map((item) => item.item_id);
    report(responses, { event_type: kind, recommendation_id: slate, item_ids: own });
  }
}

document.title = words.yourList;
open();
if (list.personal && list.recommendation_id) {
  report(responses, { event_type: "scan", ...(list.claimed_item_id ? { item_ids: [list.claimed_item_id] } : {}) });
  tell("impression", list.items);
  onTap(stage, (id) => tell("tap", list.items.filter((item) => item.item_id === id)));
}
