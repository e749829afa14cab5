/**
 * Trains a VGG-like network on one batch and prints what happened, as JSON. Run in a process of its own: TensorFlow reads the limit
 * of its allocator once, from TF_CPU_BFC_MEM_LIMIT_IN_MB.
 *
 *   budget-program.ts stock|leantune <batch> [<batch after a failure>]
 */
import { finetune } from '@leantune/core';
import * as tf from '@tensorflow/tfjs';
import { BackendError, useBackend } from '../../src/index.ts';
import { allocatorStats, shimNode } from '../../src/tensorflow/index.ts';

export interface Outcome {
  readonly losses: number[];
  readonly error?: string;
  readonly code?: string;
  /** All weights and the state of the optimizer are, bit for bit, what they were before the step that failed. */
  readonly intact?: boolean;
  /** Losses of steps with the smaller batch, after the failure. */
  readonly after?: number[];
  readonly peakBytes: number;
}

const SIZE = 64;
const [engine, batch, smaller] = [process.argv[2], Number(process.argv[3]), Number(process.argv[4] ?? 0)];

if (engine === 'stock') {
  shimNode(); // it asks Node for what Node 23 took away
  await import('@tensorflow/tfjs-node');
} else await useBackend('tensorflow');
await tf.setBackend('tensorflow');

const model = tf.sequential();
for (const [i, filters] of [16, 16, 32, 32, 64, 64].entries()) {
  const shape = i === 0 ? { inputShape: [SIZE, SIZE, 3] } : {};
  model.add(
    tf.layers.conv2d({ filters, kernelSize: 3, padding: 'same', kernelInitializer: tf.initializers.heNormal({ seed: i + 1 }), ...shape }),
  );
  model.add(tf.layers.batchNormalization());
  model.add(tf.layers.activation({ activation: 'relu' }));
  if (i % 2 === 1) model.add(tf.layers.maxPooling2d({ poolSize: 2 }));
}
model.add(tf.layers.globalAveragePooling2d({}));
model.add(tf.layers.dense({ units: 10, activation: 'softmax', kernelInitializer: tf.initializers.heNormal({ seed: 9 }) }));

const adam = tf.train.adam(1e-3);
const tuned = engine === 'stock' ? undefined : finetune(model);
model.compile({ optimizer: tuned ? tuned.optimizer(adam) : adam, loss: 'categoricalCrossentropy' });

function data(size: number): [tf.Tensor, tf.Tensor] {
  const labels = tf.range(0, size, 1, 'int32').mod(10).toInt();
  return [tf.randomUniform([size, SIZE, SIZE, 3], 0, 1, 'float32', 1), tf.oneHot(labels, 10)];
}

async function train(size: number, steps: number): Promise<number[]> {
  const [x, y] = tf.tidy(() => data(size));
  const losses: number[] = [];
  try {
    for (let i = 0; i < steps; i++) losses.push((await model.trainOnBatch(x, y)) as number);
  } finally {
    tf.dispose([x, y]);
  }
  return losses;
}

/** Every weight, and what the optimizer holds. */
async function state(): Promise<string> {
  const held = [...model.getWeights(), ...(await adam.getWeights()).map(({ tensor }) => tensor)];
  return held.map((x) => Buffer.from(x.dataSync().slice().buffer).toString('base64')).join();
}

const outcome: { -readonly [key in keyof Outcome]: Outcome[key] } = { losses: [], peakBytes: 0 };
if (smaller > 0) outcome.losses = await train(smaller, 1);
const before = await state();
try {
  outcome.losses.push(...(await train(batch, 3)));
} catch (error) {
  outcome.error = (error as Error).message;
  if (error instanceof BackendError) outcome.code = error.code;
  outcome.intact = (await state()) === before;
  if (smaller > 0) outcome.after = await train(smaller, 3);
}
outcome.peakBytes = allocatorStats(tf.backend()).peakBytes;
console.log(JSON.stringify(outcome));
