/**
 * How long the truncated SVD of a 4096 x 4096 matrix takes at rank 64, and how good it is.
 *
 *   npx tsx --conditions=@leantune/source benchmarks/lowrank/svd.ts [--size 4096] [--rank 64] [--write]
 *
 * The matrix has singular values (1 + i)^-0.7 between random orthogonal factors, as kernels of transformers have them about. Processor time
 * and the time that passed, on tensorflow and on wasm; "error" is the largest relative one of the singular values.
 */
import { writeFileSync } from 'node:fs';
import { parseArgs } from 'node:util';
import { useBackend } from '@leantune/backends';
import { truncatedSvd } from '@leantune/core/low-rank';
import * as tf from '@tensorflow/tfjs-core';

const { values } = parseArgs({
  options: {
    size: { type: 'string', default: '4096' },
    rank: { type: 'string', default: '64' },
    write: { type: 'boolean', default: false },
  },
});
const [size, rank] = [Number(values.size), Number(values.rank)];
/** Singular values of the matrix that are not zero: enough that the tail beyond the rank counts. */
const known = Math.min(size, 8 * rank);
const sigma = Float64Array.from({ length: known }, (_, i) => (1 + i) ** -0.7);

/** U·Σ·Vᵀ [size, size]: both factors from random reflections of the identity, so that their columns are orthonormal to rounding. */
function matrix(): tf.Tensor2D {
  const factor = (seed: number) =>
    tf.tidy(() => {
      let q = tf.slice(tf.eye(size), [0, 0], [size, known]) as tf.Tensor2D;
      for (let i = 0; i < 4; i++) {
        const v = tf.randomNormal([size, 1], 0, 1, 'float32', seed + i) as tf.Tensor2D;
        const unit = tf.div(v, tf.norm(v)) as tf.Tensor2D;
        q = tf.sub(q, tf.mul(tf.matMul(unit, tf.matMul(unit, q, true)), 2));
      }
      return q;
    });
  return tf.tidy(() => tf.matMul(tf.mul(factor(1), tf.tensor1d(Float32Array.from(sigma))) as tf.Tensor2D, factor(11), false, true));
}

const rows = [];
for (const backend of ['tensorflow', 'wasm'] as const) {
  await useBackend(backend);
  const w = matrix();
  w.dataSync();
  const [start, processor] = [performance.now(), process.cpuUsage()];
  const { sigma: found } = truncatedSvd(w, rank);
  const { user, system } = process.cpuUsage(processor);
  const row = {
    backend,
    seconds: Number(((performance.now() - start) / 1000).toFixed(1)),
    processorSeconds: Number(((user + system) / 1e6).toFixed(1)),
    error: Number(Math.max(...found.map((value, i) => Math.abs(value / sigma[i]! - 1))).toPrecision(2)),
  };
  rows.push(row);
  console.log(row);
  w.dispose();
}
if (values.write)
  writeFileSync(
    new URL('./results/svd.json', import.meta.url),
    `${JSON.stringify({ size, rank, tfjs: tf.version_core, node: process.versions.node, rows }, null, 2)}\n`,
  );
