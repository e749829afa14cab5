/**
 * The safetensors header: a little-endian u64 length, then JSON of that length that says where each tensor lies in the rest of the
 * file. https://github.com/huggingface/safetensors. Everything is checked here, before anything is allocated: a file comes from
 * somebody else.
 */
import { FinetuneError } from '../errors.ts';
import { bytesPerElement } from './dtypes.ts';

/** Type, shape and place of a tensor in a safetensors file. */
export interface TensorEntry {
  readonly name: string;
  /** `'F32'`, `'F16'`, `'BF16'`, `'I64'`, … */
  readonly dtype: string;
  readonly shape: readonly number[];
  /** Where its values lie behind the header, in bytes. */
  readonly begin: number;
  readonly end: number;
}

/** What is in a safetensors file, and where. */
export interface SafetensorsHeader {
  /** In the order of the file. */
  readonly tensors: readonly TensorEntry[];
  readonly metadata: { readonly [key: string]: string };
}

/** The limit of the reference implementation. */
const MAX_HEADER_BYTES = 100_000_000;

export const badFile = (
  file: string,
  problem: string,
  advice = 'Fetch the file again, or save it again with safetensors.',
): FinetuneError => new FinetuneError('bad-file', 'safetensors', `${file}: ${problem}. ${advice}`);

/**
 * The length of the JSON, from the first 8 bytes.
 *
 * @param fileBytes size of the whole file, if known
 */
export function headerLength(prefix: Uint8Array, file: string, fileBytes?: number): number {
  if (prefix.length < 8) throw badFile(file, `got ${prefix.length} bytes; expected a header length of 8 bytes and a header`);
  const length = Number(new DataView(prefix.buffer, prefix.byteOffset).getBigUint64(0, true));
  const limit = Math.min(MAX_HEADER_BYTES, (fileBytes ?? Number.POSITIVE_INFINITY) - 8);
  if (length < 2 || length > limit)
    throw badFile(file, `got a header of ${length} bytes; expected 2 to ${limit}. It is no safetensors file, or a part of one`);
  return length;
}

/**
 * The tensors of a file, by its header's JSON.
 *
 * @param dataBytes how many bytes follow the header, if known
 * @throws FinetuneError `bad-file` with every fault: unknown dtypes, impossible shapes, offsets that overlap, leave holes or pass the end
 */
export function parseHeader(json: Uint8Array, file: string, dataBytes?: number): SafetensorsHeader {
  let parsed: unknown;
  try {
    parsed = JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(json));
  } catch (cause) {
    throw badFile(file, `the header is not JSON (${(cause as Error).message})`);
  }
  if (typeof parsed !== 'object' || parsed === null || Array.isArray(parsed)) throw badFile(file, 'the header is not a JSON object');
  const { __metadata__: metadata = {}, ...entries } = parsed as { [name: string]: unknown };
  const faults: string[] = [];
  if (!isStrings(metadata)) faults.push(`__metadata__ is ${JSON.stringify(metadata)}; expected strings by name`);
  const tensors = Object.entries(entries).flatMap(([name, entry]) => {
    const read = readEntry(name, entry);
    if (typeof read !== 'string') return [read];
    faults.push(read);
    return [];
  });
  tensors.sort((a, b) => a.begin - b.begin || a.end - b.end);
  if (faults.length === 0) faults.push(...layoutFaults(tensors, dataBytes));
  if (faults.length > 0) {
    const more = faults.length > 8 ? ` and ${faults.length - 8} more` : '';
    throw badFile(file, `${faults.length} fault(s) in the header: ${faults.slice(0, 8).join('; ')}${more}`);
  }
  return { tensors, metadata: metadata as SafetensorsHeader['metadata'] };
}

const isStrings = (x: unknown): boolean =>
  typeof x === 'object' && x !== null && !Array.isArray(x) && Object.values(x).every((value) => typeof value === 'string');

/** An entry, or what is wrong with it. */
function readEntry(name: string, entry: unknown): TensorEntry | string {
  const { dtype, shape, data_offsets: offsets } = (entry ?? {}) as { [field: string]: unknown };
  const isNumbers = (list: unknown): list is number[] =>
    Array.isArray(list) && list.every((n) => Number.isSafeInteger(n) && (n as number) >= 0);
  const size = typeof dtype === 'string' && Object.hasOwn(bytesPerElement, dtype) ? bytesPerElement[dtype] : undefined;
  if (size === undefined) return `"${name}" has dtype ${JSON.stringify(dtype)}; expected one of ${Object.keys(bytesPerElement).join(' ')}`;
  if (!isNumbers(shape)) return `"${name}" has shape ${JSON.stringify(shape)}; expected a list of whole numbers`;
  if (!isNumbers(offsets) || offsets.length !== 2) return `"${name}" has data_offsets ${JSON.stringify(offsets)}; expected [begin, end]`;
  const bytes = shape.reduce((product, dim) => product * dim, size);
  const [begin, end] = offsets as [number, number];
  if (bytes !== end - begin)
    return `"${name}" of ${dtype} [${shape}] takes ${bytes} bytes; its data_offsets [${offsets}] have ${end - begin}`;
  return { name, dtype: dtype as string, shape, begin, end };
}

function layoutFaults(tensors: readonly TensorEntry[], dataBytes: number | undefined): string[] {
  const faults: string[] = [];
  let at = 0;
  for (const { name, begin, end } of tensors) {
    if (begin !== at)
      faults.push(`"${name}" begins at ${begin} and ${begin < at ? 'overlaps what ends' : 'leaves a hole after what ends'} at ${at}`);
    at = Math.max(at, end);
  }
  if (dataBytes !== undefined && at !== dataBytes) faults.push(`the tensors take ${at} bytes, and the file has ${dataBytes}`);
  return faults;
}
