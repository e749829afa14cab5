/** A frozen table of a layer, held in 4 or 8 bits a value. */
import { FinetuneError } from '@leantune/core';
import * as tf from '@tensorflow/tfjs-core';
import { initializers } from '@tensorflow/tfjs-layers';
import { type Bits, groupOf, type PackedTable, packTable, perWord } from '../blocks/index.ts';
import type { StoredWeight, Weight } from './stored.ts';

/** How the large tables of a model are held: as numbers that train, or frozen in 8 or 4 bits. */
export type Storage = 'float32' | 'int8' | 'nf4';

/** Bits a value; undefined for numbers that train. */
export const bitsOf = (storage: Storage | undefined): Bits | undefined => (storage === 'nf4' ? 4 : storage === 'int8' ? 8 : undefined);

type Initializer = ReturnType<typeof initializers.zeros>;
/** Adds a weight that does not train to a layer: `(name, shape, dtype, initializer) => this.addWeight(…)`. */
type Add<W> = (name: string, shape: number[], dtype: 'int32' | 'float32', initializer: Initializer) => W;

export interface PackedWeights<W> {
  readonly rows: number;
  readonly columns: number;
  readonly bits: Bits;
  readonly packed: W;
  readonly scale: W;
}

/** @throws FinetuneError `bad-model` for rows that do not divide into groups */
export function addPacked<W>(layer: string, bits: Bits, [rows, columns]: readonly [number, number], add: Add<W>): PackedWeights<W> {
  const group = groupOf(columns, bits);
  if (group === undefined) {
    const advice = "Load the model with storage: 'float32'.";
    throw new FinetuneError(
      'bad-model',
      'transformers',
      `"${layer}" has rows of ${columns} values; ${bits} bits need a multiple of ${perWord(bits)}. ${advice}`,
    );
  }
  return {
    rows,
    columns,
    bits,
    packed: add('packed', [rows, columns / perWord(bits)], 'int32', initializers.zeros()),
    scale: add('scale', [rows, columns / group], 'float32', initializers.zeros()),
  };
}

export const tableOf = ({ packed, scale, bits }: PackedWeights<Weight>): PackedTable => ({
  packed: packed.read(),
  scale: scale.read(),
  bits,
});

/** How a checkpoint fills it. `transposed`: the checkpoint has [columns, rows]. */
export function storedPacked({ rows, columns, packed, scale, bits }: PackedWeights<Weight>, transposed = false): StoredWeight {
  const write = (weight: Weight, values: Float32Array | Int32Array) =>
    tf.tidy(() => void weight.write(tf.tensor(values, weight.shape as number[], values instanceof Int32Array ? 'int32' : 'float32')));
  return {
    name: 'weight',
    weight: packed,
    layout: 'same',
    pack: {
      shape: transposed ? [columns, rows] : [rows, columns],
      fill(values) {
        const made = packTable(transposed ? transpose(values, columns, rows) : values, columns / (scale.shape[1] as number), bits);
        write(packed, made.packed);
        write(scale, made.scale);
      },
    },
  };
}

function transpose(values: Float32Array, rows: number, columns: number): Float32Array {
  return Float32Array.from(values, (_, i) => values[(i % rows) * columns + Math.floor(i / rows)]!);
}
