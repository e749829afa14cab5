import { FinetuneError, finetune, measure } from '@leantune/core';
import { attribute, convGraph, fusedGraph, GraphBuilder } from '@leantune/testing';
import * as tf from '@tensorflow/tfjs';
import { beforeAll, describe, expect, test } from 'vitest';
import { deployMode, evalMode, pairsOf, tuneMode } from '../src/index.ts';
import { disposeModel, seedWeights, variablesOf } from './models.ts';

beforeAll(async () => {
  await tf.setBackend('cpu');
});

type Symbolic = tf.SymbolicTensor;
const { layers } = tf;
const conv = (name: string, options: object = {}) => layers.conv2d({ filters: 3, kernelSize: 3, padding: 'same', name, ...options });
const norm = (name = 'bn', options: object = {}) => layers.batchNormalization({ name, ...options });
const through = (x: Symbolic, ...steps: tf.layers.Layer[]): Symbolic => steps.reduce((y, layer) => layer.apply(y) as Symbolic, x);
const shape = [4, 5, 3];

/** Functional models, by the reason with which their norm is left. */
const left: { readonly [reason: string]: (x: Symbolic) => Symbolic | Symbolic[] } = {
  'the activation of "conv" (relu) comes between': (x) => through(x, conv('conv', { activation: 'relu' }), norm()),
  '"relu" (ReLU) comes before it': (x) => through(x, conv('conv'), layers.reLU({ name: 'relu' }), norm()),
  '"pool" (MaxPooling2D) comes before it': (x) => through(x, conv('conv'), layers.maxPooling2d({ poolSize: 2, name: 'pool' }), norm()),
  'the output of "conv" is read by others too': (x) => {
    const y = through(x, conv('conv'));
    return layers.add({ name: 'sum' }).apply([y, through(y, norm())]) as Symbolic;
  },
  'it normalizes axis 3; the channels of "conv" are axis 1': (x) => through(x, conv('conv', { dataFormat: 'channelsFirst' }), norm()),
  'it follows the input of its model': (x) => through(x, norm()),
  '"pad" (ZeroPadding2D) comes before it': (x) =>
    through(x, conv('conv'), layers.zeroPadding2d({ dataFormat: 'channelsFirst', name: 'pad' }), norm()),
  '"conv" is called 2 times, and only 1 of them lead here': (x) => {
    const shared = conv('conv');
    return layers.add({ name: 'sum' }).apply([through(x, shared, norm()), through(x, shared)]) as Symbolic;
  },
  'it follows different layers': (x) => {
    const shared = norm();
    return layers.add({ name: 'sum' }).apply([through(x, conv('a'), shared), through(x, conv('b'), shared)]) as Symbolic;
  },
};

const evaluated = (model: tf.LayersModel, x: tf.Tensor, technique: ReturnType<typeof tuneMode>) => {
  const tuned = finetune(model, technique);
  const { value, grads } = tuned.valueAndGrads(
    () => tf.addN([model.apply(x, { training: true }) as tf.Tensor].flat().map((y) => tf.sum(tf.square(y)))) as tf.Scalar,
  );
  tuned.dispose();
  return { value, ...grads };
};

/** Tune and Eval mode agree on the loss and on all gradients. */
function expectAsEval(model: tf.LayersModel, x: tf.Tensor): void {
  const [tune, even] = [evaluated(model, x, tuneMode()), evaluated(model, x, evalMode())] as { [name: string]: tf.Tensor }[];
  for (const name in even) expect(tune![name]!, name).toBeClose(even[name]!, { rel: 2e-5, because: 'the same product in another order' });
  tf.dispose([tune, even]);
}

describe('a batch norm is left, and computes as in Eval mode', () => {
  test.each(Object.entries(left))('%s', (reason, build) => {
    const input = tf.input({ shape });
    const model = tf.model({ inputs: input, outputs: build(input) });
    seedWeights(model, 5);
    expect(pairsOf(model).left).toEqual([{ norm: 'bn', reason }]);
    const x = tf.randomNormal([2, ...shape], 0, 1, 'float32', 6);
    expectAsEval(model, x);
    disposeModel(model);
    x.dispose();
  });
});

test('a norm along another axis than that of the channels is not folded away', () => {
  const model = tf.sequential({ layers: [conv('conv', { inputShape: shape }), norm('bn', { axis: 2 })] });
  expect(pairsOf(model).left).toEqual([{ norm: 'bn', reason: 'it normalizes axis 2; the channels of "conv" are axis 3' }]);
  disposeModel(model);
});

test('an output of the model that a norm reads too is not folded away', () => {
  const input = tf.input({ shape });
  const y = through(input, conv('conv'));
  const model = tf.model({ inputs: input, outputs: [y, through(y, norm())] });
  expect(pairsOf(model).left).toEqual([{ norm: 'bn', reason: 'the output of "conv" is read by others too' }]);
  disposeModel(model);
});

test('a layer that is called twice folds if the same norm follows both times', () => {
  const [a, b] = [tf.input({ shape }), tf.input({ shape })];
  const [shared, after] = [conv('conv'), norm()];
  const out = layers.add({ name: 'sum' }).apply([through(a, shared, after), through(b, shared, after)]) as Symbolic;
  const model = tf.model({ inputs: [a, b], outputs: out });
  seedWeights(model, 7);
  expect(String(pairsOf(model))).toBe('1 of 1 batch norms fused');
  const xs = [8, 9].map((seed) => tf.randomNormal([2, ...shape], 0, 1, 'float32', seed));
  expectAsEval(model, xs as never);
  disposeModel(model);
  tf.dispose(xs);
});

test('pairs are found in nested models, by the names that sites have', () => {
  const inner = tf.sequential({ name: 'inner', layers: [conv('conv', { inputShape: shape }), norm('bn')] });
  const model = tf.sequential({ layers: [conv('stem', { inputShape: shape }), norm('stem_bn'), inner, layers.reLU(), norm('last')] });
  seedWeights(model, 11);
  expect(pairsOf(model)).toMatchObject({
    pairs: [
      { conv: 'stem', norm: 'stem_bn' },
      { conv: 'inner/conv', norm: 'inner/bn' },
    ],
    left: [{ norm: 'last' }],
  });
  const x = tf.randomNormal([2, ...shape], 0, 1, 'float32', 12);
  expectAsEval(model, x);
  expect(variablesOf(model).length).toBe(10);
  disposeModel(model);
  x.dispose();
});

const { flag, float, integers, text } = attribute;
const same = { strides: integers(1, 1, 1, 1), dilations: integers(1, 1, 1, 1), data_format: text('NHWC') };
const normal = (size: number[], seed: number) => tf.randomNormal(size, 0, 0.5, 'float32', seed);

interface GraphCase {
  readonly depthwise?: boolean;
  readonly explicit?: boolean;
  /** What stands between the convolution and the norm, built on the name of the first. */
  readonly between?: (graph: GraphBuilder, conv: string) => string;
  /** What else reads the convolution. */
  readonly beside?: boolean;
}

async function graphOf(options: GraphCase): Promise<tf.GraphModel> {
  const graph = new GraphBuilder();
  addPair(graph, graph.placeholder('x', [-1, 5, 5, 2]), options);
  return graph.load();
}

/** Convolution, what is between, FusedBatchNormV3, ReLU. */
function addPair(graph: GraphBuilder, x: string, { depthwise = false, explicit = false, between, beside = false }: GraphCase): void {
  const kernel = graph.constant('conv/kernel', normal([3, 3, 2, depthwise ? 2 : 4], 20));
  const pads = explicit ? { padding: text('EXPLICIT'), explicit_paddings: integers(0, 0, 1, 2, 0, 1, 0, 0) } : { padding: text('SAME') };
  const convolved = graph.node('conv', depthwise ? 'DepthwiseConv2dNative' : 'Conv2D', [x, kernel], { ...same, ...pads });
  const statistics = ['gamma', 'beta', 'mean', 'variance'].map((name, i) =>
    graph.constant(`bn/${name}`, i % 3 === 0 ? tf.randomUniform([4], 0.4, 2, 'float32', 21 + i) : normal([4], 21 + i)),
  );
  const normed = graph.node('bn', 'FusedBatchNormV3', [between ? between(graph, convolved) : convolved, ...statistics], {
    epsilon: float(0.01),
    data_format: text('NHWC'),
    is_training: flag(false),
  });
  const out = graph.node('relu', 'Relu', [normed]);
  if (beside) graph.node('sum', 'AddV2', [out, convolved]);
}

const withBias = (graph: GraphBuilder, name: string) =>
  graph.node('bias', 'BiasAdd', [name, graph.constant('conv/bias', normal([4], 30))], { data_format: text('NHWC') });

describe('a graph', () => {
  const folds: { readonly [what: string]: GraphCase } = {
    'a Conv2D': {},
    'a Conv2D with explicit padding': { explicit: true },
    'a DepthwiseConv2dNative': { depthwise: true },
    'a BiasAdd between': { between: withBias },
  };

  test.each(Object.entries(folds))('%s and its norm are one convolution, with the gradients of the two', async (_, each) => {
    const model = await graphOf(each);
    const x = tf.randomNormal([2, 5, 5, 2], 0, 1, 'float32', 40);
    expect(String(pairsOf(model))).toBe('1 of 1 batch norms fused');
    const pass = (technique: ReturnType<typeof tuneMode>) => {
      const tuned = finetune(model, technique);
      const { value, grads } = tuned.valueAndGrads(() => tf.sum(tf.square(model.predict(x) as tf.Tensor)) as tf.Scalar);
      tuned.dispose();
      return { value, ...grads } as { [name: string]: tf.Tensor };
    };
    const [tune, even] = [pass(tuneMode()), pass(evalMode())];
    expect(Object.keys(tune!).sort()).toEqual(Object.keys(even!).sort());
    for (const name in even) expect(tune![name]!, name).toBeClose(even[name]!, { rel: 1e-5, because: 'the same product in another order' });
    const tuned = finetune(model, tuneMode());
    const { kernelNames, result } = await tf.profile(() => model.predict(x) as tf.Tensor);
    expect(kernelNames).not.toContain('FusedBatchNorm');
    tuned.dispose();
    model.dispose();
    tf.dispose([x, tune, even, result]);
  });

  test('leaves a norm whose convolution is read by others too, or does not come right before', async () => {
    const reasons = async (each: GraphCase) => {
      const model = await graphOf(each);
      const found = pairsOf(model).left;
      model.dispose();
      return found.map(({ reason }) => reason);
    };
    expect(await reasons({ beside: true })).toEqual(['the output of "conv" is read by others too']);
    const relu = (graph: GraphBuilder, name: string) => graph.node('early', 'Relu', [name]);
    expect(await reasons({ between: relu })).toEqual(['"early" (Relu) comes before it']);
  });

  test('keeps of each pair what the norm is followed by, and no gradient of a frozen filter is computed', async () => {
    const model = await graphOf({});
    const x = tf.randomNormal([2, 5, 5, 2], 0, 1, 'float32', 40);
    const [map, vector] = [4 * 2 * 5 * 5 * 4, 4 * 4];
    const run = async (technique: ReturnType<typeof tuneMode>, trainable?: string[]) => {
      const tuned = finetune(model, technique, trainable ? { trainable } : {});
      const step = () => tf.dispose(Object.values(tuned.valueAndGrads(() => tf.sum(model.predict(x) as tf.Tensor) as tf.Scalar)));
      const { memory } = measure(step);
      const { kernelNames } = await tf.profile(step as never);
      tuned.dispose();
      return { kept: memory.keptBytes, filters: kernelNames.filter((name) => name === 'Conv2DBackpropFilter').length };
    };
    expect(await run(evalMode())).toEqual({ kept: 2 * map, filters: 1 });
    expect(await run(tuneMode())).toEqual({ kept: map + 2 * vector, filters: 1 }); // what ReLU reads, k and 1/√(σ² + ε)
    expect(await run(tuneMode(), ['bn/beta'])).toEqual({ kept: map, filters: 0 });
    model.dispose();
    x.dispose();
  });

  test('some of whose batch norms the converter has folded says which', async () => {
    const graph = new GraphBuilder();
    const [kernel, bias] = [graph.constant('early/kernel', normal([3, 3, 2, 2], 40)), graph.constant('early/bias', normal([2], 41))];
    const early = graph.node('early', '_FusedConv2D', [graph.placeholder('x', [-1, 5, 5, 2]), kernel, bias], {
      ...same,
      padding: text('SAME'),
      fused_ops: attribute.texts('BiasAdd', 'Relu'),
      num_args: attribute.integer(1),
    });
    addPair(graph, early, {});
    const model = await graph.load();
    expect(String(pairsOf(model)).split('\n')).toEqual([
      '1 of 1 batch norms fused',
      '1 convolutions with a bias inside ("early" is the first), as the converter folds batch norms: what is folded trains as in Deploy mode',
    ]);
    model.dispose();
  });

  test('whose batch norms the converter has folded is told apart', async () => {
    const [open, folded] = [await convGraph(), await fusedGraph()];
    expect(String(pairsOf(open.model))).toBe('1 of 1 batch norms fused');
    let error: unknown;
    try {
      pairsOf(folded.model);
    } catch (e) {
      error = e;
    }
    expect(FinetuneError.is(error) && error.code).toBe('bad-model');
    open.dispose();
    folded.dispose();
  });
});

test('the summary says what is fused and what is left', () => {
  const model = tf.sequential({ layers: [conv('conv', { inputShape: shape }), norm(), layers.reLU({ name: 'relu' }), norm('late')] });
  const lines = ['1 of 2 batch norms fused', 'late not fused: "relu" (ReLU) comes before it'];
  expect(String(pairsOf(model)).split('\n')).toEqual(lines);
  const tuned = finetune(model, tuneMode());
  expect(String(tuned.summary()).split('\n').slice(1)).toEqual(lines);
  tuned.dispose();
  disposeModel(model);
});

describe('two modes on one norm are refused, as each would run it', () => {
  const modes = { tuneMode, evalMode, deployMode };
  const names = Object.keys(modes) as (keyof typeof modes)[];
  test.each(names.flatMap((first) => names.map((second) => [first, second] as const)))('%s, %s', (first, second) => {
    const model = tf.sequential({ layers: [conv('conv', { inputShape: shape }), norm(), layers.reLU(), norm('late')] });
    const message = `[${second}] another technique runs 2 of these batch norms already ("bn", "late"). Give each norm one mode, and put modes before other techniques.`;
    expect(() => finetune(model, [modes[first](), modes[second]()])).toThrow(message);
    disposeModel(model);
  });

  test('each norm may have its own', () => {
    const model = tf.sequential({ layers: [conv('conv', { inputShape: shape }), norm(), layers.reLU(), norm('late')] });
    finetune(model, [tuneMode({ targets: 'bn' }), evalMode({ targets: 'late' })]).dispose();
    disposeModel(model);
  });
});
