// Keeps the page of a display (never an answer of the API), so that a player that restarts without a network still
// opens. The network comes first: a new version of the page is taken as soon as it can be reached.

const KEPT = "facings-page";
const FILES = ["theme.css", "screen.css", "screen.js", "card.js", "placeholder.js", "report.js", "stream.js", "text.js", "words.js"];
const PATIENCE = 4000;

self.addEventListener("install", (event) => {
  event.waitUntil(caches.open(KEPT).then((cache) => cache.addAll(FILES.map((name) => `/pages/${name}`))));
  self.skipWaiting();
});

// The page that brought this worker goes on without it; it only has to be there at the next start.
self.addEventListener("activate", (event) => event.waitUntil(keepOpenPages()));

async function keepOpenPages() {
  const cache = await caches.open(KEPT);
  const open = await self.clients.matchAll({ type: "window", includeUncontrolled: true });
  const screens = open.filter((client) => new URL(client.url).pathname.startsWith("/screens/"));
  await Promise.allSettled(screens.map((client) => cache.add(new URL(client.url).pathname)));
}

self.addEventListener("fetch", (event) => {
  const { origin, pathname } = new URL(event.request.url);
  const page = event.request.mode === "navigate" && pathname.startsWith("/screens/");
  if (event.request.method === "GET" && origin === self.location.origin && (page || pathname.startsWith("/pages/"))) {
    event.respondWith(networkFirst(event.request, pathname));
  }
});

async function networkFirst(request, pathname) {
  const cache = await caches.open(KEPT);
  try {
    const answer = await fetch(request, { signal: AbortSignal.timeout(PATIENCE) });
    if (answer.ok && answer.headers.has("Facings-Build")) await cache.put(pathname, answer.clone());
    if (answer.status < 500) return answer;
    return (await cache.match(pathname)) ?? answer;
  } catch {
    return (await cache.match(pathname)) ?? Response.error();
  }
}
