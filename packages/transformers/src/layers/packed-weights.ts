/** A frozen table of a layer, held in 4, 5 or 8 bits a value. */
import { FinetuneError } from '@leantune/core';
import * as tf from '@tensorflow/tfjs-core';
import { initializers } from '@tensorflow/tfjs-layers';
import { type Bits, finerWordsOf, type PackedTable, packFiner, packTable, wordsOf } from '../blocks/index.ts';
import { type Hessian, roundTogether } from '../quantize/gptq.ts';
import type { StoredWeight, Weight } from './stored.ts';

/**
 * How the large tables of a model are held: as numbers that train, or frozen in few bits. In `'nf5'` tables of tokens have 4 bits, and
 * a fortieth of their rows 8.
 */
export type Storage = 'float32' | 'int8' | 'nf5' | 'nf4';

export interface Packing {
  readonly bits: Bits;
  /** How many rows are held finer. */
  readonly finer: number;
}

/** Undefined for numbers that train. */
export function packingOf(storage: Storage | undefined, tokens?: number): Packing | undefined {
  if (storage === 'nf5') return tokens === undefined ? { bits: 5, finer: 0 } : { bits: 4, finer: Math.floor(tokens / 40) };
  return storage === 'nf4' ? { bits: 4, finer: 0 } : storage === 'int8' ? { bits: 8, finer: 0 } : undefined;
}

type Initializer = ReturnType<typeof initializers.zeros>;
/** Adds a weight that does not train to a layer: `(name, shape, dtype, initializer) => this.addWeight(…)`. */
type Add<W> = (name: string, shape: number[], dtype: 'int32', initializer: Initializer) => W;

export interface PackedWeights<W> extends Packing {
  readonly rows: number;
  readonly columns: number;
  readonly packed: W;
  readonly finerRows?: W;
  readonly finerPacked?: W;
  /** Sees what the table is multiplied with [n, columns], while a model is calibrated. */
  observe?: ((x: tf.Tensor) => void) | undefined;
}

/** @throws FinetuneError `bad-model` for rows that do not divide into words */
export function addPacked<W>(
  layer: string,
  { bits, finer }: Packing,
  [rows, columns]: readonly [number, number],
  add: Add<W>,
): PackedWeights<W> {
  const words = wordsOf(columns, bits);
  if (words === undefined) {
    const advice = "Load the model with storage: 'float32'.";
    throw new FinetuneError(
      'bad-model',
      'transformers',
      `"${layer}" has rows of ${columns} values; ${bits} bits need a multiple of ${bits === 5 ? 32 : 32 / bits}. ${advice}`,
    );
  }
  const zeros = initializers.zeros();
  return {
    rows,
    columns,
    bits,
    finer,
    packed: add('packed', [rows, words], 'int32', zeros),
    ...(finer > 0 && {
      finerRows: add('finer_rows', [finer], 'int32', zeros),
      finerPacked: add('finer_packed', [finer, finerWordsOf(columns)!], 'int32', zeros),
    }),
  };
}

export const tableOf = ({ packed, columns, bits, finerRows, finerPacked }: PackedWeights<Weight>): PackedTable => ({
  packed: packed.read(),
  columns,
  bits,
  ...(finerRows && { finer: { rows: finerRows.read(), packed: finerPacked!.read() } }),
});

/** λ of GPTQ: more for a table that is looked up too, whose own values count. */
const DAMPING = { product: 0.03, looked: 0.3 };

/** What a calibration says of a table. */
export interface Evidence {
  /** Σ x xᵀ of what it is multiplied with. */
  readonly hessian: Hessian;
  /** Of a table that is looked up: its rows, those that are met most first. @default in their order: frequent tokens have low numbers */
  readonly order?: readonly number[];
}

/** How a checkpoint fills it. `transposed`: the checkpoint has [columns, rows]. */
export function storedPacked(weights: PackedWeights<Weight>, transposed = false): StoredWeight {
  const { rows, columns, bits, finer, packed, finerRows, finerPacked } = weights;
  const write = (weight: Weight, values: Int32Array) =>
    tf.tidy(() => void weight.write(tf.tensor(values, weight.shape as number[], 'int32')));
  return {
    name: 'weight',
    weight: packed,
    layout: 'same',
    pack: {
      shape: transposed ? [columns, rows] : [rows, columns],
      fill(given, evidence) {
        const values = transposed ? transpose(given, columns, rows) : given;
        const damping = evidence?.order ? DAMPING.looked : DAMPING.product;
        const words = packTable(values, columns, bits, evidence && roundTogether(evidence.hessian, columns, damping));
        write(packed, words);
        if (!finerRows) return;
        const chosen = Int32Array.from({ length: finer }, (_, i) => evidence?.order?.[i] ?? i).sort();
        write(finerRows, chosen);
        write(finerPacked!, packFiner(values, words, chosen, columns, bits));
      },
    },
  };
}

function transpose(values: Float32Array, rows: number, columns: number): Float32Array {
  return Float32Array.from(values, (_, i) => values[(i % rows) * columns + Math.floor(i / rows)]!);
}
