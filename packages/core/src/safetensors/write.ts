/** Writes the safetensors format. */
import { encodeFloats, type FloatDtype } from './dtypes.ts';

/** A tensor that is to be written. */
export interface TensorValues {
  readonly shape: readonly number[];
  /** Whole numbers are stored as I32, whatever the option says of floats. */
  readonly values: Float32Array | Int32Array;
}

/** What writing a safetensors file can be told. */
export interface WriteOptions {
  /** How floats are stored; F16 and BF16 round to nearest. @default 'F32' */
  readonly dtype?: FloatDtype;
  /** Kept in the header. peft and transformers want `{ format: 'pt' }`. */
  readonly metadata?: { readonly [key: string]: string };
}

/** A file that holds `tensors`, in their order. The reference implementation reads it. */
export function writeSafetensors(
  tensors: { readonly [name: string]: TensorValues },
  { dtype = 'F32', metadata }: WriteOptions = {},
): Uint8Array<ArrayBuffer> {
  let at = 0;
  const stored = Object.entries(tensors).map(([name, { shape, values }]) => {
    const whole = values instanceof Int32Array;
    const bytes = whole ? new Uint8Array(values.buffer, values.byteOffset, values.byteLength) : encodeFloats(values, dtype);
    const begin = at;
    at += bytes.length;
    return { name, bytes, begin, entry: { dtype: whole ? 'I32' : dtype, shape, data_offsets: [begin, at] } };
  });
  const entries = Object.fromEntries(stored.map(({ name, entry }) => [name, entry]));
  const json = new TextEncoder().encode(JSON.stringify(metadata ? { __metadata__: metadata, ...entries } : entries));
  const length = Math.ceil(json.length / 8) * 8; // values begin at a multiple of 8; spaces fill
  const file = new Uint8Array(8 + length + at);
  new DataView(file.buffer).setBigUint64(0, BigInt(length), true);
  file.fill(0x20, 8, 8 + length).set(json, 8);
  for (const { bytes, begin } of stored) file.set(bytes, 8 + length + begin);
  return file;
}
