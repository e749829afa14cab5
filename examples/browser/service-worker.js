/**
 * Keeps the page in the browser, so that it works without a network. The build puts in the list of files and a version.
 *
 * A new version is fetched whole before it replaces the old one: a page never runs with files of two versions.
 */
const cacheName = `leantune-${self.__VERSION__}`;
const files = self.__FILES__;

/** Asks the server, for an older file of the same name may lie in the browser's own cache. */
const afresh = (file) => new Request(file, { cache: 'no-cache' });

self.addEventListener('install', (event) => {
  event.waitUntil(caches.open(cacheName).then((cache) => cache.addAll(files.map(afresh))));
});

self.addEventListener('activate', (event) => {
  const stale = (name) => name.startsWith('leantune-') && name !== cacheName;
  event.waitUntil(
    caches
      .keys()
      .then((names) => Promise.all(names.filter(stale).map((name) => caches.delete(name))))
      .then(() => self.clients.claim()),
  );
});

self.addEventListener('fetch', (event) => {
  if (event.request.method !== 'GET') return;
  // Whoever asks, a file is the same. `Vary: Origin` would hide what was fetched here from <script crossorigin>, which sends one.
  const kept = caches.match(event.request, { cacheName, ignoreSearch: true, ignoreVary: true });
  event.respondWith(kept.then((response) => response ?? fetch(event.request)));
});
