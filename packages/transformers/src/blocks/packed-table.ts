/**
 * A frozen table in 4, 5 or 8 bits a value (see packed-row.ts), 0.53 to 0.55, 0.65 to 0.67 or 1.03 bytes with its scales. Some rows may be
 * held finer: what rounding took from them is packed in 4 bits more. That suits a vocabulary, of which texts use a small part.
 */
import { FinetuneError } from '@leantune/core';
import * as tf from '@tensorflow/tfjs-core';
import { ensureKernel } from './block.ts';
import type { Bits } from './levels.ts';
import { addRow, bestScales, layoutOf, type Rounding, type RowLayout, writeRow } from './packed-row.ts';

/** Bits of what is added to finer rows. */
const FINER_BITS = 4;

/** A table of weights in few bits a value. */
export interface PackedTable {
  /** [rows, words] int32. */
  readonly packed: tf.Tensor;
  readonly columns: number;
  readonly bits: Bits;
  /** Numbers of the finer rows [k] int32, ascending, and what is added to them [k, words] int32. */
  readonly finer?: { readonly rows: tf.Tensor; readonly packed: tf.Tensor };
}

/** Int32 words of a row; undefined for rows that do not fill words. */
export const wordsOf = (columns: number, bits: Bits): number | undefined => layoutOf(columns, bits)?.words;
export const finerWordsOf = (columns: number): number | undefined => wordsOf(columns, FINER_BITS);

export interface PackOptions {
  /** How much an error of each column counts. @default alike */
  readonly weights?: Float64Array;
  /** @default the nearest level */
  readonly round?: (layout: RowLayout) => Rounding;
}

/** Packs rows of `columns` values. */
export function packTable(values: Float32Array, columns: number, bits: Bits, { weights, round }: PackOptions = {}): Int32Array {
  const layout = layoutOf(columns, bits)!;
  const rows = values.length / columns;
  const words = new Int32Array(rows * layout.words);
  const [scales, rounding] = [bestScales(weights), round?.(layout)];
  for (let row = 0; row < rows; row++)
    writeRow(values.subarray(row * columns, (row + 1) * columns), layout, words, row * layout.words, scales, rounding);
  return words;
}

/** What packing took from `rows`, packed. */
export function packFiner(values: Float32Array, words: Int32Array, rows: Int32Array, columns: number, bits: Bits): Int32Array {
  const layout = layoutOf(columns, bits)!;
  const rest = new Float32Array(rows.length * columns);
  rows.forEach((row, i) => {
    addRow(words, row * layout.words, layout, rest, i * columns);
    for (let c = 0; c < columns; c++) rest[i * columns + c] = values[row * columns + c]! - rest[i * columns + c]!;
  });
  return packTable(rest, columns, FINER_BITS);
}

interface UnpackAttrs {
  readonly columns: number;
  readonly bits: Bits;
  /** The number of the first row, where there are no `ids`. */
  readonly from: number;
}

/**
 * Unpacks rows of words, of which it is told the numbers, as the kernel `UnpackTable`, which reads words in JavaScript:
 * for backends whose tensors are in memory.
 */
function unpack(packed: tf.Tensor, { finer, columns, bits }: PackedTable, from: number, ids?: tf.Tensor): tf.Tensor {
  refuseGpu();
  ensureKernel<UnpackAttrs>('UnpackTable', (given, attrs) => [unpackInJs(given, attrs)]);
  const inputs = { packed, ...(ids && { ids }), ...(finer && { finerRows: finer.rows, finer: finer.packed }) };
  return (tf.engine().runKernel('UnpackTable', inputs, { columns, bits, from }) as tf.Tensor[])[0]!;
}

/** @throws FinetuneError `bad-option` on a GPU: tfjs's own slice and gather there send whole numbers through float32 */
function refuseGpu(): void {
  const backend = tf.getBackend();
  if (/^(cpu|wasm|tensorflow)$/.test(backend)) return;
  const advice = "Load the model with storage: 'float32', or use one of those backends.";
  throw new FinetuneError('bad-option', 'transformers', `got a packed table on ${backend}; expected cpu, wasm or tensorflow. ${advice}`);
}

function unpackInJs({ packed, ids, finerRows, finer }: { readonly [name: string]: tf.Tensor }, attrs: UnpackAttrs): tf.Tensor {
  const [layout, finerLayout] = [layoutOf(attrs.columns, attrs.bits)!, layoutOf(attrs.columns, FINER_BITS)!];
  const [words, numbers] = [packed!.dataSync() as Int32Array, ids?.dataSync()];
  const rows = packed!.shape[0]!;
  const values = new Float32Array(rows * attrs.columns);
  const [fine, more] = [finerRows?.dataSync() as Int32Array | undefined, finer?.dataSync() as Int32Array | undefined];
  for (let i = 0; i < rows; i++) {
    addRow(words, i * layout.words, layout, values, i * attrs.columns);
    const at = fine ? indexIn(fine, numbers?.[i] ?? attrs.from + i) : -1;
    if (at >= 0) addRow(more!, at * finerLayout.words, finerLayout, values, i * attrs.columns);
  }
  return tf.tensor(values, [rows, attrs.columns]);
}

/** Where `value` is in ascending numbers, or -1. */
function indexIn(sorted: Int32Array, value: number): number {
  let [low, high] = [0, sorted.length];
  while (low < high) {
    const middle = (low + high) >> 1;
    if (sorted[middle]! < value) low = middle + 1;
    else high = middle;
  }
  return sorted[low] === value ? low : -1;
}

/** Rows of a packed table, all by default: [size, columns]. */
export const unpackRows = (table: PackedTable, from = 0, size: number = table.packed.shape[0]!): tf.Tensor =>
  tf.tidy(() => unpack(size === table.packed.shape[0] ? table.packed : tf.slice(table.packed, [from, 0], [size, -1]), table, from));

/** The rows of a packed table that `ids` name: [n] int32 -> [n, columns]. */
export const gatherRows = (table: PackedTable, ids: tf.Tensor): tf.Tensor =>
  tf.tidy(() => unpack(tf.gather(table.packed, ids), table, 0, ids));

/** A table as inputs of a block, and back. A table without finer rows has none of them, not no tensor: tfjs saves what a gradient names. */
export const asInputs = ({ packed, finer }: PackedTable): { [name: string]: tf.Tensor } => ({
  packed,
  finerRows: finer?.rows ?? tf.tensor1d([], 'int32'),
  finer: finer?.packed ?? tf.tensor1d([], 'int32'),
});
export const fromInputs = (
  { packed, finerRows, finer }: { readonly [name: string]: tf.Tensor },
  { columns, bits }: { readonly columns: number; readonly bits: Bits },
): PackedTable => ({ packed: packed!, columns, bits, ...(finer!.size > 0 && { finer: { rows: finerRows!, packed: finer! } }) });
