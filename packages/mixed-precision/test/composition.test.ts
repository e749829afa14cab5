/** With its siblings: laws 1, 2, 3 and 7 in both orders, and what waits. */
import { useBackend } from '@leantune/backends';
import { evalMode, tuneMode } from '@leantune/convbn';
import { checkpoint, finetune, measure, type Technique } from '@leantune/core';
import { lamda } from '@leantune/lamda';
import { lora } from '@leantune/lora';
import { biasTuning, fourBit } from '@leantune/s2a';
import { available, composes, type Subject, tinyModels } from '@leantune/testing';
import { fromConfig } from '@leantune/transformers';
import * as tf from '@tensorflow/tfjs';
import { beforeAll, describe, expect, test } from 'vitest';
import { dynamicLossScale, mixedPrecision } from '../src/index.ts';

beforeAll(async () => {
  await useBackend('wasm');
});

const mixed: Subject = {
  make: () => mixedPrecision({ lossScale: dynamicLossScale({ initial: 256 }) }),
  factories: { mixedPrecision },
};
const folded = { rel: 1e-5, because: 'the same product in another order' };
const siblings: { readonly [name: string]: Subject } = {
  fourBit: { make: () => fourBit(), factories: { fourBit } },
  biasTuning: { make: () => biasTuning(), factories: { biasTuning } },
  lora: { make: () => lora({ r: 2 }), factories: { lora } },
  lamda: { make: () => lamda({ rank: 2 }), factories: { lamda }, forward: folded },
  evalMode: { make: () => evalMode(), factories: { evalMode } },
  tuneMode: { make: () => tuneMode(), factories: { tuneMode }, forward: folded },
};
test.each(Object.entries(siblings))('mixedPrecision and %s', (name, sibling) =>
  composes('mixedPrecision', mixed, name, sibling, tinyModels['layers/conv']!),
);

test.each(await available(['wasm', 'tensorflow', 'webgpu']))('products of whole numbers stay whole numbers on %s', async (backend) => {
  await useBackend(backend);
  const w = tf.variable(tf.scalar(1));
  const tuned = finetune({ w }, [mixedPrecision()]);
  const [a, b] = [
    tf.tensor2d(
      [
        [1001, 3],
        [3001, 1],
      ],
      undefined,
      'int32',
    ),
    tf.tensor2d(
      [
        [7, 1],
        [1, 1],
      ],
      undefined,
      'int32',
    ),
  ];
  let product: tf.Tensor | undefined;
  const loss = () => {
    product = tf.keep(tf.matMul(a, b));
    return tf.square(w) as tf.Scalar;
  };
  tf.dispose(tuned.valueAndGrads(loss));
  expect([product!.dtype, ...(await product!.data())]).toEqual(['int32', 7010, 1004, 21008, 3002]);
  tuned.dispose();
  tf.dispose([w, a, b, product!]);
  await useBackend('wasm');
});

describe('an encoder of transformers', () => {
  const config = {
    ...{ model_type: 'bert', vocab_size: 50, hidden_size: 32, num_hidden_layers: 2, num_attention_heads: 4 },
    ...{ intermediate_size: 64, max_position_embeddings: 16, type_vocab_size: 2, hidden_act: 'gelu', layer_norm_eps: 1e-12 },
  };
  const kept = (techniques: Technique[]) => {
    const model = fromConfig(config, { task: 'sequence-classification', labels: 3, seed: 1 });
    const tuned = finetune(model, techniques);
    const x = [tf.randomUniform([4, 16], 0, 50, 'int32', 1), tf.ones([4, 16], 'int32')];
    const y = tf.oneHot(tf.tensor1d([0, 1, 2, 0], 'int32'), 3);
    const loss = () => tf.tidy(() => tf.losses.softmaxCrossEntropy(y, model.apply(x, { training: true }) as tf.Tensor) as tf.Scalar);
    const optimizer = tuned.optimizer(tf.train.adam(3e-3));
    const losses: number[] = [];
    const { memory } = measure(() => {
      for (let i = 0; i < 12; i++) losses.push(tf.tidy(() => tuned.minimize(loss, optimizer).dataSync()[0]!));
    });
    tuned.dispose();
    optimizer.dispose();
    model.dispose();
    tf.dispose([x, y]);
    return { bytes: memory.keptBytes, first: losses[0]!, last: losses.at(-1)! };
  };

  test('keeps at most 0.52 of float32, and learns the same', () => {
    const [full, half] = [kept([]), kept([mixed.make() as Technique])];
    expect(half.bytes / full.bytes).toBeLessThanOrEqual(0.52);
    expect(half.first).toBeCloseTo(full.first, 2);
    expect(half.last).toBeCloseTo(full.last, 1);
  });

  test('keeps less with 4 bits before it', () => {
    const [half, both] = [kept([mixed.make() as Technique]), kept([fourBit(), mixed.make() as Technique])];
    expect(both.bytes).toBeLessThan(half.bytes);
    expect(both.first).toBeCloseTo(half.first, 2);
  });
});

test('a checkpoint is computed again in half: its gradients are the same, bit for bit', () => {
  const w = tf.variable(tf.randomNormal([8, 8], 0, 1, 'float32', 1));
  const x = tf.randomNormal([4, 8], 0, 1, 'float32', 2);
  const tuned = finetune({ w }, mixed.make());
  const f = (given: tf.Tensor): tf.Scalar => tf.sum(tf.square(tf.relu(tf.matMul(given, w))));
  const gradient = (loss: () => tf.Scalar) => tf.tidy(() => Array.from(tuned.valueAndGrads(() => loss()).grads[w.name]!.dataSync()));
  expect(gradient(() => checkpoint(f, x))).toEqual(gradient(() => f(x)));
  tuned.dispose();
});

test('frozen weights under LoRA are read as halves: rounded before, they give the same loss and gradients, bit for bit', () => {
  const dense = (units: number, seed: number) => ({ units, kernelInitializer: tf.initializers.glorotNormal({ seed }) });
  const model = tf.sequential({
    layers: [tf.layers.dense({ inputShape: [8], activation: 'relu', ...dense(16, 1) }), tf.layers.dense(dense(4, 2))],
  });
  const tuned = finetune(model, [lora({ r: 2 }), mixed.make() as Technique]);
  tf.tidy(() => {
    for (const [i, v] of tuned.variables.entries()) v.assign(tf.randomNormal(v.shape, 0, 0.1, 'float32', 10 + i));
    const x = tf.randomNormal([6, 8], 0, 1, 'float32', 3);
    const pass = () => {
      const { value, grads } = tuned.valueAndGrads(() => tf.mean(tf.square(model.apply(x, { training: true }) as tf.Tensor)) as tf.Scalar);
      return [value, ...Object.values(grads)].map((t) => Array.from(t.dataSync()));
    };
    const before = pass();
    expect(before.length).toBe(1 + tuned.variables.length);
    const base = String(model.getWeights()[0]!.dataSync());
    model.setWeights(
      model
        .getWeights()
        .map((w) => (w.rank === 2 ? (tf.engine().runKernel('RoundHalf', { x: w }, { half: 'float16' } as never) as tf.Tensor) : w)),
    );
    expect(String(model.getWeights()[0]!.dataSync())).not.toBe(base);
    expect(pass()).toEqual(before);
  });
  tuned.dispose();
  model.dispose();
});

test('tune mode folds in float32, and the product rounds what was folded', () => {
  /** Notes the filters that convolutions are asked for, outside or inside of the techniques beside it. */
  const watch = (filters: Float32Array[]): Technique => ({
    name: 'watch',
    options: null,
    attach: () => ({
      compute(call, run) {
        if (/^(Fused)?Conv2D$/.test(call.kernel)) filters.push(call.inputs['filter']!.dataSync().slice() as Float32Array);
        return run(call);
      },
      detach() {},
    }),
  });
  const run = (techniques: Technique[]): void => {
    const seeded = (seed: number) => tf.initializers.randomUniform({ minval: 0.5, maxval: 2, seed });
    const model = tf.sequential({
      layers: [
        tf.layers.conv2d({ inputShape: [6, 6, 3], filters: 4, kernelSize: 3, useBias: false, kernelInitializer: seeded(1) }),
        tf.layers.batchNormalization({ gammaInitializer: seeded(2), movingVarianceInitializer: seeded(3) }),
      ],
    });
    const tuned = finetune(model, techniques);
    const x = tf.randomNormal([2, 6, 6, 3], 0, 1, 'float32', 4);
    tf.tidy(() => void tuned.valueAndGrads(() => tf.mean(model.apply(x, { training: true }) as tf.Tensor) as tf.Scalar));
    tuned.dispose();
    model.dispose();
    x.dispose();
  };
  const [full, outside, inside]: [Float32Array[], Float32Array[], Float32Array[]] = [[], [], []];
  run([tuneMode(), watch(full)]);
  run([tuneMode(), watch(outside), mixed.make() as Technique, watch(inside)]);
  expect(outside).toEqual(full);
  const halves = outside.map((filter) =>
    tf.tidy(() => tf.engine().runKernel('RoundHalf', { x: tf.tensor1d(filter) }, { half: 'float16' } as never) as tf.Tensor),
  );
  expect(inside).toEqual(halves.map((half) => half.dataSync()));
  expect(inside).not.toEqual(outside);
  tf.dispose(halves);
});
