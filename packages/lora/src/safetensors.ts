/**
 * The safetensors format: u64 length, JSON header, then the values, little endian. https://github.com/huggingface/safetensors
 *
 * Reads F32, F16 and BF16; writes F32 with peft's metadata.
 */
import { FinetuneError } from '@leantune/core';

/** Row-major values. */
export interface Values {
  readonly shape: readonly number[];
  readonly data: Float32Array;
}

export type NamedValues = { readonly [name: string]: Values };

const metadata = { format: 'pt' };

export function writeSafetensors(tensors: NamedValues): Uint8Array {
  let at = 0;
  const entries = Object.entries(tensors).map(([name, { shape, data }]) => {
    const entry = { dtype: 'F32', shape, data_offsets: [at, at + data.byteLength] };
    at += data.byteLength;
    return [name, entry] as const;
  });
  const json = JSON.stringify({ __metadata__: metadata, ...Object.fromEntries(entries) });
  const header = new TextEncoder().encode(json.padEnd(Math.ceil(new TextEncoder().encode(json).length / 8) * 8));
  const bytes = new Uint8Array(8 + header.length + at);
  new DataView(bytes.buffer).setBigUint64(0, BigInt(header.length), true);
  bytes.set(header, 8);
  for (const [name, { data_offsets }] of entries) {
    const view = new DataView(bytes.buffer, 8 + header.length + data_offsets[0]!);
    tensors[name]!.data.forEach((x, i) => void view.setFloat32(4 * i, x, true));
  }
  return bytes;
}

/** @throws FinetuneError `bad-file` if it is cut short, no safetensors file, or holds another dtype */
export function readSafetensors(bytes: Uint8Array): NamedValues {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const length = bytes.byteLength < 8 ? Infinity : Number(view.getBigUint64(0, true));
  if (8 + length > bytes.byteLength) throw bad(`has ${bytes.byteLength} bytes; expected a header of ${length}`);
  const header = parse(new TextDecoder().decode(bytes.subarray(8, 8 + length)));
  const faults: string[] = [];
  const values = Object.entries(header).flatMap(([name, { dtype, shape, data_offsets }]) => {
    if (name === '__metadata__') return [];
    const [start, end] = data_offsets.map((offset) => 8 + length + offset) as [number, number];
    const [width, decode] = decoders[dtype] ?? [0, () => 0];
    const size = shape.reduce((n, d) => n * d, 1);
    if (width === 0) faults.push(`"${name}" is ${dtype}; expected F32, F16 or BF16`);
    else if (end - start !== width * size || end > bytes.byteLength)
      faults.push(`"${name}" [${shape}] has ${Math.max(0, Math.min(end, bytes.byteLength) - start)} bytes; expected ${width * size}`);
    else return [[name, { shape, data: Float32Array.from({ length: size }, (_, i) => decode(view, start + i * width)) }] as const];
    return [];
  });
  if (faults.length > 0) throw bad(faults.join('; '));
  return Object.fromEntries(values);
}

const bad = (message: string) => new FinetuneError('bad-file', 'safetensors', `the file ${message}. Save or copy it again.`);

type Entry = { readonly dtype: string; readonly shape: number[]; readonly data_offsets: number[] };

function parse(json: string): { readonly [name: string]: Entry } {
  try {
    return JSON.parse(json);
  } catch (error) {
    throw new FinetuneError('bad-file', 'safetensors', 'the header is no JSON. Save or copy the file again.', { cause: error });
  }
}

const bits = new DataView(new ArrayBuffer(4));
const decoders: { readonly [dtype: string]: readonly [width: number, decode: (view: DataView, at: number) => number] } = {
  F32: [4, (view, at) => view.getFloat32(at, true)],
  F16: [2, (view, at) => half(view.getUint16(at, true))],
  BF16: [
    2,
    (view, at) => {
      bits.setUint32(0, view.getUint16(at, true) << 16);
      return bits.getFloat32(0);
    },
  ],
};

function half(h: number): number {
  const [sign, exponent, fraction] = [h >> 15 ? -1 : 1, (h >> 10) & 31, h & 1023];
  if (exponent === 31) return fraction ? Number.NaN : sign * Infinity;
  return sign * (exponent ? 2 ** (exponent - 15) * (1 + fraction / 1024) : 2 ** -14 * (fraction / 1024));
}
