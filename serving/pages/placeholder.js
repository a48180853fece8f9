// What stands where an item has no picture: a quiet pattern of quarter circles in the tint of its department, with the
// initial of its category. Drawn from the category alone, so a category always looks the same; never a made-up photograph.

const SVG = "http://www.w3.org/2000/svg";
// Ground, two tones of the pattern, ink of the initial. The ink has a contrast of at least 4.5 on the ground.
export const TINTS = [
  ["#e3e9dd", "#cfdbc6", "#b6c8ab", "#3c5433"], // sage
  ["#f2e3d3", "#e9d1b8", "#dcba97", "#6f4a22"], // oat
  ["#f1ddd6", "#e7c6bb", "#d9a999", "#7a3b2b"], // clay
  ["#dde6ea", "#c6d6dd", "#a9c0ca", "#2f5260"], // mist
  ["#ece6cf", "#dfd5b0", "#cdbf8c", "#5f5322"], // straw
  ["#e6e0ea", "#d5cbdc", "#bfb0c9", "#54416a"], // heather
  ["#d9e8e3", "#c0d9d0", "#a0c3b7", "#255647"], // fern
  ["#ecdfe2", "#dec7cd", "#cba8b1", "#6d3646"], // rose
];
const TILE = 40;

/** A decorative drawing for a category, `columns` × `rows` tiles; it fills its box and is cropped, never stretched. */
export function placeholder(category, columns = 10, rows = 10) {
  const [department, kind = department] = String(category).split("/");
  const [ground, light, dark, ink] = TINTS[hash(department) % TINTS.length];
  const random = generator(hash(kind));
  const drawing = element("svg", { viewBox: `0 0 ${columns * TILE} ${rows * TILE}`, preserveAspectRatio: "xMidYMid slice" });
  drawing.setAttribute("aria-hidden", "true");
  drawing.classList.add("placeholder");
  drawing.append(element("rect", { width: columns * TILE, height: rows * TILE, fill: ground }));
  for (let tile = 0; tile < columns * rows; tile += 1) {
    const turn = Math.floor(random() * 4);
    const tone = random();
    if (tone > 0.82) continue; // a pause here and there keeps the pattern quiet
    drawing.append(quarter((tile % columns) * TILE, Math.floor(tile / columns) * TILE, turn, tone < 0.27 ? dark : light));
  }
  const mark = document.createElement("span");
  mark.className = "initial";
  mark.setAttribute("aria-hidden", "true");
  mark.style.setProperty("--ground", ground);
  mark.style.setProperty("--ink", ink);
  mark.textContent = (kind.match(/\p{L}/u)?.[0] ?? "").toLocaleUpperCase();
  return [drawing, mark];
}

// A quarter of a disc with its centre in one of the tile's corners.
function quarter(x, y, turn, fill) {
  const corners = [[0, 0, 1, 0, 0, 1], [1, 0, 1, 1, 0, 0], [1, 1, 0, 1, 1, 0], [0, 1, 0, 0, 1, 1]];
  const [cx, cy, ax, ay, bx, by] = corners[turn].map((step, index) => step * TILE + (index % 2 ? y : x));
  return element("path", { d: `M${cx} ${cy}L${ax} ${ay}A${TILE} ${TILE} 0 0 1 ${bx} ${by}Z`, fill });
}

function element(name, attributes) {
  const made = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  return made;
}

// FNV-1a; only for looks.
function hash(text) {
  let value = 0x811c9dc5;
  for (const character of text) value = Math.imul(value ^ character.codePointAt(0), 0x01000193);
  return value >>> 0;
}

// mulberry32: a small seeded generator, so that a category's pattern never changes.
function generator(seed) {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4294967296;
  };
}
