/** Batch norm and the ReLU behind it as one kernel each way: held to the two kernels by themselves, and to the networks where they may not be one. */
import { finetune, type Technique } from '@leantune/core';
import { available } from '@leantune/testing';
import * as tf from '@tensorflow/tfjs';
import { beforeAll, describe, expect, test, vi } from 'vitest';
import { useBackend } from '../src/index.ts';
import { distance, random as values } from './compare.ts';

const random = (shape: number[], seed: number): tf.Tensor => tf.tensor(values(shape, seed).data, shape);
const run = (kernel: string, inputs: tf.NamedTensorMap, attrs: tf.NamedAttrMap) =>
  tf.engine().runKernel(kernel, inputs, { varianceEpsilon: 1e-3, ...attrs }) as tf.Tensor[];
const bits = (t: tf.Tensor) => t.dataSync<'float32'>();

type Apply = (x: tf.SymbolicTensor) => tf.SymbolicTensor;
const layer =
  (made: tf.layers.Layer): Apply =>
  (x) =>
    made.apply(x) as tf.SymbolicTensor;
const norm = (config: object = {}) => layer(tf.layers.batchNormalization({ momentum: 0.8, ...config }));

/** Between a convolution and a head, which takes all that `between` returns. */
function network(between: (x: tf.SymbolicTensor) => tf.SymbolicTensor[]): tf.LayersModel {
  const seeded = (seed: number) => tf.initializers.randomNormal({ seed });
  const input = tf.input({ shape: [6, 6, 2] });
  const conv = tf.layers.conv2d({ filters: 5, kernelSize: 3, useBias: false, kernelInitializer: seeded(1) });
  const parts = between(conv.apply(input) as tf.SymbolicTensor).map(layer(tf.layers.flatten()));
  const joined = parts.length > 1 ? layer(tf.layers.concatenate())(parts as never) : parts[0]!;
  return tf.model({
    inputs: input,
    outputs: tf.layers.dense({ units: 3, kernelInitializer: seeded(2) }).apply(joined) as tf.SymbolicTensor,
  });
}

/** Weights after two steps by `fit`'s way, and the kernels of batch norms that ran forward. `change`: what somebody does to the model after. */
async function trained(
  model: tf.LayersModel,
  techniques: readonly Technique[] = [],
  options: object = {},
  change = (_: tf.LayersModel) => {},
) {
  const [x, y] = [random([8, 6, 6, 2], 3), tf.oneHot(tf.tensor1d([0, 1, 2, 0, 1, 2, 0, 1], 'int32'), 3)];
  const tuned = finetune(model, techniques, { trainable: /./, ...options });
  change(model);
  model.compile({ optimizer: tuned.optimizer(tf.train.sgd(0.1)), loss: (y, logits) => tf.losses.softmaxCrossEntropy(y, logits) });
  await model.trainOnBatch(x, y);
  const before = tf.memory().numTensors;
  const spy = vi.spyOn(tf.engine(), 'runKernel');
  await model.trainOnBatch(x, y);
  const kernels = spy.mock.calls.map(([kernel]) => kernel).filter((kernel) => /^(BatchNorm.*Train|Relu6?)$/.test(kernel));
  spy.mockRestore();
  expect(tf.memory().numTensors).toBe(before);
  tuned.dispose();
  const weights = model.getWeights().map(bits);
  tf.dispose([x, y, model.weights.map((weight) => weight.read())]); // model.dispose fails where layers are part of several models
  return { weights, kernels };
}

const of = (model: tf.LayersModel, type: string) => model.layers.find((one) => one.getClassName() === type)!;

const negative = (inputs: tf.Tensor | tf.Tensor[]) => tf.neg([inputs].flat()[0]!);

/** What a method of `layer` returns, negated. */
function negated(layer: tf.layers.Layer, method: 'apply' | 'call'): void {
  const own = (layer[method] as (...args: unknown[]) => tf.Tensor).bind(layer);
  Object.assign(layer, { [method]: (...args: unknown[]) => tf.tidy(() => tf.neg(own(...args))) });
}

const backends = await available(['wasm', 'tensorflow', 'webgpu']);

describe.each(backends)('%s', (backend) => {
  beforeAll(() => useBackend(backend));

  test.each([
    [[40, 3], 6],
    [[7, 5, 4], Number.POSITIVE_INFINITY],
    [[3, 6, 5, 8], 0.7],
    [[1, 4], 6],
    [[3001, 1], 0.5],
    [[64, 17], 0.4],
  ] as const)('%j, clipped at %d: the bits of the norm and of the ReLU by themselves', (shape, max) => {
    const c = shape.at(-1)!;
    const before = tf.memory().numTensors;
    tf.tidy(() => {
      const [x, dy, scale, offset] = [random([...shape], 1), random([...shape], 2), random([c], 3), random([c], 4)];
      for (const weights of [{ scale, offset }, { scale }, { offset }, {}] as tf.NamedTensorMap[]) {
        const moving = { movingMean: tf.zeros([c]), movingVariance: tf.ones([c]) };
        const [y, mean, variance, ...moved] = run('BatchNormTrain', { x, ...weights, ...moving }, { momentum: 0.9 });
        const [clipped, ...statistics] = run('BatchNormReluTrain', { x, ...weights, ...moving }, { momentum: 0.9, max });
        expect(bits(clipped!)).toEqual(bits(tf.minimum(tf.relu(y!), max)));
        expect(statistics.map(bits)).toEqual([mean!, variance!, ...moved].map(bits));

        const passed = tf.where(tf.logicalAnd(tf.greater(y!, 0), tf.lessEqual(y!, max)), dy, tf.zerosLike(dy));
        const read = { x, mean: mean!, variance: variance!, ...('scale' in weights && { scale }) };
        const plain = run('BatchNormTrainGrad', { dy: passed, ...read }, {});
        const fused = run('BatchNormReluTrainGrad', { dy, ...read, ...('offset' in weights && { offset }) }, { max });
        expect(fused.map(bits)).toEqual(plain.map(bits));
      }
    });
    expect(tf.memory().numTensors).toBe(before);
  });

  const one: readonly [string, (x: tf.SymbolicTensor) => tf.SymbolicTensor[]][] = [
    ['ReLU', (x) => [layer(tf.layers.reLU())(norm()(x))]],
    ['ReLU up to 6', (x) => [layer(tf.layers.reLU({ maxValue: 6 }))(norm()(x))]],
    ['ReLU up to 0.5', (x) => [layer(tf.layers.reLU({ maxValue: 0.5 }))(norm({ scale: false })(x))]],
    ['an activation', (x) => [layer(tf.layers.activation({ activation: 'relu' }))(norm({ center: false })(x))]],
    ['an activation of 6', (x) => [layer(tf.layers.activation({ activation: 'relu6' }))(norm()(x))]],
    [
      'two ReLUs',
      (x) => {
        const y = norm()(x);
        return [layer(tf.layers.reLU())(y), layer(tf.layers.activation({ activation: 'relu' }))(y)];
      },
    ],
    ['ReLU as a file of Keras has it', (x) => [layer(tf.layers.reLU({ maxValue: null as unknown as number }))(norm()(x))]],
    ['ReLU with a sigmoid behind', (x) => [layer(tf.layers.activation({ activation: 'sigmoid' }))(layer(tf.layers.reLU())(norm()(x)))]],
  ];
  test.each(one)('behind a norm, %s: one kernel, and the weights that cpu reaches', async (_, between) => {
    const ours = await trained(network(between));
    expect(ours.kernels).toEqual(['BatchNormReluTrain']);
    await tf.setBackend('cpu');
    const plain = await trained(network(between));
    await useBackend(backend);
    ours.weights.forEach((weights, i) => expect(distance(weights, plain.weights[i]!)).toBeLessThan(2e-5));
  });

  const relu6 = () => layer(tf.layers.reLU({ maxValue: 6 }));
  const two: readonly [string, (x: tf.SymbolicTensor) => tf.SymbolicTensor[]][] = [
    [
      'something else reads the norm too',
      (x) => {
        const y = norm()(x);
        return [y, relu6()(y)];
      },
    ],
    [
      'the ReLUs differ',
      (x) => {
        const y = norm()(x);
        return [layer(tf.layers.reLU())(y), relu6()(y)];
      },
    ],
    [
      'the norm is used twice',
      (x) => {
        const shared = tf.layers.batchNormalization();
        return [relu6()(layer(shared)(x)), layer(shared)(x)];
      },
    ],
    ['the ReLU leaks', (x) => [layer(tf.layers.leakyReLU())(norm()(x))]],
    [
      'somebody changed what the ReLU does',
      (x) => {
        const own = tf.layers.reLU();
        const y = layer(own)(norm()(x));
        own.call = negative;
        return [y];
      },
    ],
    [
      'somebody changed what the norm does',
      (x) => {
        const own = tf.layers.batchNormalization();
        const y = relu6()(layer(own)(x));
        negated(own, 'call');
        return [y];
      },
    ],
  ];
  test.each(two)('not where %s', async (_, between) => {
    const ours = await trained(network(between));
    expect(ours.kernels).not.toContain('BatchNormReluTrain');
    await tf.setBackend('cpu');
    const plain = await trained(network(between));
    await useBackend(backend);
    ours.weights.forEach((weights, i) => expect(distance(weights, plain.weights[i]!)).toBeLessThan(2e-5));
  });

  test('what somebody made of a ReLU up to 6 runs in its place', async () => {
    const model = network(one[1]![1]);
    of(model, 'ReLU').call = negative;
    expect((await trained(model)).kernels).toEqual(['BatchNormTrain']);
  });

  const later: readonly [string, (model: tf.LayersModel) => void][] = [
    ['what the ReLU does', (model) => Object.assign(of(model, 'ReLU'), { call: negative })],
    ['what the norm does', (model) => negated(of(model, 'BatchNormalization'), 'call')],
    ['what comes of the norm', (model) => negated(of(model, 'BatchNormalization'), 'apply')],
    ['what the ReLU clips to', (model) => Object.assign(of(model, 'ReLU'), { maxValue: 0.3 })],
  ];
  test.each(later)('after finetune, somebody changes %s: the weights that cpu reaches', async (_, change) => {
    const ours = await trained(network(one[0]![1]), [], {}, change);
    await tf.setBackend('cpu');
    const plain = await trained(network(one[0]![1]), [], {}, change);
    await useBackend(backend);
    ours.weights.forEach((weights, i) => expect(distance(weights, plain.weights[i]!)).toBeLessThan(2e-5));
  });

  test('a norm that is part of several models is clipped in each as that one reads it', async () => {
    const several = () => {
      const input = tf.input({ shape: [6, 6, 2] });
      const seeded = (seed: number) => tf.initializers.randomNormal({ seed });
      const y = norm()(layer(tf.layers.conv2d({ filters: 5, kernelSize: 3, useBias: false, kernelInitializer: seeded(1) }))(input));
      const inner = [tf.layers.reLU(), tf.layers.reLU({ maxValue: 0.5 })].map((relu) =>
        tf.model({ inputs: input, outputs: layer(relu)(y) }),
      );
      const parts = [...inner.map((model) => layer(model)(input)), y].map(layer(tf.layers.flatten()));
      const joined = layer(tf.layers.concatenate())(parts as never);
      return tf.model({ inputs: input, outputs: layer(tf.layers.dense({ units: 3, kernelInitializer: seeded(2) }))(joined) });
    };
    const ours = await trained(several());
    expect(ours.kernels.toSorted()).toEqual(['BatchNormReluTrain', 'BatchNormReluTrain', 'BatchNormTrain']);
    await tf.setBackend('cpu');
    const plain = await trained(several());
    await useBackend(backend);
    ours.weights.forEach((weights, i) => expect(distance(weights, plain.weights[i]!)).toBeLessThan(2e-5));
  });

  test('not where the norm is an output of the model, or of one inside of it, or is called by itself', () => {
    const input = tf.input({ shape: [4] });
    const bn = tf.layers.batchNormalization();
    const y = bn.apply(input) as tf.SymbolicTensor;
    const model = tf.model({ inputs: input, outputs: [relu6()(y), y] });
    const inner = tf.layers.batchNormalization();
    const alone = tf.model({ inputs: input, outputs: relu6()(inner.apply(input) as tf.SymbolicTensor) });
    const base = tf.sequential({ layers: [tf.layers.batchNormalization({ inputShape: [4] })] });
    const outer = tf.sequential({ layers: [base, tf.layers.reLU()] });
    const x = random([8, 4], 1);
    const tuned = [model, alone, outer].map((each) => finetune(each, [], { trainable: /./ }));
    const lowest = (t: tf.Tensor) => tf.min(t).dataSync()[0]!;
    let least: number[] = [];
    const loss = (of: () => tf.Tensor) => () => {
      const made = of();
      least.push(lowest(made));
      return tf.sum(made) as tf.Scalar;
    };
    tf.dispose(tuned[0]!.valueAndGrads(loss(() => (model.apply(x, { training: true }) as tf.Tensor[])[1]!)));
    tf.dispose(tuned[1]!.valueAndGrads(loss(() => inner.apply(x, { training: true }) as tf.Tensor)));
    tf.dispose(tuned[2]!.valueAndGrads(loss(() => base.apply(x, { training: true }) as tf.Tensor)));
    expect(least.filter((value) => value < -0.5)).toHaveLength(3);
    least = [];
    tf.dispose(tuned[1]!.valueAndGrads(loss(() => alone.apply(x, { training: true }) as tf.Tensor)));
    expect(least).toEqual([0]);
    for (const one of tuned) one.dispose();
    tf.dispose(x);
    model.dispose();
    alone.dispose();
    outer.dispose();
  });

  test('a technique that puts something else where the ReLU is gets the norm as it is', async () => {
    const swap: Technique = {
      name: 'swap',
      options: null,
      attach(model) {
        const site = model.sites().find(({ kind }) => kind === 'activation')!;
        return { detach: site.replace((x) => tf.neg(x)) };
      },
    };
    const { kernels } = await trained(network(one[1]![1]), [swap]);
    expect(kernels).toEqual(['BatchNormTrain']);
  });

  test('with checkpoints, the weights are those without', async () => {
    const deep = () =>
      network((x) => {
        const block = (x: tf.SymbolicTensor) =>
          relu6()(
            norm()(layer(tf.layers.conv2d({ filters: 5, kernelSize: 1, kernelInitializer: tf.initializers.randomNormal({ seed: 5 }) }))(x)),
          );
        return [block(block(block(x)))];
      });
    const [plain, checkpointed] = [await trained(deep()), await trained(deep(), [], { checkpoint: true })];
    checkpointed.weights.forEach((weights, i) => expect(distance(weights, plain.weights[i]!)).toBeLessThan(2e-5));
  });
});
