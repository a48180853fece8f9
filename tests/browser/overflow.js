// Names what sticks out of the window or of its own card, and whether the page could be scrolled.
() => {
  const out = [];
  const root = document.documentElement;
  const screen = { left: 0, top: 0, right: innerWidth, bottom: innerHeight };
  if (root.scrollWidth > innerWidth || root.scrollHeight > innerHeight) out.push("the page scrolls");
  if (getComputedStyle(root).cursor !== "none") out.push("the cursor shows");
  for (const box of document.querySelectorAll("main *:not(.spoken):not(svg):not(svg *):not(.decimal):not(.art *)")) {
    const own = box.getBoundingClientRect();
    const card = box.parentElement.closest(".card");
    const frame = card ? card.getBoundingClientRect() : screen;
    const inside = own.left > frame.left - 1.5 && own.top > frame.top - 1.5 && own.right < frame.right + 1.5 && own.bottom < frame.bottom + 1.5;
    if (own.width && !inside) out.push(`${box.tagName}.${box.className} sticks out: ${JSON.stringify(own)}`);
  }
  for (const line of document.querySelectorAll(".title, h1, .price, .text")) {
    if (line.scrollWidth > line.clientWidth + 1) out.push(`${line.className || line.tagName} is cut: ${line.textContent}`);
  }
  return out;
}
