/**
 * BatchMatMul and _FusedMatMul for all four transposes, broadcast batches and int32. tfjs multiplies transposed or batched
 * matrices by a scalar loop, and the gradients of a product are transposed products:
 *
 *     c = a b        da = dc b^T        db = a^T dc
 */
import * as tf from '@tensorflow/tfjs-core';
import { productSizes } from '../product-sizes.ts';
import { type Attrs, input, type Kernels, offset, type Stock, type WasmBackend, type WasmKernel } from './backend.ts';
import { broadcastIndex } from './broadcast.ts';
import { finish } from './fused.ts';
import { native } from './native.ts';

/** [...batch, m, k] x [...batch, k, n] -> [...batch, m, n]. The caller owns the result. */
function multiply(a: tf.TensorInfo, b: tf.TensorInfo, { transposeA, transposeB }: Attrs, backend: WasmBackend): tf.TensorInfo {
  if (a.dtype !== b.dtype || (a.dtype !== 'float32' && a.dtype !== 'int32'))
    throw new Error(`[wasm] matMul got ${a.dtype} x ${b.dtype}; expected float32 or int32 on both sides; cast first`);
  if (a.shape.length < 2 || b.shape.length < 2)
    throw new Error(`[wasm] matMul got shapes [${a.shape}] and [${b.shape}]; expected rank 2 or more on both sides`);
  const { m, k, n, batch: outBatch, aBatch, bBatch } = productSizes('wasm', a, b, transposeA, transposeB);
  const out = backend.makeOutput([...outBatch, m, n], a.dtype);
  const { matMul, matMulInt, scratch } = native(backend);
  const [pa, pb, pc] = [offset(backend, a), offset(backend, b), offset(backend, out)];
  const one = (at: number, bt: number, ct: number, rows: number) =>
    a.dtype === 'int32'
      ? matMulInt(pa + at * 4, pb + bt * 4, pc + ct * 4, rows, n, k, transposeA, transposeB)
      : matMul(pa + at * 4, pb + bt * 4, pc + ct * 4, rows, n, k, transposeA, transposeB, scratch);
  const batches = tf.util.sizeFromShape(outBatch);
  if (!transposeA && tf.util.sizeFromShape(bBatch) === 1)
    one(0, 0, 0, batches * m); // one b for all: rows of a in one product
  else {
    const [ia, ib] = [broadcastIndex(outBatch, aBatch), broadcastIndex(outBatch, bBatch)];
    for (let batch = 0; batch < batches; batch++) one(ia(batch) * m * k, ib(batch) * k * n, batch * m * n, m);
  }
  return out;
}

/** With threads, tfjs's plain product of two matrices runs on all cores; ours runs on one. */
const threadsHelp = (backend: WasmBackend, a: tf.TensorInfo, b: tf.TensorInfo, attrs: Attrs): boolean =>
  'PThread' in backend.wasm &&
  !attrs.transposeA &&
  !attrs.transposeB &&
  a.dtype === 'float32' &&
  tf.util.sizeFromShape([...a.shape.slice(0, -2), ...b.shape.slice(0, -2)]) === 1;

export const matMuls = (stock: Stock): Kernels => {
  const batchMatMul: WasmKernel = (inputs, attrs, backend) => {
    const [a, b] = [input(inputs, 'a'), input(inputs, 'b')];
    return threadsHelp(backend, a, b, attrs) ? stock(tf.BatchMatMul)(inputs, attrs, backend) : multiply(a, b, attrs, backend);
  };
  const fusedMatMul: WasmKernel = (inputs, attrs, backend) => finish(batchMatMul(inputs, attrs, backend), inputs, attrs, backend);
  return { [tf.BatchMatMul]: batchMatMul, [tf._FusedMatMul]: fusedMatMul };
};
