// Keeps the page for the next visit, and for one without a network. A new build has a new store, which replaces the old.
const STORE = 'fake-torchrun-BUILD';
const KEPT = [/* KEPT */];

// The files come from the browser's own cache, into which the first visit has put most of them.
self.addEventListener('install', (event) => event.waitUntil((async () => {
  const store = await caches.open(STORE);
  await Promise.all(KEPT.map(async (name) => {
    const response = await fetch(new Request(name, { cache: 'default' }));
    if (!response.ok) throw new Error(`${name}: HTTP ${response.status}`);
    await store.put(new URL(name, self.location), response);
  }));
  await self.skipWaiting();
})()));

self.addEventListener('activate', (event) => event.waitUntil((async () => {
  for (const name of await caches.keys()) {
    if (name.startsWith('fake-torchrun-') && name !== STORE) await caches.delete(name);
  }
  await self.clients.claim();
})()));

async function answer(request) {
  const key = new URL(request.url);
  key.search = '';
  const store = await caches.open(STORE);
  const kept = await store.match(key);
  // The page itself is asked for, so that a new build is seen; everything else belongs to this build.
  if (kept && request.mode !== 'navigate') return kept;
  try {
    const fresh = await fetch(request);
    if (fresh.ok && request.mode !== 'navigate') await store.put(key, fresh.clone());
    return fresh;
  } catch (error) {
    if (kept) return kept;
    throw error;
  }
}

self.addEventListener('fetch', (event) => {
  const { request } = event;
  if (request.method !== 'GET' || new URL(request.url).origin !== self.location.origin) return;
  event.respondWith(answer(request));
});
