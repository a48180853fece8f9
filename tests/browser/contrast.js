// The contrast (WCAG 2.2, 1.4.3) of every kind of text on its ground, and of the initials on their tints.
async () => {
  const light = (colour) => {
    const parts = colour.startsWith("#")
      ? [1, 3, 5].map((at) => parseInt(colour.slice(at, at + 2), 16))
      : colour.match(/[\d.]+/g).slice(0, 3).map(Number);
    const [r, g, b] = parts.map((v) => v / 255).map((v) => (v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const ratio = (one, other) => {
    const [brighter, darker] = [light(one), light(other)].sort((p, q) => q - p);
    return (brighter + 0.05) / (darker + 0.05);
  };
  const ground = (box) => {
    for (let at = box; at; at = at.parentElement) {
      const colour = getComputedStyle(at).backgroundColor;
      if (!colour.endsWith(", 0)")) return colour;
    }
    return "#ffffff";
  };
  const kinds = ["h1", ".store", ".lead", ".line", ".note", ".reason", ".title", ".brand", ".now", ".was", ".badge"];
  const found = {};
  for (const kind of kinds) {
    const box = document.querySelector(kind);
    found[kind] = ratio(getComputedStyle(box).color, ground(box));
  }
  const { TINTS } = await import("/pages/placeholder.js");
  TINTS.forEach(([paper, , , ink], at) => { found[`tint ${at}`] = ratio(paper, ink); });
  return found;
}
