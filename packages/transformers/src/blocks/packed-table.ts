/**
 * A frozen table of rows in few bits: in codes (packed-row.ts), 0.53 to 0.55, 0.65 to 0.67 or 1.03 bytes a value with its scales, or in
 * halves (half-row.ts), 2. Some rows of codes may be held finer: what rounding took from them is packed in 4 bits more. That suits a
 * vocabulary, of which texts use a small part.
 */
import * as tf from '@tensorflow/tfjs-core';
import { decodeHalves, encodeHalves, type HalfFormat, type HalfLayout, halfLayout } from './half-row.ts';
import { type CodeFormat, codes } from './levels.ts';
import { addCodes, bestScales, type CodeLayout, codeLayout, type Rounding, writeCodes } from './packed-row.ts';

/** `'nf4'`, `'nf5'` and `'int8'` are codes of 4, 5 and 8 bits with scales. */
export type Format = CodeFormat | HalfFormat;
export type RowLayout = CodeLayout | HalfLayout;

/** Of what is added to finer rows. */
export const FINER: CodeFormat = 'nf4';

/** A table of weights in few bits a value. */
export interface PackedTable {
  /** [rows, words] int32. */
  readonly packed: tf.Tensor;
  readonly columns: number;
  readonly format: Format;
  /** Numbers of the finer rows [k] int32, ascending, and what is added to them [k, words] int32. */
  readonly finer?: { readonly rows: tf.Tensor; readonly packed: tf.Tensor };
}

export const isHalf = (format: Format): format is HalfFormat => format === 'float16' || format === 'bfloat16';

/** Rows are multiples of so many values: of 4, so that kernels read four at a time, and of whole words. */
export const stepOf = (format: Format): number => (isHalf(format) ? 4 : { 4: 8, 5: 32, 8: 4 }[codes[format].bits]);

/** @param columns a multiple of {@link stepOf} */
export const layoutOf = (columns: number, format: Format): RowLayout =>
  isHalf(format) ? halfLayout(columns, format) : codeLayout(columns, format);

export interface PackOptions {
  /** How much an error of each column counts. @default alike */
  readonly weights?: Float64Array;
  /** @default the nearest level */
  readonly round?: (layout: CodeLayout) => Rounding;
}

/** Packs rows of `columns` values. */
export function packTable(values: Float32Array, columns: number, format: Format, { weights, round }: PackOptions = {}): Int32Array {
  if (isHalf(format)) return encodeHalves(values, format);
  const layout = codeLayout(columns, format);
  const rows = values.length / columns;
  const words = new Int32Array(rows * layout.words);
  const [scales, rounding] = [bestScales(weights), round?.(layout)];
  for (let row = 0; row < rows; row++)
    writeCodes(values.subarray(row * columns, (row + 1) * columns), layout, words, row * layout.words, scales, rounding);
  return words;
}

/** What packing in codes took from `rows`, packed. */
export function packFiner(values: Float32Array, words: Int32Array, rows: Int32Array, columns: number, format: CodeFormat): Int32Array {
  const layout = codeLayout(columns, format);
  const rest = new Float32Array(rows.length * columns);
  rows.forEach((row, i) => {
    addCodes(words, row * layout.words, layout, rest, i * columns);
    for (let c = 0; c < columns; c++) rest[i * columns + c] = values[row * columns + c]! - rest[i * columns + c]!;
  });
  return packTable(rest, columns, FINER);
}

/** The values of rows of words: [rows, columns], one behind the other. */
export function unpackWords(words: Int32Array, layout: RowLayout): Float32Array {
  if (isHalf(layout.format)) return decodeHalves(words, layout.format);
  const rows = words.length / layout.words;
  const values = new Float32Array(rows * layout.columns);
  for (let row = 0; row < rows; row++) addCodes(words, row * layout.words, layout as CodeLayout, values, row * layout.columns);
  return values;
}

/** What kernels are told of a table: as attributes. */
export interface TableAttrs {
  readonly layout: RowLayout;
  readonly finerLayout: RowLayout;
}

export const attrsOf = ({ columns, format }: PackedTable): TableAttrs => ({
  layout: layoutOf(columns, format),
  finerLayout: layoutOf(columns, FINER),
});

/** A table as inputs of a block, and back. A table without finer rows has none of them, not no tensor: tfjs saves what a gradient names. */
export const asInputs = ({ packed, finer }: PackedTable): { [name: string]: tf.Tensor } => ({
  packed,
  finerRows: finer?.rows ?? tf.tensor1d([], 'int32'),
  finer: finer?.packed ?? tf.tensor1d([], 'int32'),
});
export const fromInputs = (
  { packed, finerRows, finer }: { readonly [name: string]: tf.Tensor },
  { layout: { columns, format } }: TableAttrs,
): PackedTable => ({ packed: packed!, columns, format, ...(finer!.size > 0 && { finer: { rows: finerRows!, packed: finer! } }) });
