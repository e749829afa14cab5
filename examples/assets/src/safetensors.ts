/**
 * The safetensors format: a little-endian u64 length, a JSON header of that length, then the values of all tensors.
 * https://github.com/huggingface/safetensors
 */
import { readFile } from 'node:fs/promises';
import { AssetError } from './fetch-package.ts';

export interface StoredTensor {
  readonly shape: number[];
  readonly values: Float32Array;
}

interface Entry {
  readonly dtype: string;
  readonly shape: number[];
  readonly data_offsets: [number, number];
}

/**
 * The tensors of the file whose name is `wanted`; float16 becomes float32.
 *
 * @throws {AssetError} a wanted tensor is of another dtype
 */
export async function readSafetensors(file: string, wanted: (name: string) => boolean = () => true): Promise<Map<string, StoredTensor>> {
  const bytes = await readFile(file);
  const start = 8 + Number(bytes.readBigUInt64LE(0));
  const header: { [name: string]: Entry } = JSON.parse(bytes.toString('utf8', 8, start));
  const entries = Object.entries(header).filter(([name]) => name !== '__metadata__' && wanted(name));
  return new Map(
    entries.map(
      ([
        name,
        {
          dtype,
          shape,
          data_offsets: [from, to],
        },
      ]) => {
        // A copy is aligned to its elements; a view into the file may not be.
        const data = bytes.buffer.slice(bytes.byteOffset + start + from, bytes.byteOffset + start + to) as ArrayBuffer;
        if (dtype === 'F32') return [name, { shape, values: new Float32Array(data) }];
        if (dtype === 'F16') return [name, { shape, values: floatsOfHalves(new Uint16Array(data)) }];
        throw new AssetError('EDTYPE', `${name} is ${dtype}; this reader takes F32 and F16.`);
      },
    ),
  );
}

/** float16 to float32 through a table of all 65,536 halves. */
export function floatsOfHalves(halves: Uint16Array): Float32Array {
  table ??= Float32Array.from({ length: 1 << 16 }, (_, half) => floatOfHalf(half));
  const floats = new Float32Array(halves.length);
  for (let i = 0; i < halves.length; i++) floats[i] = table[halves[i]!]!;
  return floats;
}

let table: Float32Array | undefined;

/** 1 sign bit, 5 exponent bits, 10 fraction bits (IEEE 754 binary16). */
function floatOfHalf(half: number): number {
  const sign = half & 0x8000 ? -1 : 1;
  const exponent = (half >> 10) & 31;
  const fraction = (half & 1023) / 1024;
  if (exponent === 0) return sign * fraction * 2 ** -14;
  if (exponent === 31) return fraction === 0 ? sign * Number.POSITIVE_INFINITY : Number.NaN;
  return sign * (1 + fraction) * 2 ** (exponent - 15);
}
