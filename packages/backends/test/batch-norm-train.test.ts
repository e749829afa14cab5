/** Batch norm in training as one kernel each way: held to its equations in float64, and a layer's training step to stock tfjs. */
import { finetune, type Technique } from '@leantune/core';
import { available } from '@leantune/testing';
import * as tf from '@tensorflow/tfjs';
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest';
import { useBackend } from '../src/index.ts';
import { batchNormTraining } from '../src/tensorflow/batch-norm-train.ts';
import type { TensorflowBackend } from '../src/tensorflow/binding.ts';
import type { WebGPUBackend } from '../src/webgpu/index.ts';
import { distance, random as values } from './compare.ts';

const random = (shape: number[], seed: number): tf.Tensor => tf.tensor(values(shape, seed).data, shape);

type Vector = Float32Array | Float64Array;
const EPSILON = 1e-3;

/** y, dx, dscale and doffset of rows × channels, in float64. */
function reference(x: Vector, dy: Vector, scale: Vector, offset: Vector): readonly [Vector, Vector, Vector, Vector] {
  const c = scale.length;
  const n = x.length / c;
  const mean = (of: (i: number) => number) => Array.from({ length: n }, (_, i) => of(i)).reduce((a, b) => a + b, 0) / n;
  const [y, dx, dscale, doffset] = [new Float64Array(n * c), new Float64Array(n * c), new Float64Array(c), new Float64Array(c)];
  for (let j = 0; j < c; j++) {
    const at = (v: Vector, i: number) => v[i * c + j]!;
    const mu = mean((i) => at(x, i));
    const r = 1 / Math.sqrt(mean((i) => (at(x, i) - mu) ** 2) + EPSILON);
    const normal = (i: number) => (at(x, i) - mu) * r;
    const [along, whole] = [mean((i) => at(dy, i) * normal(i)), mean((i) => at(dy, i))];
    [dscale[j], doffset[j]] = [n * along, n * whole];
    for (let i = 0; i < n; i++) {
      y[i * c + j] = normal(i) * scale[j]! + offset[j]!;
      dx[i * c + j] = r * scale[j]! * (at(dy, i) - whole - normal(i) * along);
    }
  }
  return [y, dx, dscale, doffset];
}

const run = (kernel: string, inputs: tf.NamedTensorMap, attrs: tf.NamedAttrMap) =>
  tf.engine().runKernel(kernel, inputs, { varianceEpsilon: EPSILON, ...attrs }) as tf.Tensor[];

/** A convolution, whose bias the norm would take away, a norm, a head. */
function network(norm: object): tf.Sequential {
  const seeded = (seed: number) => tf.initializers.randomNormal({ seed });
  return tf.sequential({
    layers: [
      tf.layers.conv2d({ inputShape: [6, 6, 2], filters: 5, kernelSize: 3, useBias: false, kernelInitializer: seeded(1) }),
      tf.layers.batchNormalization({ ...norm, momentum: 0.8 }),
      tf.layers.flatten(),
      tf.layers.dense({ units: 3, activation: 'softmax', kernelInitializer: seeded(2) }),
    ],
  });
}

const batch = () => [random([8, 6, 6, 2], 3), tf.oneHot(tf.tensor1d([0, 1, 2, 0, 1, 2, 0, 1], 'int32'), 3)] as const;
const valuesOf = (model: tf.LayersModel) => model.weights.map((w) => w.read().dataSync<'float32'>());

/** Weights and statistics after two steps. */
async function trained(norm: object, techniques: readonly Technique[] | undefined): Promise<Float32Array[]> {
  const model = network(norm);
  const [x, y] = batch();
  const tuned = techniques && finetune(model, techniques, { trainable: /./ });
  const sgd = tf.train.sgd(0.1);
  model.compile({ optimizer: tuned ? tuned.optimizer(sgd) : sgd, loss: 'categoricalCrossentropy' });
  for (let i = 0; i < 2; i++) await model.trainOnBatch(x, y);
  const values = valuesOf(model);
  tuned?.dispose();
  tf.dispose([x, y]);
  model.dispose();
  return values;
}

const backends = await available(['wasm', 'tensorflow', 'webgpu']);
const variants: { readonly [backend: string]: readonly string[] } = {
  webgpu: ['webgpu, as on a GPU'], // with the plans of one, whatever its adapter
  tensorflow: ["tensorflow, by TensorFlow's ops"], // as where the addon is not there
};
const kinds = backends.flatMap((name) => [name, ...(variants[name] ?? [])].map((kind) => [kind, name] as const));

describe.each(kinds)('%s', (kind, backend) => {
  const gpu = kind === 'webgpu, as on a GPU';
  const composed = kind === "tensorflow, by TensorFlow's ops";
  const device = () => (tf.backend() as WebGPUBackend).device;
  const before = new Map<string, tf.KernelConfig>();
  beforeAll(async () => {
    await useBackend(backend);
    if (composed)
      for (const [kernelName, kernel] of Object.entries(batchNormTraining)) {
        before.set(kernelName, tf.getKernel(kernelName, backend));
        tf.unregisterKernel(kernelName, backend);
        const kernelFunc = (({ inputs, attrs, backend }) =>
          kernel(inputs as tf.NamedTensorInfoMap, attrs ?? {}, backend as TensorflowBackend)) as tf.KernelFunc;
        tf.registerKernel({ kernelName, backendName: backend, kernelFunc });
      }
    if (gpu) Object.defineProperty(device(), 'adapterInfo', { value: { description: 'a GPU' }, configurable: true });
  });
  afterAll(async () => {
    await tf.setBackend(backend);
    for (const [kernelName, config] of before) {
      tf.unregisterKernel(kernelName, backend);
      tf.registerKernel(config);
    }
    if (gpu) Reflect.deleteProperty(device(), 'adapterInfo');
  });

  test.each([
    [[40, 3]],
    [[7, 5, 4]],
    [[3, 6, 5, 8]],
    [[2, 2, 3, 2, 5]],
    [[9, 1, 1, 320]],
    [[5000, 8]],
    [[1, 4]],
    [[3001, 1]],
    [[3, 16_389]],
  ])('%j: y and gradients, to their equations', (shape) => {
    const c = shape.at(-1)!;
    const before = tf.memory().numTensors;
    tf.tidy(() => {
      const [x, dy, scale, offset, ones] = [random(shape, 1), random(shape, 2), random([c], 3), random([c], 4), tf.ones([c])];
      const moving = { movingMean: tf.zeros([c]), movingVariance: ones };
      const [y, mean, variance] = run('BatchNormTrain', { x, scale, offset, ...moving }, { momentum: 0.9 });
      const [dx, dscale, doffset] = run('BatchNormTrainGrad', { dy, x, mean: mean!, variance: variance!, scale }, {});
      const made = [y!, dx!, dscale!, doffset!];
      const expected = reference(...([x, dy, scale, offset].map((t) => t.dataSync<'float32'>()) as [Vector, Vector, Vector, Vector]));
      expect([y!.shape, dx!.shape, dscale!.shape, doffset!.shape]).toEqual([shape, shape, [c], [c]]);
      expected.forEach((values, i) => expect(distance(made[i]!.dataSync(), values as never)).toBeLessThan(1e-5));
    });
    expect(tf.memory().numTensors).toBe(before);
  });

  test.each([
    ['a mean that is a thousand deviations does', 1e-4, (x: tf.Tensor) => tf.add(x, 500)],
    [
      'a first row that is two hundred deviations off does',
      2e-5,
      (x: tf.Tensor) =>
        tf.add(
          x,
          tf.pad(tf.fill([1, 12], 100), [
            [0, 4095],
            [0, 0],
          ]),
        ),
    ],
  ] as const)('%s not drown the variance, and the same step gives the same bits', (_, within, moved) => {
    const [rows, c] = [4096, 12];
    const given = () => moved(random([rows, c], 1));
    const again = () =>
      tf.tidy(() => {
        const none = { movingMean: tf.zeros([c]), movingVariance: tf.ones([c]) };
        return run('BatchNormTrain', { x: given(), ...none }, { momentum: 0.9 }).map((t) => t.dataSync<'float32'>());
      });
    const values = tf.tidy(() => given().dataSync<'float32'>());
    const expected = Array.from({ length: c }, (_, j) => {
      const column = Array.from({ length: rows }, (_, i) => values[i * c + j]!);
      const mean = column.reduce((a, b) => a + b, 0) / rows;
      return column.reduce((a, b) => a + (b - mean) ** 2, 0) / rows;
    });
    const once = again();
    expect(distance(once[2]!, expected)).toBeLessThan(within);
    expect(again()).toEqual(once);
  });

  test('a scale that is NaN shows in dx of its channel alone', () => {
    const c = 6;
    tf.tidy(() => {
      const [x, dy] = [random([8, c], 1), random([8, c], 2)];
      const none = { movingMean: tf.zeros([c]), movingVariance: tf.ones([c]) };
      const [, mean, variance] = run('BatchNormTrain', { x, ...none }, { momentum: 0.9 });
      const gradients = (scale: number[]) =>
        run('BatchNormTrainGrad', { dy, x, mean: mean!, variance: variance!, scale: tf.tensor1d(scale) }, {}).map((t) =>
          t.dataSync<'float32'>(),
        );
      const [dx, ...others] = gradients([1, Number.NaN, 1, 1, Number.NaN, 1]);
      const [whole, ...same] = gradients([1, 1, 1, 1, 1, 1]);
      expect(others).toEqual(same);
      expect(dx).toEqual(whole!.map((value, i) => ([1, 4].includes(i % c) ? Number.NaN : value)));
    });
  });

  test.each([{}, { scale: false }, { center: false }, { scale: false, center: false }])(
    'a step of a layer with %j moves weights and statistics as on cpu',
    async (norm) => {
      const runKernel = vi.spyOn(tf.engine(), 'runKernel');
      const ours = await trained(norm, []);
      expect(runKernel.mock.calls.filter(([kernel]) => kernel.startsWith('BatchNormTrain'))).toHaveLength(4);
      runKernel.mockRestore();
      await tf.setBackend('cpu');
      const plain = await trained(norm, []);
      await useBackend(backend);
      ours.forEach((values, i) => expect(distance(values, plain[i]!)).toBeLessThan(2e-5));
    },
  );

  test('a technique that chooses what waits for backward sees the ops', async () => {
    const kernels = new Set<string>();
    const watch: Technique = {
      name: 'watch',
      options: null,
      attach: () => ({ keep: ({ kernel }) => void kernels.add(kernel), detach() {} }),
    };
    await trained({}, [watch]);
    expect(kernels).toContain('FusedBatchNorm');
    expect(kernels).not.toContain('BatchNormTrain');
  });

  test('a step that fails leaves the statistics as they were, and no tensor behind', async () => {
    const model = network({});
    const [x, y] = batch();
    const tuned = finetune(model, [], { trainable: /./ });
    model.compile({ optimizer: tuned.optimizer(tf.train.sgd(0.1)), loss: (t, p) => tf.mul(tf.losses.meanSquaredError(t, p), Number.NaN) });
    const before = [valuesOf(model), tf.memory().numTensors] as const;
    await expect(model.trainOnBatch(x, y)).rejects.toThrow('the loss is NaN');
    expect(valuesOf(model)).toEqual(before[0]);
    expect(tf.memory().numTensors).toBe(before[1]);
    tuned.dispose();
    tf.dispose([x, y]);
    model.dispose();
  });
});
