// One offer as a card, for the screen and for the phone. Everything from the data goes in as text, never as markup.

import { placeholder } from "./placeholder.js";
import { calm, kindOf, money, nameOf } from "./text.js";
import { wordFor } from "./words.js";

/** Make an element: `make("p", "reason", "A best-seller")`; children may be text or elements. */
export function make(tag, className, ...children) {
  const made = document.createElement(tag);
  if (className) made.className = className;
  made.append(...children.filter((child) => child !== null && child !== undefined && child !== ""));
  return made;
}

/** A card of `item`; `view` holds words, language, currency and the origins that pictures may come from. */
export function card(item, view) {
  const name = nameOf(item, view.words);
  const title = make("h2", "title", ...breakable(name));
  const text = make("div", "text", make("p", "reason", wordFor(view.words.reasons, item.reason)), title, brandLine(item, name, view.words));
  const made = make("article", "card", art(item, name, view), make("div", "words", text, price(item, view)));
  made.dataset.item = item.item_id;
  return made;
}

// Who made it; where nobody is named, what kind of thing it is. Never what the title says already.
function brandLine(item, name, words) {
  const line = (wordFor(words.brands, item.brand) ?? calm(item.brand)) || kindOf(item.category);
  return line && line.toLowerCase() !== name.toLowerCase() ? make("p", "brand", line) : null;
}

function art(item, name, view) {
  const frame = make("div", "art");
  const stand = () => frame.prepend(...placeholder(item.category || name));
  const address = pictureAddress(item.image_url, view.origins);
  if (address) {
    const picture = new Image();
    picture.alt = name;
    picture.decoding = "async";
    picture.addEventListener("error", () => { picture.remove(); stand(); }, { once: true });
    picture.src = address;
    frame.append(picture);
  } else {
    stand();
  }
  const percent = Math.round((item.offer?.discount ?? 0) * 100);
  if (percent >= 1) {
    const badge = make("span", "badge", view.words.off(percent));
    badge.setAttribute("aria-label", view.words.offSpoken(percent));
    badge.setAttribute("role", "img");
    frame.append(badge);
  }
  return frame;
}

// Only our own server and the origins that the shop named; anything else would tell a stranger what is on the screen.
function pictureAddress(text, origins) {
  if (!text) return null;
  try {
    const address = new URL(text, location.href);
    return address.origin === location.origin || origins.includes(address.origin) ? address.href : null;
  } catch {
    return null;
  }
}

function price(item, view) {
  const offer = item.offer ?? {};
  const currency = offer.currency ?? item.currency ?? view.currency;
  const now = money(offer.price ?? item.price, currency, view.language);
  if (!now) return make("p", "price none", view.words.priceAtShelf);
  const was = offer.was > (offer.price ?? item.price) ? money(offer.was, currency, view.language) : null;
  const line = make("p", "price", figure(now, "now"));
  if (was) {
    line.classList.add("reduced");
    line.prepend(make("span", "spoken", `${view.words.now} `));
    line.append(" ", make("span", "spoken", view.words.was), " ", make("s", "was", was.map((part) => part.value).join("")));
  }
  return line;
}

// $3.49 with the sign and the cents small, as price cards are set; read aloud it is still “$3.49”.
function figure(parts, className) {
  return make("span", className, ...parts.map((part) => make("span", part.type, part.value)));
}

// A line may end after a stroke between words (“wheat/multigrain”), not within a size (“12/18”).
function breakable(name) {
  return name.split(/(?<=\p{L}\/)(?=\p{L})/u).flatMap((piece, index) => (index ? [document.createElement("wbr"), piece] : [piece]));
}
