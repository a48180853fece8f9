// How data is shown: a calm case for shouted titles, money in the currency's own way. The data itself is never changed.

const KEEP = new Set(["BBQ", "BLT", "DVD", "LED", "TV", "UHT", "USA", "USB", "USDA"]);

/** “SOFT DRINKS 12/18&15PK CAN CAR” reads “Soft drinks 12/18&15pk can car”; a title that has lower case stays as it is. */
export function calm(text) {
  const title = String(text ?? "").replace(/\s+/g, " ").trim();
  if (title.length < 4 || /\p{Ll}/u.test(title) || !/\p{Lu}/u.test(title)) return title;
  const whole = withoutOpenBracket(title);
  const words = whole.split(/(?<![\p{L}\p{N}])|(?![\p{L}\p{N}])/u);
  const lowered = words.map((word) => (KEEP.has(word) ? word : word.toLocaleLowerCase())).join("");
  return lowered.replace(/\p{L}/u, (first) => first.toLocaleUpperCase());
}

// A title cut off by its system inside brackets (“CANDY BARS (SINGLES)(INCLUDING”) is shown up to the bracket.
function withoutOpenBracket(title) {
  const open = title.lastIndexOf("(");
  return open > 3 && !title.includes(")", open) ? title.slice(0, open).trim() : title;
}

/** The last step of a category path: “GROCERY/SOFT DRINKS/CANS” reads “Cans”. */
export function leaf(category) {
  const steps = String(category ?? "").split("/").map((step) => step.trim()).filter(Boolean);
  return calm(steps[steps.length - 1] ?? "");
}

/** The second step of a category path, or the only one: “GROCERY/SOFT DRINKS/CANS” reads “Soft drinks”. */
export function kindOf(category) {
  const [department, kind] = String(category ?? "").split("/");
  return calm(kind || department);
}

/** What to call an item: its title, else the kind of thing it is, else its maker, else its number. */
export function nameOf(item, words) {
  return calm(item.title) || leaf(item.category) || calm(item.brand) || words.item(item.item_id);
}

/** Money in parts ({type, value}) from integer minor units, or null when there is none. */
export function money(minor, currency, language) {
  if (!Number.isFinite(minor)) return null;
  const format = numberFormat(currency, language);
  const digits = format.resolvedOptions().maximumFractionDigits;
  return format.formatToParts(minor / 10 ** digits);
}

function numberFormat(currency, language) {
  try {
    return new Intl.NumberFormat(language, { style: "currency", currency, currencyDisplay: "narrowSymbol" });
  } catch {
    return new Intl.NumberFormat(language, { minimumFractionDigits: 2, maximumFractionDigits: 2 });
  }
}
