/** Files below an http(s) address, kept in the browser's cache if asked to. */
import { FinetuneError } from '@leantune/core';
import type { Source, SourceFile } from './source.ts';

/** Options of {@link webFolder}. */
export interface WebOptions {
  /** Of every request, such as `{ Authorization: 'Bearer …' }`. */
  readonly headers?: { readonly [name: string]: string };
  /** Keeps files under this name in the browser's Cache storage, and reads them from there. @default no */
  readonly cache?: string;
  /** @default globalThis.fetch */
  readonly fetch?: typeof fetch;
}

/**
 * A checkpoint below `base`: `https://example.com/models/tiny/`.
 *
 * @throws FinetuneError `bad-file` on opening a file that the server refuses; one that it does not have is undefined
 */
export function webFolder(base: string, { headers = {}, cache, fetch = globalThis.fetch }: WebOptions = {}): Source {
  return {
    name: base,
    async open(path) {
      const url = addressOf(base, path);
      const store = cache !== undefined && 'caches' in globalThis ? await caches.open(cache) : undefined;
      const kept = await store?.match(url);
      if (kept) return fileOf(kept);
      const response = await fetch(url, { headers });
      if (response.status === 404) return undefined;
      if (!response.ok || !response.body)
        throw new FinetuneError(
          'bad-file',
          'transformers',
          `got status ${response.status} ${response.statusText} for ${url}; expected 200. Check the address, and the headers if it wants a login.`,
        );
      if (!store) return fileOf(response);
      await store.put(url, response);
      return fileOf((await store.match(url))!);
    },
  };
}

/** Puts the path before a query, which many signed addresses end in. */
function addressOf(base: string, path: string): string {
  const url = new URL(base);
  url.pathname = `${url.pathname.replace(/\/$/, '')}/${path}`;
  return url.href;
}

function fileOf(response: Response): SourceFile {
  const length = response.headers.get('content-length');
  // With an encoding the length is that of the compressed bytes.
  const plain = length !== null && !response.headers.get('content-encoding');
  return { chunks: chunksOf(response.body!), ...(plain && { size: Number(length) }) };
}

/** Not every browser lets a stream be iterated. */
export async function* chunksOf(stream: ReadableStream<Uint8Array>): AsyncGenerator<Uint8Array, void> {
  const reader = stream.getReader();
  try {
    for (let next = await reader.read(); !next.done; next = await reader.read()) yield next.value;
  } finally {
    reader.cancel().catch(() => {}); // not awaited: it may wait for whoever else reads the same response
  }
}
