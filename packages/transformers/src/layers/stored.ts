/** How a layer says which tensors of a checkpoint fill its weights. */
import type * as tf from '@tensorflow/tfjs-core';
import type { layers } from '@tensorflow/tfjs-layers';
import type { Evidence } from './packed-weights.ts';

/** How a tensor lies in the checkpoint: as here, [out, in] for [in, out], or [out, in, h, w] for [h, w, in, out]. */
export type Layout = 'same' | 'transposed' | 'conv';

/** A variable of tfjs-layers, with the parts that its types leave out. */
export interface Weight {
  readonly shape: readonly (number | null)[];
  read(): tf.Tensor;
  write(value: tf.Tensor): unknown;
}

export interface StoredWeight {
  /** Behind the layer's name: `weight`. */
  readonly name: string;
  readonly weight: Weight;
  readonly layout: Layout;
  /** Of weights that are held otherwise: what the checkpoint has, and how it is taken. */
  readonly pack?: { readonly shape: readonly number[]; fill(values: Float32Array, evidence?: Evidence): void };
}

/** A layer whose weights come from a checkpoint. */
export interface StoredLayer extends layers.Layer {
  readonly stored: readonly StoredWeight[];
}

export const isStored = (layer: layers.Layer): layer is StoredLayer => 'stored' in layer;

export const inCheckpoint: { readonly [layout in Layout]: (shape: readonly number[]) => number[] } = {
  same: (shape) => [...shape],
  transposed: ([rows, columns]) => [columns!, rows!],
  conv: ([h, w, input, output]) => [output!, input!, h!, w!],
};

/** Axes that bring a tensor of a checkpoint into the order that it has here; undefined: they are in it. */
export const axes: { readonly [layout in Layout]: readonly number[] | undefined } = {
  same: undefined,
  transposed: [1, 0],
  conv: [2, 3, 1, 0],
};
