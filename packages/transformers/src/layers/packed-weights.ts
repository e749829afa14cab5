/** A frozen table of a layer, held in 4 bits a value. */
import { FinetuneError } from '@leantune/core';
import * as tf from '@tensorflow/tfjs-core';
import { initializers } from '@tensorflow/tfjs-layers';
import { groupOf, type PackedTable, PER_WORD, packTable } from '../blocks/index.ts';
import type { StoredWeight, Weight } from './stored.ts';

/** How the large tables of a model are held: as numbers that train, or frozen in 4 bits. */
export type Storage = 'float32' | 'nf4';

type Initializer = ReturnType<typeof initializers.zeros>;
/** Adds a weight that does not train to a layer: `(name, shape, dtype, initializer) => this.addWeight(…)`. */
type Add<W> = (name: string, shape: number[], dtype: 'int32' | 'float32', initializer: Initializer) => W;

export interface PackedWeights<W> {
  readonly rows: number;
  readonly columns: number;
  readonly packed: W;
  readonly scale: W;
}

/** @throws FinetuneError `bad-model` for rows that do not divide into groups */
export function addPacked<W>(layer: string, rows: number, columns: number, add: Add<W>): PackedWeights<W> {
  const group = groupOf(columns);
  if (group === undefined) {
    const advice = "Load the model with storage: 'float32'.";
    throw new FinetuneError(
      'bad-model',
      'transformers',
      `"${layer}" has rows of ${columns} values; 4 bits need a multiple of ${PER_WORD}. ${advice}`,
    );
  }
  return {
    rows,
    columns,
    packed: add('packed', [rows, columns / PER_WORD], 'int32', initializers.zeros()),
    scale: add('scale', [rows, columns / group], 'float32', initializers.zeros()),
  };
}

export const tableOf = ({ packed, scale }: PackedWeights<Weight>): PackedTable => ({ packed: packed.read(), scale: scale.read() });

/** How a checkpoint fills it. `transposed`: the checkpoint has [columns, rows]. */
export function storedPacked({ rows, columns, packed, scale }: PackedWeights<Weight>, transposed = false): StoredWeight {
  const write = (weight: Weight, values: Float32Array | Int32Array) =>
    tf.tidy(() => void weight.write(tf.tensor(values, weight.shape as number[], values instanceof Int32Array ? 'int32' : 'float32')));
  return {
    name: 'weight',
    weight: packed,
    layout: 'same',
    pack: {
      shape: transposed ? [columns, rows] : [rows, columns],
      fill(values) {
        const made = packTable(transposed ? transpose(values, columns, rows) : values, columns / (scale.shape[1] as number));
        write(packed, made.packed);
        write(scale, made.scale);
      },
    },
  };
}

function transpose(values: Float32Array, rows: number, columns: number): Float32Array {
  return Float32Array.from(values, (_, i) => values[(i % rows) * columns + Math.floor(i / rows)]!);
}
