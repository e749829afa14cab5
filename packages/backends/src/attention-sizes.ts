/** What attention is of, whatever the backend: q [n, queries, heads · size], k and v [n, keys, kvHeads · size], mask [n, keys]. */
import * as tf from '@tensorflow/tfjs-core';
import { BackendError } from './errors.ts';
import type { Attrs } from './kernels.ts';

type Inputs = { readonly [name: string]: tf.TensorInfo };

export interface AttentionSizes {
  readonly n: number;
  readonly queries: number;
  readonly keys: number;
  readonly heads: number;
  readonly kvHeads: number;
  /** Of a head. */
  readonly size: number;
}

export function attentionSizes({ q, k }: Inputs, { heads, kvHeads }: Attrs): AttentionSizes {
  const [n, queries, width] = q!.shape as [number, number, number];
  return { n, queries, keys: k!.shape[1]!, heads, kvHeads, size: width / heads };
}

/** Whether tensors are of shapes that fit each other, with elements, in float32. */
export function attentionFits(inputs: Inputs, attrs: Attrs): boolean {
  const { n, queries, keys, heads, kvHeads, size } = attentionSizes(inputs, attrs);
  const { mask, ...floats } = inputs;
  const [own, side] = [
    [n, queries, heads * size],
    [n, keys, kvHeads * size],
  ];
  const shapes: { readonly [name: string]: number[] } = { q: own, k: side, v: side, y: own, y1: [n, heads, queries], dy: own };
  return (
    Object.entries(floats).every(([name, { shape, dtype }]) => dtype === 'float32' && tf.util.arraysEqual(shape, shapes[name]!)) &&
    [n, queries, keys, kvHeads, size].every((count) => count > 0) &&
    Number.isInteger(size) &&
    heads % kvHeads === 0 &&
    (!attrs['masked'] || tf.util.arraysEqual(mask!.shape, [n, keys])) &&
    (queries <= keys || !(attrs['causal'] || attrs['masked']))
  );
}

/** Runs the kernel that @leantune/transformers composes of ops, in place of a backend's own that cannot. @throws BackendError if there is none */
export function composedAttention(kernel: string, backendName: string, inputs: Inputs, attrs: Attrs, backend: object): tf.TensorInfo[] {
  const composed = tf.getKernel(`Composed${kernel}`, backendName);
  if (composed) return composed.kernelFunc({ inputs, attrs: attrs as tf.NamedAttrMap, backend }) as tf.TensorInfo[];
  const got = Object.entries(inputs).map(([name, { shape, dtype }]) => `${name} ${dtype} [${shape}]`);
  const { heads, kvHeads } = attrs;
  throw new BackendError(
    'not-available',
    kernel,
    `got ${got.join(', ')} of ${heads} and ${kvHeads} heads; expected q float32 [n, T, heads · d], k and v [n, S, kvHeads · d] and mask [n, S], none empty, no more queries than keys where that matters (causal, masked), and on a GPU heads that a work group holds`,
  );
}
