/** A table of rows as a layer's weight, in float32 or packed: what tokens are looked up in, and what logits are made with. */
import { initializers } from '@tensorflow/tfjs-layers';
import { addPacked, type PackedWeights, packingOf, type Storage, storedPacked } from './packed-weights.ts';
import type { StoredWeight, Weight } from './stored.ts';

/** [size, width], in one of two ways. */
export interface Table<W> {
  weight?: W;
  packed?: PackedWeights<W>;
}

type Initializer = ReturnType<typeof initializers.zeros>;
/** `(name, shape, dtype, initializer, trains) => this.addWeight(name, shape, dtype, initializer, undefined, trains)`. */
type Add<W> = (name: string, shape: number[], dtype: 'float32' | 'int32', initializer: Initializer, trains: boolean) => W;

/** Adds the weights of a table to the layer of that name. @throws FinetuneError `bad-model` for rows that do not divide into words */
export function addTable<W>(layer: string, [size, width]: [number, number], storage: Storage | undefined, add: Add<W>): Table<W> {
  const packing = packingOf(storage, size);
  if (packing) return { packed: addPacked(layer, packing, [size, width], (...weight) => add(...weight, false)) };
  return { weight: add('weight', [size, width], 'float32', initializers.randomNormal({ stddev: 0.02 }), true) };
}

export const storedTable = ({ weight, packed }: Table<Weight>): readonly StoredWeight[] => [
  packed ? storedPacked(packed) : { name: 'weight', weight: weight!, layout: 'same' },
];
