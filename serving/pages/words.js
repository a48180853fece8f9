// Every word a shopper reads, in one place. To speak another language, add a dictionary beside `en` with the same keys;
// the page takes the one of <html lang>, and falls back to English for a key that a dictionary lacks.

export const WORDS = {
  en: {
    welcome: (store) => (store ? `Welcome to ${store}` : "Welcome"),
    greeting: "Good to see you",
    greetingNamed: (name) => `Good to see you, ${name}`,
    picked: "A few things picked for you.",
    notMe: "That’s not me",
    favourites: "Today’s favourites",
    favouritesLine: "What our shoppers come back for.",
    welcomeLine: "Have a lovely visit.",
    takeAlong: "Take this list with you",
    scan: "Point your phone’s camera at the code.",
    qrAlt: "QR code that opens this list on your phone",
    was: "was",
    now: "now",
    off: (percent) => `−${percent}%`,
    offSpoken: (percent) => `${percent} percent off`,
    priceAtShelf: "Price at the shelf",
    item: (id) => `Item ${id}`,
    // What some data says in the place of a brand (Complete Journey does): the house's own goods, and everybody else's.
    brands: { private: "Our own brand", national: "" },
    reasons: {
      bought_before: "One of your regulars",
      similar_taste: "Chosen to your taste",
      popular: "A best-seller",
      popular_in_store: "A store favourite",
      popular_in_neighbourhood: "A favourite around here",
      due_again: "Time for more?",
      goes_with: "Goes well with what you buy",
      watched: "Seen in what you watched",
      maker_you_like: "From a maker you like",
      new_in_category: "New, of the kind you buy",
    },
    yourList: "Your list",
    offers: "On the screen for you",
    tapped: "You asked about",
    alsoOnList: "Also on your list",
    inStock: (store) => (store ? `In stock at ${store}` : "In stock here"),
    openFor: (minutes) => (minutes <= 1 ? "Open for another minute" : `Open for another ${minutes} minutes`),
    openForHours: (hours) => (hours === 1 ? "Open for another hour" : `Open for another ${hours} hours`),
    listClosed: "This list has closed",
    listClosedLine: "Lists from the screen stay open for a short while. Scan the code again for a new one.",
    emptyList: "There is nothing on this list just now.",
    private: "Only this link opens the list. It counts nothing and stores nothing on your phone.",
    setUp: "This screen is not connected yet",
    setUpLine: {
      401: "It has no token, or one that is not known. On the server, run “facings token add NAME --scope screen” and open this page with “#token=…” at the end of its address.",
      403: "Its token may not read this screen. On the server, make one for it with “facings token add NAME --scope screen” and open this page with “#token=…” at the end of its address.",
      404: "The server does not know this screen. Add it to the table “screens” and ingest the folder again.",
    },
  },
};

/** The word that a dictionary has for a code from the data, or undefined; never what every object has, such as “constructor”. */
export function wordFor(dictionary, code) {
  const key = String(code ?? "").toLowerCase();
  return Object.hasOwn(dictionary, key) ? dictionary[key] : undefined;
}

/** The dictionary of a language tag (“en”, “en-GB”), completed with English. */
export function wordsOf(language) {
  const base = String(language || "en").toLowerCase().split("-")[0];
  const own = WORDS[base] || {};
  return { ...WORDS.en, ...own, brands: { ...WORDS.en.brands, ...own.brands }, reasons: { ...WORDS.en.reasons, ...own.reasons } };
}
