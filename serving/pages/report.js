// What was shown and what was tapped, told to the server. It knows for whom; the page does not, and never waits for it.

/** Tell `body` ({event_type, recommendation_id, item_ids}) to `address`; a lost word is lost. */
export function report(address, body, token = null) {
  const headers = { "Content-Type": "application/json", ...(token ? { Authorization: `Bearer ${token}` } : {}) };
  fetch(address, { method: "POST", headers, body: JSON.stringify(body), keepalive: true, cache: "no-store" }).catch(() => {});
}

/** Call `tapped(item_id)` when a card within `place` is tapped. */
export function onTap(place, tapped) {
  place.addEventListener("click", (event) => {
    const item = event.target.closest?.("[data-item]")?.dataset.item;
    if (item) tapped(item);
  });
}
