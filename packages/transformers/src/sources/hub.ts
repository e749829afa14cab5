/** A repository of the Hugging Face Hub, through its official client, which is loaded when first asked. */
import { FinetuneError } from '@leantune/core';
import type { Source } from './source.ts';
import { chunksOf } from './web.ts';

/** Options of {@link hubRepository}. */
export interface HubOptions {
  /** Branch, tag or commit. @default 'main' */
  readonly revision?: string;
  /** For gated and private repositories. */
  readonly accessToken?: string;
  /** @default globalThis.fetch */
  readonly fetch?: typeof fetch;
}

/**
 * A repository of the Hugging Face Hub, through its own client, which is loaded when first asked.
 *
 * @param repository `owner/name`
 */
export function hubRepository(repository: string, { revision = 'main', accessToken, fetch }: HubOptions = {}): Source {
  return {
    name: repository,
    async open(path) {
      const { downloadFile } = await loadClient();
      const file = await downloadFile({ repo: repository, path, revision, ...(accessToken && { accessToken }), ...(fetch && { fetch }) });
      return file ? { chunks: chunksOf(file.stream()), size: file.size } : undefined;
    },
  };
}

async function loadClient() {
  try {
    return await import('@huggingface/hub');
  } catch (cause) {
    const advice = "npm install @huggingface/hub, or give the address of a server that has the files: 'https://…'.";
    throw new FinetuneError('bad-option', 'transformers', `a repository of the Hub needs its client. ${advice}`, { cause });
  }
}
