/**
 * What a GPU does through WebGPU: features, limits, products of its tensor cores, and the rate of our matMul.
 *
 *   npx tsx --conditions=@leantune/source benchmarks/gpu/webgpu.ts [size, 4096] > benchmarks/gpu/results/<card>-webgpu.json
 *   python3 benchmarks/gpu/pytorch.py [size, 4096] > benchmarks/gpu/results/<card>-pytorch.json
 *
 * f16 and subgroup-matrix products are not written yet: their rows say so.
 */
import { useBackend } from '@leantune/backends';
import type { WebGPUBackend } from '@leantune/backends/webgpu';
import * as tf from '@tensorflow/tfjs';

const size = Number(process.argv[2] ?? 4096);
await useBackend('webgpu');
const { device } = tf.backend() as WebGPUBackend;
const { adapterInfo } = device as unknown as {
  adapterInfo: { vendor: string; description: string; subgroupMatrixConfigs?: Iterable<Record<string, unknown>> };
};
const limits: Record<string, number> = {};
for (const name in device.limits) limits[name] = device.limits[name as keyof typeof device.limits];
const configs = Array.from(adapterInfo.subgroupMatrixConfigs ?? [], ({ componentType, resultComponentType, M, N, K }) => ({
  componentType,
  resultComponentType,
  M,
  N,
  K,
}));

/** Best of five batches of products that one read waits for. */
async function teraflops(transposeA: boolean, transposeB: boolean): Promise<number> {
  const [a, b] = [tf.randomNormal([size, size]) as tf.Tensor2D, tf.randomNormal([size, size]) as tf.Tensor2D];
  const products = size >= 1024 ? 4 : 1;
  let best = Number.POSITIVE_INFINITY;
  for (let i = 0; i < 6; i++) {
    const start = performance.now();
    const made = Array.from({ length: products }, () => tf.matMul(a, b, transposeA, transposeB));
    await tf.tidy(() => tf.slice(made.at(-1) as tf.Tensor2D, [0, 0], [1, 1])).data();
    if (i > 0) best = Math.min(best, performance.now() - start);
    tf.dispose(made);
  }
  tf.dispose([a, b]);
  return Number(((2 * size ** 3 * products) / best / 1e9).toPrecision(3));
}

const f32 = {
  NN: await teraflops(false, false),
  NT: await teraflops(false, true),
  TN: await teraflops(true, false),
};
const report = {
  date: new Date().toISOString(),
  card: adapterInfo.description || adapterInfo.vendor,
  features: [...device.features],
  limits,
  subgroupMatrixConfigs: configs,
  size,
  teraflops: { f32, f16: 'no kernel yet', subgroupMatrix: 'no kernel yet' },
};
console.log(JSON.stringify(report, null, 2));
process.exit(0);
