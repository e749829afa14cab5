/** A frozen table of a layer, held in few bits. */
import { FinetuneError } from '@leantune/core';
import * as tf from '@tensorflow/tfjs-core';
import { initializers } from '@tensorflow/tfjs-layers';
import { FINER, type Format, layoutOf, type PackedTable, packFiner, packTable, stepOf, unpackRows } from '../blocks/index.ts';
import { type Hessian, roundTogether } from '../quantize/gptq.ts';
import type { StoredWeight, Weight } from './stored.ts';

/**
 * How the large tables of a model are held: as numbers that train, or frozen in fewer bits. In `'nf5'` tables of tokens have 4 bits, and
 * a fortieth of their rows 8.
 */
export type Storage = 'float32' | Format;
export const storages: readonly Storage[] = ['float32', 'float16', 'bfloat16', 'int8', 'nf5', 'nf4'];

export interface Packing {
  readonly format: Format;
  /** How many rows are held finer. */
  readonly finer: number;
}

/** Undefined for numbers that train. */
export function packingOf(storage: Storage | undefined, tokens?: number): Packing | undefined {
  if (storage === undefined || storage === 'float32') return undefined;
  if (storage === 'nf5' && tokens !== undefined) return { format: 'nf4', finer: Math.floor(tokens / 40) };
  return { format: storage, finer: 0 };
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
  { format, finer }: Packing,
  [rows, columns]: readonly [number, number],
  add: Add<W>,
): PackedWeights<W> {
  const step = stepOf(format);
  if (columns % step !== 0) {
    const problem = `"${layer}" has rows of ${columns} values; ${format} needs a multiple of ${step}`;
    throw new FinetuneError('bad-model', 'transformers', `${problem}. Load the model with storage: 'float32'.`);
  }
  const zeros = initializers.zeros();
  return {
    rows,
    columns,
    format,
    finer,
    packed: add('packed', [rows, layoutOf(columns, format).words], 'int32', zeros),
    ...(finer > 0 && {
      finerRows: add('finer_rows', [finer], 'int32', zeros),
      finerPacked: add('finer_packed', [finer, layoutOf(columns, FINER).words], 'int32', zeros),
    }),
  };
}

export const tableOf = ({ packed, columns, format, finerRows, finerPacked }: PackedWeights<Weight>): PackedTable => ({
  packed: packed.read(),
  columns,
  format,
  ...(finerRows && { finer: { rows: finerRows.read(), packed: finerPacked!.read() } }),
});

/** What @leantune/core asks of a layer that holds a weight packed. */
export interface HeldPacked {
  /** The property that holds it in a layer of float32. */
  readonly property: string;
  readonly shape: readonly number[];
  readonly variables: readonly Weight[];
  /** A new tensor. */
  read(): tf.Tensor;
}

/** @param transposed that the weight is [columns, rows] */
export const heldPacked = (weights: PackedWeights<Weight> | undefined, property: string, transposed = false): HeldPacked | undefined =>
  weights && {
    property,
    shape: transposed ? [weights.columns, weights.rows] : [weights.rows, weights.columns],
    variables: [weights.packed, weights.finerRows, weights.finerPacked].filter((weight) => weight !== undefined),
    read: (): tf.Tensor =>
      tf.tidy(() => {
        const values = unpackRows(tableOf(weights));
        return transposed ? tf.transpose(values) : values;
      }),
  };

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
  const { rows, columns, format, finer, packed, finerRows, finerPacked } = weights;
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
        const words = packTable(values, columns, format, evidence && roundTogether(evidence.hessian, columns, damping));
        write(packed, words);
        if (!finerRows) return;
        const chosen = Int32Array.from({ length: finer }, (_, i) => evidence?.order?.[i] ?? i).sort();
        write(finerRows, chosen);
        write(finerPacked!, packFiner(values, words, chosen, columns, format as 'nf4'));
      },
    },
  };
}

function transpose(values: Float32Array, rows: number, columns: number): Float32Array {
  return Float32Array.from(values, (_, i) => values[(i % rows) * columns + Math.floor(i / rows)]!);
}
