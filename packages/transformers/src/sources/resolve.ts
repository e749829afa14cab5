/** What a string means as a source. */
import { FinetuneError } from '@leantune/core';
import { hubRepository } from './hub.ts';
import { localFolder } from './local-folder.ts';
import type { Source } from './source.ts';
import { webFolder } from './web.ts';

/** `./folder`, `/folder`, `file://…` -> a folder; `https://…` -> a server; `owner/name` -> a repository of the Hub. */
export function resolveSource(source: string | Source): Source {
  if (typeof source !== 'string') return source;
  if (/^https?:\/\//.test(source)) return webFolder(source);
  if (/^(file:\/\/|\.{0,2}\/|\.{1,2}$|[a-z]:[\\/])/i.test(source)) return localFolder(source);
  if (/^[\w.-]+\/[\w.-]+$/.test(source)) return hubRepository(source);
  throw new FinetuneError(
    'bad-option',
    'transformers',
    `got source "${source}"; expected a folder ("./models/tiny", "file://…"), an address ("https://…") or a repository ("owner/name").`,
  );
}
