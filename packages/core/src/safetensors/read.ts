/** Reads a safetensors file as it arrives, one tensor at a time: never the file, and never two tensors, in memory. */
import { decodeFloats, type FloatDtype } from './dtypes.ts';
import { badFile, headerLength, parseHeader, type SafetensorsHeader, type TensorEntry } from './header.ts';

/** A tensor as it lies in a safetensors file. */
export interface StoredTensor extends TensorEntry {
  /** Its values as they lie in the file, little-endian. */
  readonly bytes: Uint8Array;
}

/** What reading a safetensors file can be told. */
export interface ReadOptions {
  /** Named in errors. @default 'the file' */
  readonly file?: string;
  /** Size of the whole file in bytes, if known: what is cut short is then refused before its first tensor. */
  readonly fileBytes?: number | undefined;
  /** Tensors to give; the bytes of others are passed over. @default all */
  readonly wanted?: (tensor: TensorEntry) => boolean;
  /** Called before the first tensor; may throw to end it there. */
  readonly onHeader?: (header: SafetensorsHeader) => void;
}

/**
 * The tensors of a file, in its order. Takes the chunks of a `ReadableStream`, a file, or a list of one.
 *
 * @throws FinetuneError `bad-file`: not a safetensors file, a faulty header, or an end too soon
 *
 * @example
 * for await (const tensor of readSafetensors((await fetch(url)).body!)) console.log(tensor.name, floatsOf(tensor));
 */
export async function* readSafetensors(
  chunks: AsyncIterable<Uint8Array> | Iterable<Uint8Array>,
  { file = 'the file', fileBytes, wanted = () => true, onHeader }: ReadOptions = {},
): AsyncGenerator<StoredTensor, void> {
  const input = new Input(chunks, fileBytes !== undefined);
  try {
    const header = await takeHeader(input, file, fileBytes);
    onHeader?.(header);
    for (const tensor of header.tensors) {
      const size = tensor.end - tensor.begin;
      const bytes = wanted(tensor) ? await input.take(size) : undefined;
      if ((bytes?.length ?? (await input.skip(size))) < size)
        throw badFile(file, `ends inside "${tensor.name}", which needs bytes ${tensor.begin} to ${tensor.end} behind the header`);
      if (bytes) yield { ...tensor, bytes };
    }
  } finally {
    await input.close();
  }
}

/** The header alone; the rest of the file is not waited for. Throws as {@link readSafetensors}. */
export async function readSafetensorsHeader(
  chunks: AsyncIterable<Uint8Array> | Iterable<Uint8Array>,
  { file = 'the file', fileBytes }: Pick<ReadOptions, 'file' | 'fileBytes'> = {},
): Promise<SafetensorsHeader> {
  const input = new Input(chunks, fileBytes !== undefined);
  try {
    return await takeHeader(input, file, fileBytes);
  } finally {
    await input.close();
  }
}

async function takeHeader(input: Input, file: string, fileBytes: number | undefined): Promise<SafetensorsHeader> {
  const length = headerLength(await input.take(8), file, fileBytes);
  const json = await input.take(length);
  if (json.length < length) throw badFile(file, `ends after ${8 + json.length} bytes, inside a header of ${length}`);
  return parseHeader(json, file, fileBytes === undefined ? undefined : fileBytes - 8 - length);
}

/**
 * Values as float32.
 *
 * @throws FinetuneError `bad-file` for a dtype other than F32, F16 and BF16
 */
export function floatsOf({ name, dtype, bytes }: StoredTensor): Float32Array {
  if (dtype !== 'F32' && dtype !== 'F16' && dtype !== 'BF16')
    throw badFile(`"${name}"`, `got dtype ${dtype}; expected F32, F16 or BF16`, 'Save the weights as floats, not quantized.');
  return decodeFloats(bytes, dtype as FloatDtype);
}

/** Taken on trust. */
const FIRST_BYTES = 65_536;

/** Cuts chunks of any size into pieces of the sizes asked for. */
class Input {
  readonly #chunks: AsyncIterator<Uint8Array> | Iterator<Uint8Array>;
  readonly #sizeIsKnown: boolean;
  #rest: Uint8Array = new Uint8Array(0);

  constructor(chunks: AsyncIterable<Uint8Array> | Iterable<Uint8Array>, sizeIsKnown: boolean) {
    this.#sizeIsKnown = sizeIsKnown;
    this.#chunks = Symbol.asyncIterator in chunks ? chunks[Symbol.asyncIterator]() : chunks[Symbol.iterator]();
  }

  /**
   * The next `size` bytes in a buffer of their own; fewer at the end of the input. Where the file's size is not known nothing has checked
   * `size`: the buffer then grows with what arrives.
   */
  async take(size: number): Promise<Uint8Array> {
    if (!(await this.#more())) return new Uint8Array(0);
    let bytes = new Uint8Array(this.#sizeIsKnown ? size : Math.min(size, FIRST_BYTES));
    const filled = await this.#pass(size, (part, at) => {
      if (at + part.length > bytes.length) {
        const larger = new Uint8Array(Math.min(size, Math.max(at + part.length, 2 * bytes.length)));
        larger.set(bytes);
        bytes = larger;
      }
      bytes.set(part, at);
    });
    return filled === size ? bytes : bytes.subarray(0, filled);
  }

  /** Passes over `size` bytes; returns how many there were. */
  skip(size: number): Promise<number> {
    return this.#pass(size, () => {});
  }

  async close(): Promise<void> {
    await this.#chunks.return?.();
  }

  async #pass(size: number, use: (part: Uint8Array, at: number) => void): Promise<number> {
    let at = 0;
    while (at < size && (await this.#more())) {
      const part = this.#rest.subarray(0, size - at);
      use(part, at);
      at += part.length;
      this.#rest = this.#rest.subarray(part.length);
    }
    return at;
  }

  async #more(): Promise<boolean> {
    while (this.#rest.length === 0) {
      const { done, value } = await this.#chunks.next();
      if (done) return false;
      this.#rest = value;
    }
    return true;
  }
}
