import { attribute, functionModels, GraphBuilder, graphModels } from '@leantune/testing';
import * as tf from '@tensorflow/tfjs';
import { beforeAll, describe, expect, it } from 'vitest';
import { checkpoint } from '../src/autograd/checkpoint.ts';
import { valueAndGrads } from '../src/autograd/gradients.ts';
import { FinetuneError } from '../src/errors.ts';
import { readGraphModel } from '../src/models/graph-model.ts';
import { readModel } from '../src/models/read-model.ts';
import { readVariables } from '../src/models/variables.ts';

beforeAll(async () => {
  await tf.setBackend('cpu');
});

const values = (grads: tf.NamedTensorMap) => Object.fromEntries(Object.entries(grads).map(([name, g]) => [name, [...g.dataSync()]]));
const numbers = (tensors: readonly tf.Tensor[]) => tensors.map((t) => [...t.dataSync()]);

describe.each(Object.entries(graphModels))('the graph %s', (_, make) => {
  it('trains its weights with gradients equal bit for bit to stock tf.variableGrads, and leaks nothing', async () => {
    const tiny = await make();
    const reader = readGraphModel(tiny.model);
    const variables = reader.trainable();
    const uninstall = reader.install(new Set(variables));
    const before = tf.memory().numTensors;
    const ours = valueAndGrads(tiny.loss, variables);
    const stock = tf.variableGrads(tiny.loss, [...variables]);
    expect(values(ours.grads)).toEqual(values(stock.grads));
    expect(Object.keys(ours.grads)).toHaveLength(variables.length);
    tf.dispose([ours.value, ours.grads, stock.value, stock.grads]);
    expect(tf.memory().numTensors).toBe(before);
    uninstall();
    tiny.dispose();
  });

  it('has its own tensors back, bit for bit, after uninstall, and the trained values if asked to keep them', async () => {
    const tiny = await make();
    const first = tiny.weights();
    const expected = numbers(tiny.predict());
    const before = tf.memory().numTensors;
    const own = (object: object) => Object.getOwnPropertyDescriptors(object);
    const executor = (tiny.model as unknown as { executor: { graph: { nodes: object } } }).executor;
    const nodes = Object.values(executor.graph.nodes).map(own);
    const names = Object.getOwnPropertyNames(executor);
    const move = () =>
      readGraphModel(tiny.model)
        .trainable()
        .forEach((v) => tf.tidy(() => v.assign(tf.add(v, 1))));

    let reader = readGraphModel(tiny.model);
    let uninstall = reader.install(new Set(reader.trainable()));
    reader.trainable().forEach((v) => tf.tidy(() => v.assign(tf.add(v, 1))));
    expect(numbers(tiny.predict())).not.toEqual(expected);
    uninstall();
    expect(tiny.weights()).toEqual(first);
    expect(Object.values(executor.graph.nodes).map(own)).toEqual(nodes);
    expect(Object.getOwnPropertyNames(executor)).toEqual(names);
    expect(Object.getOwnPropertyNames(tf.engine())).not.toContain('runKernel');

    reader = readGraphModel(tiny.model);
    uninstall = reader.install(new Set(reader.trainable()));
    reader.trainable().forEach((v) => tf.tidy(() => v.assign(tf.add(v, 1))));
    const trained = tf.tidy(() => numbers(tiny.predict()));
    tf.tidy(() => uninstall(true));
    expect(tf.tidy(() => numbers(tiny.predict()))).toEqual(trained);
    expect(tf.memory().numTensors).toBeLessThanOrEqual(before + 1); // the prediction above
    expect(move).not.toThrow();
    tiny.dispose();
  });

  it('holds no more buffers in the forward of a recording that trains its last weight than in predict', async () => {
    const tiny = await make();
    const reader = readGraphModel(tiny.model);
    const [bias] = reader.trainable('head/bias');
    const uninstall = reader.install(new Set([bias!]));
    const engine = tf.engine() as unknown as { trackTensor: (...args: unknown[]) => void };
    // The most buffers while the graph runs: those that a recording keeps of earlier nodes count.
    const peak = (run: (loss: () => tf.Scalar) => void) => {
      const { trackTensor } = engine;
      let most = 0;
      run(() => {
        const start = tf.memory().numDataBuffers;
        engine.trackTensor = (...args) => {
          trackTensor.apply(engine, args);
          most = Math.max(most, tf.memory().numDataBuffers - start);
        };
        const [y] = tiny.predict();
        Reflect.deleteProperty(engine, 'trackTensor');
        return tf.sum(y!);
      });
      return most;
    };
    const plain = peak((loss) => tf.tidy(loss));
    expect(plain).toBeGreaterThan(1);
    expect(peak((loss) => tf.dispose(valueAndGrads(loss, [bias!]) as never))).toBeLessThanOrEqual(plain + 2); // in a gradient tfjs takes a fused op apart, into at most three
    uninstall();
    tiny.dispose();
  });

  it('runs what replaces a node alike in predict and in training, with its gradients, the activation after it', async () => {
    const tiny = await make();
    const reader = readGraphModel(tiny.model);
    const targets = reader.sites((s) => s.kind !== 'other');
    for (const site of targets) {
      const uninstall = reader.install(new Set());
      const plain = numbers(tiny.predict());
      const scale = tf.variable(tf.scalar(1));
      let calls = 0;
      const undo = site.replace((x, next) => {
        calls++;
        return tf.mul(next(x), scale);
      });
      expect(numbers(tiny.predict())).toEqual(plain);
      expect(calls).toBe(1);
      scale.assign(tf.scalar(1.25));
      const moved = numbers(tiny.predict());
      expect(moved).not.toEqual(plain);
      expect(numbers(reader.disabled(() => tiny.predict()))).toEqual(plain);
      const { value, grads } = valueAndGrads(tiny.loss, [scale]);
      expect(value.dataSync()).toEqual(tiny.loss().dataSync());
      const at = (v: number) => {
        scale.assign(tf.scalar(v));
        return tiny.loss().dataSync()[0]!;
      };
      const slope = (at(1.27) - at(1.23)) / 0.04;
      expect(Math.abs(grads[scale.name]!.dataSync()[0]! - slope)).toBeLessThan(2e-3);
      undo();
      expect(numbers(tiny.predict())).toEqual(plain);
      scale.dispose();
      uninstall();
    }
    expect(targets.length).toBeGreaterThan(2);
    tiny.dispose();
  });
});

describe('sites of a GraphModel', () => {
  it('follow the graph, with kernels, biases and weights by the names of constants', async () => {
    const tiny = await graphModels['fused']!();
    const reader = readModel(tiny.model);
    const sites = reader.sites();
    expect(sites.map((s) => [s.name, s.kind, s.type])).toEqual([
      ['conv/Fused', 'conv2d', '_FusedConv2D'],
      ['depthwise/Fused', 'depthwiseConv2d', 'FusedDepthwiseConv2dNative'],
      ['middle/Fused', 'dense', '_FusedMatMul'],
      ['head/Fused', 'dense', '_FusedMatMul'],
      ['probabilities', 'activation', 'Softmax'],
    ]);
    expect(sites[0]!.kernel!.shape).toEqual([3, 3, 2, 4]);
    expect(sites[0]!.bias!.shape).toEqual([4]);
    expect(sites[0]!.weights.map((w) => w.name)).toEqual(['conv/kernel', 'conv/bias']);
    expect(reader.trainable(/bias$/).map((v) => reader.nameOf(v))).toEqual(['conv/bias', 'depthwise/bias', 'middle/bias', 'head/bias']);
    expect(reader.fingerprint()).toContainEqual({ name: 'mean/axes', shape: [2], dtype: 'int32' });
    reader.install(new Set())();
    tiny.dispose();
  });

  it('train by role: no moving statistics, no shapes, no scalars, no vector that multiplies', async () => {
    const conv = await graphModels['conv']!();
    const reader = readGraphModel(conv.model);
    expect(reader.trainable().map((v) => reader.nameOf(v))).toEqual([
      'conv/kernel',
      'bn/gamma',
      'bn/beta',
      'depthwise/kernel',
      'head/kernel',
      'head/bias',
    ]);
    reader.install(new Set())();
    conv.dispose();

    const graph = new GraphBuilder();
    const x = graph.node('scaled', 'Mul', [graph.placeholder('x', [-1, 3]), graph.constant('factors', tf.tensor1d([1, 2, 3]))]);
    const one = graph.node('plus', 'AddV2', [x, graph.constant('one', tf.scalar(1))]);
    const read = graph.node('kernel/read', 'Identity', [graph.constant('kernel', tf.ones([2, 3]))]);
    const product = graph.node('product', 'MatMul', [one, read], { transpose_a: attribute.flag(false), transpose_b: attribute.flag(true) });
    graph.node('sum', 'AddV2', [graph.constant('shift', tf.tensor1d([1, 2])), product]);
    const model = await graph.load();
    const own = readGraphModel(model);
    expect(own.sites().map((s) => s.name)).toEqual(['scaled', 'product', 'sum']);
    expect(own.trainable().map((v) => own.nameOf(v))).toEqual(['kernel', 'shift']);
    expect(own.trainable('scaled').map((v) => own.nameOf(v))).toEqual(['factors']);
    expect(own.sites('product')[0]!.kernel).toBeUndefined();
    expect(() => own.sites('sum')[0]!.replace((v) => v)).toThrow(/\[replace\] got "sum" \(AddV2\)/);
    expect(() => own.sites('product')[0]!.addToKernel(tf.ones([3, 2]))).toThrow(FinetuneError);
    own.install(new Set())();
    model.dispose();
  });

  it('name the layer of what waits for backward', async () => {
    const tiny = await graphModels['matmul']!();
    const reader = readGraphModel(tiny.model);
    const variables = reader.trainable();
    const uninstall = reader.install(new Set(variables));
    const layers = new Set<string>();
    valueAndGrads(tiny.loss, variables, { keep: [(value) => void layers.add(value.layer)] });
    expect([...layers].sort()).toEqual(['', 'hidden/MatMul', 'hidden/Relu', 'probabilities']); // '' is the loss
    uninstall();
    tiny.dispose();
  });

  it('add a delta into a constant or a variable, for good', async () => {
    const tiny = await graphModels['matmul']!();
    const reader = readGraphModel(tiny.model);
    const before = tf.memory().numTensors;
    for (const name of ['hidden/MatMul', 'head/MatMul']) {
      const [site] = reader.sites(name);
      if (name === 'head/MatMul') site!.weights[0]!.variable();
      const expected = tf.tidy(() => [...tf.add(site!.kernel!, 1).dataSync()]);
      tf.tidy(() => site!.addToKernel(tf.ones(site!.kernel!.shape)));
      expect([...site!.kernel!.dataSync()]).toEqual(expected);
    }
    reader.install(new Set())(true);
    expect(tf.memory().numTensors).toBe(before);
    tiny.dispose();
  });

  it('refuse executeAsync while replaced, and let it run otherwise without losing variables', async () => {
    const tiny = await graphModels['fused']!();
    const reader = readGraphModel(tiny.model);
    const variables = reader.trainable();
    const uninstall = reader.install(new Set(variables));
    const plain = numbers(tiny.predict());
    expect(numbers([await tiny.model.executeAsync(tiny.x[0]!)].flat())).toEqual(plain);
    expect(variables.some((v) => v.isDisposed)).toBe(false);
    const undo = reader.sites('head/Fused')[0]!.replace((x, next) => next(x));
    await expect(tiny.model.executeAsync(tiny.x[0]!)).rejects.toThrow(/replaced nodes \(head\/Fused\)/);
    undo();
    uninstall();
    tiny.dispose();
  });
});

describe('plain variables', () => {
  it('are sites by name and train unless they say no', () => {
    const tiny = functionModels['mlp']!();
    tiny.model['up/bias']!.trainable = false;
    const reader = readModel(tiny.model);
    expect(reader.sites().map((s) => [s.name, s.kind])).toEqual([
      ['up/kernel', 'dense'],
      ['up/bias', 'other'],
      ['down/kernel', 'dense'],
      ['down/bias', 'other'],
    ]);
    expect(reader.trainable().map((v) => reader.nameOf(v))).toEqual(['up/kernel', 'down/kernel', 'down/bias']);
    expect(reader.trainable('up/bias')).toEqual([tiny.model['up/bias']]);
    expect(() => reader.sites('up/bias')[0]!.replace((x) => x)).toThrow(/\[replace\] got "up\/bias" \(Variable\); expected/);
    tiny.dispose();
  });

  it.each(Object.entries(functionModels))('of the function %s are replaced where a kernel reads them, but not in backward', (_, make) => {
    const tiny = make();
    const reader = readVariables(tiny.model);
    const uninstall = reader.install(new Set());
    for (const site of reader.sites((s) => s.kind !== 'other')) {
      const plain = numbers(tiny.predict());
      const scale = tf.variable(tf.scalar(1.5));
      let calls = 0;
      const undo = site.replace((x, next) => {
        calls++;
        return tf.mul(next(x), scale);
      });
      expect(numbers(tiny.predict())).not.toEqual(plain);
      expect(calls).toBe(1);
      const variables = [...reader.trainable(), scale];
      const ours = valueAndGrads(tiny.loss, variables);
      expect(calls).toBe(2);
      const stock = tf.variableGrads(tiny.loss, variables);
      expect(values(ours.grads)).toEqual(values(stock.grads));
      undo();
      expect(numbers(tiny.predict())).toEqual(plain);
      scale.dispose();
    }
    uninstall();
    tiny.dispose();
  });

  it('are replaced under tf.fused ops, which lose and get back their activation, and under checkpoint', () => {
    const w = tf.variable(tf.randomNormal([4, 3], 0, 1, 'float32', 1));
    const b = tf.variable(tf.randomNormal([3], 0, 1, 'float32', 2));
    const x = tf.randomNormal([5, 4], 0, 1, 'float32', 3) as tf.Tensor2D;
    const low = tf.variable(tf.randomNormal([4, 3], 0, 1, 'float32', 4));
    const reader = readVariables({ w });
    const uninstall = reader.install(new Set());
    reader.sites('w')[0]!.replace((v, next) => tf.add(next(v), tf.matMul(v as tf.Tensor2D, low as never)));
    const fused = (v: tf.Tensor, activation: 'relu' | 'linear') =>
      tf.fused.matMul({ a: v as tf.Tensor2D, b: w as never, bias: b, activation });
    const expected = tf.relu(tf.add(tf.matMul(x, tf.add(w, low) as tf.Tensor2D), b));
    const got = fused(x, 'relu');
    expect(got.shape).toEqual([5, 3]);
    tf.test_util.expectArraysClose(got.dataSync(), expected.dataSync(), 1e-5);
    for (const wrap of [
      (v: tf.Tensor) => fused(v, 'linear'),
      (v: tf.Tensor) => fused(v, 'relu'),
      (v: tf.Tensor) => checkpoint((t) => fused(t, 'relu'), v),
    ]) {
      const { grads } = valueAndGrads(() => tf.sum(tf.square(wrap(x))) as tf.Scalar, [w, b, low]);
      expect([...grads[low.name]!.dataSync()]).toEqual([...grads[w.name]!.dataSync()]);
      expect(grads[b.name]!.shape).toEqual([3]);
    }
    uninstall();
  });

  it('in a customGrad of the user keep its gradient', () => {
    const w = tf.variable(tf.ones([2, 2]));
    const reader = readVariables({ w });
    const uninstall = reader.install(new Set());
    reader.sites('w')[0]!.replace((v, next) => tf.mul(next(v), 3));
    const op = tf.customGrad((...args: unknown[]) => ({
      value: tf.square(args[0] as tf.Tensor),
      gradFunc: (dy: tf.Tensor) => tf.mul(dy, 7),
    }));
    const { grads } = valueAndGrads(() => tf.sum(op(w)) as tf.Scalar, [w]);
    expect([...grads[w.name]!.dataSync()]).toEqual([7, 7, 7, 7]);
    uninstall();
  });

  it('must be variables', () => {
    expect(() => readModel({ a: tf.scalar(1) } as never)).toThrow(/\[finetune\]/);
    for (const model of [{}, null, undefined, 3]) expect(() => readModel(model as never)).toThrow(FinetuneError);
  });
});
