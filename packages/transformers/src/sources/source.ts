/** Where a checkpoint's files come from. */
import { FinetuneError } from '@leantune/core';

/** A file that is open for reading. */
export interface SourceFile {
  /** Its bytes, as they arrive. */
  readonly chunks: AsyncIterable<Uint8Array>;
  /** How many there are, if known. */
  readonly size?: number | undefined;
}

/** Where the files of a checkpoint come from. */
export interface Source {
  /** For errors: the folder, address or repository. */
  readonly name: string;
  /** A file by its path inside the checkpoint; undefined if there is none. */
  open(path: string): Promise<SourceFile | undefined>;
}

/** Files that are read whole: this is far above a large tokenizer. */
const MAX_TEXT_BYTES = 2 ** 28;

/** A text file of a checkpoint; undefined if there is none. */
export async function readText(source: Source, path: string): Promise<string | undefined> {
  const file = await source.open(path);
  if (!file) return undefined;
  const decoder = new TextDecoder();
  let [text, size] = ['', 0];
  for await (const chunk of file.chunks) {
    size += chunk.length;
    if (size > MAX_TEXT_BYTES) {
      throw new FinetuneError('bad-file', 'transformers', `${source.name}: ${path} is larger than ${MAX_TEXT_BYTES} bytes; expected text.`);
    }
    text += decoder.decode(chunk, { stream: true });
  }
  return text + decoder.decode();
}

/**
 * A JSON file of a checkpoint; undefined if there is none.
 *
 * @throws FinetuneError `bad-file` if it is not JSON, or too large to be
 */
export async function readJson(source: Source, path: string): Promise<{ readonly [field: string]: unknown } | undefined> {
  const text = await readText(source, path);
  if (text === undefined) return undefined;
  try {
    return JSON.parse(text);
  } catch (cause) {
    const problem = `${path} is not JSON (${(cause as Error).message}). Fetch it again.`;
    throw new FinetuneError('bad-file', 'transformers', `${source.name}: ${problem}`, { cause });
  }
}
