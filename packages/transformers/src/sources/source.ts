/** Where a checkpoint's files come from. */
import { FinetuneError } from '@leantune/core';

export interface SourceFile {
  /** Its bytes, as they arrive. */
  readonly chunks: AsyncIterable<Uint8Array>;
  /** How many there are, if known. */
  readonly size?: number | undefined;
}

export interface Source {
  /** For errors: the folder, address or repository. */
  readonly name: string;
  /** A file by its path inside the checkpoint; undefined if there is none. */
  open(path: string): Promise<SourceFile | undefined>;
}

/** Files that hold JSON are read whole; this is far above a large tokenizer. */
const MAX_JSON_BYTES = 2 ** 28;

/**
 * A JSON file of a checkpoint; undefined if there is none.
 *
 * @throws FinetuneError `bad-file` if it is not JSON, or too large to be
 */
export async function readJson(source: Source, path: string): Promise<{ readonly [field: string]: unknown } | undefined> {
  const file = await source.open(path);
  if (!file) return undefined;
  const decoder = new TextDecoder();
  let [text, size] = ['', 0];
  for await (const chunk of file.chunks) {
    size += chunk.length;
    if (size > MAX_JSON_BYTES)
      throw new FinetuneError('bad-file', 'transformers', `${source.name}: ${path} is larger than ${MAX_JSON_BYTES} bytes; expected JSON.`);
    text += decoder.decode(chunk, { stream: true });
  }
  try {
    return JSON.parse(text + decoder.decode());
  } catch (cause) {
    throw new FinetuneError(
      'bad-file',
      'transformers',
      `${source.name}: ${path} is not JSON (${(cause as Error).message}). Fetch it again.`,
      { cause },
    );
  }
}
