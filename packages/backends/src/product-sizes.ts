/** What a product of two matrices is of, whatever the backend: [...batch, m, k] x [...batch, k, n], either of them transposed. */
import * as tf from '@tensorflow/tfjs-core';

export interface ProductSizes {
  readonly m: number;
  readonly k: number;
  readonly n: number;
  /** Broadcast. */
  readonly batch: number[];
  readonly aBatch: number[];
  readonly bBatch: number[];
}

/** @throws Error of `who` where the inner sizes differ */
export function productSizes(who: string, a: tf.TensorInfo, b: tf.TensorInfo, transposeA: boolean, transposeB: boolean): ProductSizes {
  const [aBatch, bBatch] = [a.shape.slice(0, -2), b.shape.slice(0, -2)];
  const [aRows, aColumns] = a.shape.slice(-2) as [number, number];
  const [bRows, bColumns] = b.shape.slice(-2) as [number, number];
  const [m, k] = transposeA ? [aColumns, aRows] : [aRows, aColumns];
  const [kb, n] = transposeB ? [bColumns, bRows] : [bRows, bColumns];
  if (k !== kb)
    throw new Error(`[${who}] matMul got inner sizes ${k} and ${kb} of shapes [${a.shape}] and [${b.shape}]; expected them equal`);
  return { m, k, n, aBatch, bBatch, batch: tf.broadcast_util.assertAndGetBroadcastShape(aBatch, bBatch) };
}
