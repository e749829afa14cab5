/**
 * Energy of a training step of a transformer block on webgpu; the block and the protocol of energy.py.
 *
 *   npx tsx --conditions=@leantune/source benchmarks/gpu/energy.ts [--repeats=8] [--calls=40] [--batch=8] [--quick] > benchmarks/gpu/results/<card>-energy-webgpu.json
 *   npx tsx --conditions=@leantune/source benchmarks/gpu/energy-report.ts benchmarks/gpu/results/<card>-energy-*.json
 *
 * The card is read by NVML's counter where koffi is installed, else by `nvidia-smi`, which samples beside this process and is put next to
 * its runs by the clock. Without an NVIDIA card there is only the processor's estimate, and the file says so.
 */
import { useBackend } from '@leantune/backends';
import { finetune, type Technique } from '@leantune/core';
import { compareEnergy, nvidiaSmi, nvml, processorTime } from '@leantune/energy';
import { mixedPrecision } from '@leantune/mixed-precision';
import * as tf from '@tensorflow/tfjs';

const quick = process.argv.includes('--quick');
const option = (name: string, otherwise: number): number =>
  Number(process.argv.find((arg) => arg.startsWith(`--${name}=`))?.split('=')[1] ?? otherwise);
const [tokens, width, heads, hidden] = quick ? [16, 32, 2, 64] : [256, 1024, 16, 4096];
const batch = option('batch', quick ? 2 : 8);
const calls = option('calls', quick ? 2 : 40);

// The factor: each precision with the techniques that make it.
const precisions: Readonly<Record<string, () => readonly Technique[]>> = {
  float32: () => [],
  mixed_float16: () => [mixedPrecision()],
};

await useBackend('webgpu');
const [x, y] = [1, 2].map((seed) => tf.randomNormal([batch, tokens, width], 0, 1, 'float32', seed)) as [tf.Tensor3D, tf.Tensor3D];
const linear = (name: string, from: number, to: number, seed: number): Record<string, tf.Variable> => ({
  [`${name}.kernel`]: tf.variable(tf.randomNormal([from, to], 0, from ** -0.5, 'float32', seed)),
  [`${name}.bias`]: tf.variable(tf.zeros([to])),
});

function block(): Record<string, tf.Variable> {
  return {
    'norm1.gain': tf.variable(tf.ones([width])),
    'norm1.bias': tf.variable(tf.zeros([width])),
    'norm2.gain': tf.variable(tf.ones([width])),
    'norm2.bias': tf.variable(tf.zeros([width])),
    ...linear('query', width, width, 3),
    ...linear('key', width, width, 4),
    ...linear('value', width, width, 5),
    ...linear('out', width, width, 6),
    ...linear('up', width, hidden, 7),
    ...linear('down', hidden, width, 8),
  };
}

/** x [batch, tokens, width] -> the same shape: pre-norm attention and perceptron. */
function forward(w: Record<string, tf.Variable>, input: tf.Tensor3D): tf.Tensor3D {
  const apply = (name: string, h: tf.Tensor): tf.Tensor =>
    tf.add(tf.matMul(h.reshape([batch * tokens, h.shape.at(-1)!]), w[`${name}.kernel`]!), w[`${name}.bias`]!);
  const norm = (name: string, h: tf.Tensor): tf.Tensor => {
    const { mean, variance } = tf.moments(h, -1, true);
    return h.sub(mean).mul(variance.add(1e-5).rsqrt()).mul(w[`${name}.gain`]!).add(w[`${name}.bias`]!);
  };
  const split = (h: tf.Tensor): tf.Tensor => h.reshape([batch, tokens, heads, width / heads]).transpose([0, 2, 1, 3]);
  const normed = norm('norm1', input);
  const [q, k, v] = ['query', 'key', 'value'].map((name) => split(apply(name, normed))) as [tf.Tensor, tf.Tensor, tf.Tensor];
  const scores = tf.softmax(tf.matMul(q, k, false, true).mul((width / heads) ** -0.5)); // [batch, heads, tokens, tokens]
  const mixed = tf.matMul(scores, v).transpose([0, 2, 1, 3]);
  const h = input.add(apply('out', mixed.reshape([batch * tokens, width])).reshape(input.shape));
  const up = apply('up', norm('norm2', h));
  const gelu = up.mul(0.5).mul(
    up
      .add(up.pow(3).mul(0.044715))
      .mul(Math.sqrt(2 / Math.PI))
      .tanh()
      .add(1),
  );
  return h.add(apply('down', gelu).reshape(input.shape)) as tf.Tensor3D;
}

/** Some steps, and a wait for the device: reading a loss waits for all before it. */
function trainer(techniques: readonly Technique[]): () => Promise<void> {
  const weights = block();
  const tuned = finetune(weights, techniques);
  const optimizer = tuned.optimizer(tf.train.sgd(1e-3));
  return async () => {
    for (let step = 0; step < 9; step++)
      tuned.minimize(() => tf.losses.meanSquaredError(y, forward(weights, x)) as tf.Scalar, optimizer).dispose();
    const loss = tuned.minimize(() => tf.losses.meanSquaredError(y, forward(weights, x)) as tf.Scalar, optimizer);
    await loss.data();
    loss.dispose();
  };
}

const steps = 10;
const works = Object.entries(precisions).map(
  ([name, make]) => [name, { run: trainer(make()), calls, steps, samples: steps * batch }] as const,
);
const { configurations } = await compareEnergy(Object.fromEntries(works), {
  repeats: option('repeats', quick ? 2 : 8),
  idleSeconds: quick ? 0.2 : 4,
  sources: [[nvml(), nvidiaSmi(), processorTime()]],
});
const reports = Object.entries(configurations);
const [, first] = reports[0]!;
const { adapterInfo } = (tf.backend() as unknown as { device: { adapterInfo: { vendor: string; description: string } } }).device;
for (const [name, report] of reports) console.error(`${name}\n${report}`);
const file = {
  what: `training step of a transformer block, batch ${batch}, ${tokens} tokens of ${width}, LeanTune on webgpu`,
  card: adapterInfo.description || adapterInfo.vendor,
  meter: first.meters.map(({ name }) => name).join(', '),
  date: new Date().toISOString(),
  idle: {
    before: first.meters.reduce((sum, { idle }) => sum + idle.before, 0),
    after: first.meters.reduce((sum, { idle }) => sum + idle.after, 0),
    watts: first.meters.reduce((sum, { idle }) => sum + idle.watts, 0),
  },
  runs: reports.flatMap(([configuration, { runs }]) =>
    runs.map(({ repeat, seconds, gross }) => ({
      configuration,
      repeat,
      seconds,
      gross,
      steps: calls * steps,
      samples: calls * steps * batch,
    })),
  ),
};
console.log(JSON.stringify(file, null, 1));
process.exit(0);
