/** Codes under what else decides how values wait: recomputation, folded batch norms, low-rank adapters, the whole preset. */
import { useBackend } from '@leantune/backends';
import { tuneMode } from '@leantune/convbn';
import { checkpoint, finetune, measure, type Technique, type TunableModel } from '@leantune/core';
import { lora } from '@leantune/lora';
import * as tf from '@tensorflow/tfjs';
import { beforeAll, expect, test } from 'vitest';
import { fourBit, s2a } from '../src/index.ts';

const [BATCH, WIDTH, DEPTH] = [16, 64, 4];
const N = BATCH * WIDTH;

beforeAll(async () => {
  await useBackend('wasm');
});

/** Loss, gradients and kept bytes by kernel of one step. */
function step(model: TunableModel, techniques: readonly Technique[], loss: () => tf.Scalar) {
  const tuned = finetune(model, techniques);
  // Modules start at zero, where the gradients of half of their weights are zero too.
  const first = tuned.variables.map((variable) => variable.clone());
  for (const variable of tuned.variables)
    tf.tidy(() => variable.assign(tf.add(variable, tf.randomNormal(variable.shape, 0, 0.02, 'float32', variable.size))));
  const { result, memory } = measure(() => {
    const { value, grads } = tuned.valueAndGrads(loss);
    const read = { value: value.dataSync()[0]!, gradients: Object.values(grads).map((g) => Float32Array.from(g.dataSync())) };
    tf.dispose([value, grads]);
    return read;
  });
  tuned.variables.forEach((variable, i) => void variable.assign(first[i]!));
  tf.dispose(first);
  tuned.dispose();
  const kept = (kernel: string) => memory.kept.filter((row) => row.kernel === kernel).reduce((sum, { bytes }) => sum + bytes, 0);
  return { ...result, kept, keptBytes: memory.keptBytes };
}

/** Relative L2 distance of all gradients together. */
function distance(a: readonly Float32Array[], b: readonly Float32Array[]): number {
  const sum = (values: readonly Float32Array[]) => values.reduce((all, g) => g.reduce((total, v) => total + v * v, all), 0);
  return Math.sqrt(sum(a.map((g, i) => g.map((v, k) => v - b[i]![k]!))) / sum(b));
}

const gelu = (x: tf.Tensor) => tf.tidy(() => tf.mul(tf.mul(x, 0.5), tf.add(1, tf.erf(tf.div(x, Math.SQRT2)))));

function deepGelu(): tf.LayersModel {
  const dense = (i: number) =>
    tf.layers.dense({
      ...{ inputShape: [WIDTH], units: WIDTH, activation: 'gelu' as 'relu', name: `dense_${i}` },
      kernelInitializer: tf.initializers.glorotNormal({ seed: i + 1 }),
    });
  return tf.sequential({ layers: Array.from({ length: DEPTH }, (_, i) => dense(i)) });
}

/** Σ model(x) · random: keeps nothing of its own. */
function lossOf(model: tf.LayersModel, shape: number[]): () => tf.Scalar {
  const x = tf.randomNormal(shape, 0, 1, 'float32', 7);
  const direction = tf.tidy(() => tf.randomNormal((model.apply(x) as tf.Tensor).shape, 0, 1, 'float32', 8));
  return () => tf.tidy(() => tf.sum(tf.mul(model.apply(x, { training: true }) as tf.Tensor, direction)) as tf.Scalar);
}

test('what is recomputed waits as codes while it is there, with the gradients of codes that wait all along', () => {
  const x = tf.randomNormal([BATCH, WIDTH], 0, 1, 'float32', 1);
  const weights = Array.from({ length: DEPTH }, (_, i) => tf.variable(tf.randomNormal([WIDTH, WIDTH], 0, WIDTH ** -0.5, 'float32', i + 2)));
  const blocks = weights.map((w) => (h: tf.Tensor) => gelu(tf.matMul(h as tf.Tensor2D, w as tf.Tensor2D)));
  const plain = () => tf.tidy(() => tf.mean(blocks.reduce((h, block) => block(h), x as tf.Tensor)) as tf.Scalar);
  const again = () => tf.tidy(() => tf.mean(blocks.reduce((h, block) => checkpoint(block, h), x as tf.Tensor)) as tf.Scalar);
  const model = Object.fromEntries(weights.map((w, i) => [`w${i}`, w as tf.Variable]));
  const [exact, codes, both] = [step(model, [], plain), step(model, [fourBit()], plain), step(model, [fourBit()], again)];
  expect(both.value).toBe(exact.value);
  expect(distance(both.gradients, codes.gradients)).toBeLessThan(1e-6);
  expect(distance(both.gradients, exact.gradients)).toBeLessThan(0.06);
  expect(codes.kept('Gelu')).toBe((DEPTH * N) / 2);
  expect(both.kept('Gelu')).toBe(N / 2); // of one block at a time
  tf.dispose([x, ...weights]);
});

test('masks of ReLU next to convolutions folded by Tune mode are exact, one bit a value', () => {
  const block = (i: number) => [
    tf.layers.conv2d({ inputShape: [8, 8, 3], filters: 8, kernelSize: 3, padding: 'same', useBias: false, name: `conv_${i}` }),
    tf.layers.batchNormalization({ name: `norm_${i}` }),
    tf.layers.reLU({ name: `relu_${i}` }),
  ];
  const model = tf.sequential({ layers: [0, 1, 2].flatMap(block) });
  const loss = lossOf(model, [4, 8, 8, 3]);
  const [exact, codes] = [step(model, [tuneMode()], loss), step(model, [tuneMode(), fourBit()], loss)];
  expect(codes.value).toBe(exact.value);
  expect(distance(codes.gradients, exact.gradients)).toBeLessThan(1e-6);
  expect(codes.kept('Relu')).toBe((3 * 4 * 8 * 8 * 8) / 8);
  expect(exact.keptBytes).toBeGreaterThan(codes.keptBytes);
  model.dispose();
});

test.each<[string, () => readonly Technique[], number]>([
  ['adapters of LoRA', () => [lora({ r: 4, target_modules: Array.from({ length: DEPTH }, (_, i) => `dense_${i}`) })], 0.08],
  ['the modules of S2A', () => s2a({ fourBit: false, side: { width: 16 } }), 0.08],
])('%s train through codes, near to how they train without', (_, make, bound) => {
  const model = deepGelu();
  const loss = lossOf(model, [BATCH, WIDTH]);
  const [exact, codes] = [step(model, make(), loss), step(model, [...make(), fourBit()], loss)];
  expect(codes.value).toBe(exact.value);
  expect(distance(codes.gradients, exact.gradients)).toBeLessThan(bound);
  expect(distance(codes.gradients, exact.gradients)).toBeGreaterThan(0);
  expect(codes.kept('Gelu')).toBeLessThanOrEqual((DEPTH * N) / 2);
  expect(codes.kept('Gelu')).toBeGreaterThanOrEqual(((DEPTH - 1) * N) / 2);
  expect(codes.keptBytes).toBeLessThan(exact.keptBytes);
  model.dispose();
});
