/**
 * The kernels that read frozen tables, whose rows are packed into int32 words; such a tensor is opaque, and no op but these may read it.
 * Models of @leantune/transformers hold their weights so. Where a backend has none of these, that package computes them in JavaScript.
 *
 *   UnpackTable       packed, ids? → rows as float32 [size, columns], those from `from` or those that ids name
 *   PackedMatMul      x [n, columns], packed [rows, words] → x Wᵀ [n, rows]
 *   PackedMatMulGrad  dy [n, rows], packed → dy W [n, columns]
 *
 * Some rows may be held finer: `finerRows` [k], ascending, are their numbers, and the rows of `finer` [k, words] are added to them. Both are
 * empty where there are none.
 */
import type { HalfType } from './half.ts';

/** A row in codes: the bits of its largest scale; a byte for the scale of each group, in 255ths of that; codes; fifth bits, one a value. */
export interface CodeRow {
  readonly format: 'nf4' | 'nf5' | 'int8';
  /** A multiple of 4, as is `group`, the values that share a scale. */
  readonly columns: number;
  readonly group: number;
  /** Of a code. With 5, the lower four lie as with 4. */
  readonly bits: 4 | 5 | 8;
  /** The words at which codes and fifth bits begin, and how many a row has. */
  readonly codes: number;
  readonly fifths: number;
  readonly words: number;
  /** What codes stand for, times their scale: the same for all tables of a format. @default (code − 128) / 127 */
  readonly levels?: readonly number[];
}

/** A row in halves, two a word, the first in the lower half. */
export interface HalfRow {
  readonly format: HalfType;
  readonly columns: number;
  readonly words: number;
}

export type TableRow = CodeRow | HalfRow;

/** Attributes of all three. */
export interface TableAttrs {
  readonly layout: TableRow;
  readonly finerLayout: TableRow;
}

export interface UnpackTableAttrs extends TableAttrs {
  /** The rows, where there are no `ids`. */
  readonly from: number;
  readonly size: number;
}

export const isHalfRow = (row: TableRow): row is HalfRow => row.format === 'float16' || row.format === 'bfloat16';
