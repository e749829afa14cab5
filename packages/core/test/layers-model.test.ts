import * as tf from '@tensorflow/tfjs';
import { beforeAll, describe, expect, it } from 'vitest';
import { recording, valueAndGrads } from '../src/autograd/gradients.ts';
import { FinetuneError } from '../src/errors.ts';
import { readLayersModel } from '../src/models/layers-model.ts';
import { finetune } from '../src/tuning/finetune.ts';
import type { Tuned } from '../src/tuning/tuned.ts';

beforeAll(async () => {
  await tf.setBackend('cpu');
});

const L = tf.layers;
type Sym = tf.SymbolicTensor;
const ap = (layer: tf.layers.Layer, x: Sym | Sym[]): Sym => layer.apply(x) as Sym;
const named = (name: string) => ({ name: `${name}` });
const uniform = (shape: number[], seed: number) => tf.randomUniform(shape, -1, 1, 'float32', seed);

/** Gives every weight seeded values that are not its initializer's. */
function seeded(model: tf.LayersModel): tf.LayersModel {
  tf.tidy(() => model.setWeights(model.getWeights().map((w, i) => tf.add(tf.mul(uniform(w.shape, 7 + i), 0.4), 0.5))));
  return model;
}

/**
 * Notes every tensor that a layer's `call` returns and, at each call of the layer `last` in a recording, the layers of which an
 * output is still alive that is not an input of that call nor an output of the model.
 */
function spy(layers: readonly tf.layers.Layer[], last: string): { outputs: Map<string, tf.Tensor[]>; alive: string[][]; undo: () => void } {
  const outputs = new Map<string, tf.Tensor[]>();
  const alive: string[][] = [];
  for (const layer of layers) {
    const call = layer.call.bind(layer);
    layer.call = (inputs, kwargs) => {
      if (layer.name === last && recording()) {
        alive.push([...outputs].flatMap(([name, made]) => (made.some((t) => !t.isDisposed && ![inputs].flat().includes(t)) ? [name] : [])));
      }
      const made = call(inputs, kwargs);
      if (!recording()) return made;
      const kept = layer.name === 'again' || layer.name === last ? [] : [made].flat();
      outputs.set(layer.name, [...(outputs.get(layer.name) ?? []), ...kept]);
      return made;
    };
  }
  return { outputs, alive, undo: () => layers.forEach((layer) => Reflect.deleteProperty(layer, 'call')) };
}

/** The layers of a model and of the models in it, without inputs. */
const leaves = (model: tf.LayersModel): tf.layers.Layer[] => [
  ...new Set(model.layers.flatMap((l) => (l instanceof tf.LayersModel ? leaves(l) : l.getClassName() === 'InputLayer' ? [] : [l]))),
];

/** Stock SGD on the gradients of our tape. */
class Ours extends tf.SGDOptimizer {
  constructor(variables: () => readonly tf.Variable[]) {
    super(0.01);
    this.computeGradients = (f) => valueAndGrads(f, variables());
  }
}

function branched(): tf.LayersModel {
  const x = tf.input({ shape: [6, 6, 2] });
  const stem = ap(L.conv2d({ filters: 4, kernelSize: 3, padding: 'same', activation: 'relu', ...named('stem') }), x);
  const left = ap(
    L.conv2d({ filters: 4, kernelSize: 1, activation: 'tanh', ...named('left') }),
    ap(L.batchNormalization(named('bn')), stem),
  );
  const sum = ap(L.add(named('sum')), [left, stem]);
  const flat = ap(L.flatten(named('flat')), ap(L.dropout({ rate: 0, ...named('drop') }), sum));
  return seeded(tf.model({ inputs: x, outputs: ap(L.dense({ units: 3, activation: 'softmax', ...named('head') }), flat) }));
}

function shared(): tf.LayersModel {
  const a = tf.input({ shape: [4] });
  const b = tf.input({ shape: [4] });
  const tower = L.dense({ units: 4, activation: 'relu', ...named('tower') });
  const [ta, tb] = [ap(tower, a), ap(tower, b)];
  const again = ap(L.dense({ units: 4, ...named('again') }), ap(tower, ta));
  const joined = ap(L.concatenate(named('join')), [again, tb, ta]);
  return seeded(tf.model({ inputs: [a, b], outputs: [ap(L.dense({ units: 2, ...named('out') }), joined), again] }));
}

function nested(): tf.LayersModel {
  const inner = tf.sequential({
    ...named('inner'),
    layers: [
      L.dense({ units: 5, inputShape: [4], activation: 'elu', ...named('a') }),
      L.layerNormalization(named('norm')),
      L.dense({ units: 4, ...named('b') }),
    ],
  });
  const z = tf.input({ shape: [4] });
  const middle = tf.model({ inputs: z, outputs: ap(L.dense({ units: 4, ...named('after') }), ap(inner, z)), ...named('middle') });
  const x = tf.input({ shape: [3] });
  const first = ap(L.dense({ units: 4, activation: 'sigmoid', ...named('first') }), x);
  const once = ap(middle, first);
  const twice = ap(inner, ap(L.add(named('add')), [once, first]));
  return seeded(tf.model({ inputs: x, outputs: ap(L.dense({ units: 2, ...named('last') }), twice) }));
}

function recurrent(): tf.LayersModel {
  const ids = tf.input({ shape: [5] });
  const e = ap(L.embedding({ inputDim: 7, outputDim: 3, maskZero: true, ...named('embed') }), ids);
  const t = ap(L.timeDistributed({ layer: L.dense({ units: 4, activation: 'tanh', ...named('inside') }), ...named('each') }), e);
  const bi = ap(
    L.bidirectional({ layer: L.lstm({ units: 2, returnSequences: true, ...named('l') }) as tf.RNN, mergeMode: 'concat', ...named('bi') }),
    t,
  );
  const [seq, h] = L.gru({ units: 3, returnSequences: true, returnState: true, ...named('gru') }).apply(bi) as Sym[];
  const pooled = ap(L.globalAveragePooling1d(named('pool')), seq!);
  return seeded(
    tf.model({ inputs: ids, outputs: ap(L.dense({ units: 1, ...named('out') }), ap(L.concatenate(named('join')), [pooled, h!])) }),
  );
}

/** An encoder hands its state to a decoder, through the kwargs of the run. */
function recoder(): tf.LayersModel {
  const [source, target] = [tf.input({ shape: [4, 2] }), tf.input({ shape: [3, 2] })];
  const [seen, h, c] = L.lstm({ units: 3, returnSequences: true, returnState: true, ...named('encoder') }).apply(source) as Sym[];
  const decoded = L.lstm({ units: 3, returnSequences: true, ...named('decoder') }).apply(target, { initialState: [h!, c!] }) as Sym;
  const both = ap(L.concatenate({ axis: 1, ...named('join') }), [decoded, seen!]);
  return seeded(tf.model({ inputs: [source, target], outputs: ap(L.dense({ units: 1, ...named('out') }), both) }));
}

/** A stateful layer may hold on to what it returns. */
function stateful(): tf.LayersModel {
  const x = tf.input({ batchShape: [2, 4, 3] });
  const seq = ap(L.gru({ units: 3, returnSequences: true, stateful: true, ...named('gru') }), ap(L.dense({ units: 3, ...named('in') }), x));
  return seeded(tf.model({ inputs: x, outputs: ap(L.dense({ units: 1, ...named('out') }), ap(L.flatten(named('flat')), seq)) }));
}

function masked(): tf.LayersModel {
  const model = tf.sequential();
  model.add(L.masking({ maskValue: 0, inputShape: [4, 3], ...named('mask') }));
  model.add(L.simpleRNN({ units: 3, ...named('rnn') }));
  model.add(L.reshape({ targetShape: [3, 1], ...named('shape') }));
  model.add(L.conv1d({ filters: 2, kernelSize: 2, activation: 'relu', ...named('conv') }));
  model.add(L.flatten(named('flat')));
  model.add(L.dense({ units: 1, ...named('out') }));
  return seeded(model);
}

/** A pretrained-like model put first in a sequential: its layers run in the outer container. */
function flattened(): tf.LayersModel {
  const base = tf.sequential({
    ...named('base'),
    layers: [
      L.dense({ units: 4, inputShape: [3], activation: 'relu', ...named('one') }),
      L.batchNormalization({ scale: false, ...named('bn') }),
    ],
  });
  return seeded(tf.sequential({ layers: [base, L.dense({ units: 2, ...named('head') })] }));
}

const families: { name: string; last: string; make: () => tf.LayersModel; inputs: () => tf.Tensor[] }[] = [
  { name: 'branched functional', last: 'head', make: branched, inputs: () => [uniform([2, 6, 6, 2], 1)] },
  { name: 'shared layers and two outputs', last: 'out', make: shared, inputs: () => [uniform([2, 4], 1), uniform([2, 4], 2)] },
  { name: 'nested models, one of them used twice', last: 'last', make: nested, inputs: () => [uniform([2, 3], 1)] },
  {
    name: 'recurrent, masks and wrappers',
    last: 'out',
    make: recurrent,
    inputs: () => [
      tf.tensor2d([
        [1, 2, 0, 3, 0],
        [4, 5, 6, 0, 0],
      ]),
    ],
  },
  { name: 'sequential with masking', last: 'out', make: masked, inputs: () => [uniform([2, 4, 3], 1)] },
];

const lossOf = (model: tf.LayersModel, x: tf.Tensor[]) => (): tf.Scalar =>
  tf.addN([model.apply(x.length === 1 ? x[0]! : x, { training: true }) as tf.Tensor].flat().map((y) => tf.mean(tf.square(y)))) as tf.Scalar;

const values = (grads: tf.NamedTensorMap) => Object.fromEntries(Object.entries(grads).map(([name, g]) => [name, [...g.dataSync()]]));

describe.each(families)('$name', ({ make, inputs, last }) => {
  it('has gradients equal bit for bit to stock tf.variableGrads, and leaks nothing', () => {
    const model = make();
    const x = inputs();
    const reader = readLayersModel(model);
    const state = reader.state().map((v) => v.clone());
    const stock = tf.variableGrads(lossOf(model, x), [...reader.trainable()]);
    reader.state().forEach((v, i) => v.assign(state[i] as never));
    const before = tf.memory().numTensors;
    const undo = reader.install(new Set(reader.trainable()));
    const ours = valueAndGrads(lossOf(model, x), reader.trainable());
    expect(ours.value.dataSync()).toEqual(stock.value.dataSync());
    expect(values(ours.grads)).toEqual(values(stock.grads));
    undo();
    tf.dispose([ours.value, ours.grads]);
    expect(tf.memory().numTensors).toBe(before);
  });

  it('has freed every layer output that is no longer needed when the last layer runs, called or fitted', async () => {
    const model = make();
    const x = inputs();
    const { outputs, alive, undo: unspy } = spy(leaves(model), last);
    const reader = readLayersModel(model);
    const undo = reader.install(new Set(reader.trainable()));
    const { value, grads } = valueAndGrads(lossOf(model, x), reader.trainable());
    expect(alive).toEqual([[]]);
    expect(new Set(outputs.keys())).toEqual(new Set(leaves(model).map((layer) => layer.name)));

    const optimizer = new Ours(() => reader.trainable());
    model.compile({ optimizer, loss: 'meanSquaredError' });
    const y = model.outputs.map((t) => tf.zeros([2, ...(t.shape.slice(1) as number[])]));
    const before = tf.memory().numTensors;
    await model.fit(x.length === 1 ? x[0]! : x, y.length === 1 ? y[0]! : y, { epochs: 2, batchSize: 2, verbose: 0 });
    expect(alive).toEqual([[], [], []]);
    expect(tf.memory().numTensors).toBe(before);
    tf.dispose([value, grads]);
    undo();
    unspy();
  });

  it('is exactly as it was after uninstall', () => {
    const model = make();
    const own = model.layers.map((layer) => Object.getOwnPropertyNames(layer));
    const reader = readLayersModel(model);
    reader.install(new Set())();
    expect(model.layers.map((layer) => Object.getOwnPropertyNames(layer))).toEqual(own);
  });
});

/** Returns its input, as some custom layers do. */
class Same extends tf.layers.Layer {
  static className = 'Same';
  override call(inputs: tf.Tensor | tf.Tensor[]): tf.Tensor {
    return [inputs].flat()[0]!;
  }
  computeOutputShape(shape: tf.Shape): tf.Shape {
    return shape;
  }
}

const chain = (...layers: tf.layers.Layer[]): tf.LayersModel => seeded(tf.sequential({ layers }));

describe('recurrent state', () => {
  it.each([
    { name: 'handed from layer to layer', make: recoder, inputs: () => [uniform([2, 4, 2], 1), uniform([2, 3, 2], 2)] },
    { name: 'kept from batch to batch', make: stateful, inputs: () => [uniform([2, 4, 3], 1)] },
  ])('$name gives gradients equal bit for bit to stock', ({ make, inputs }) => {
    const model = make();
    const x = inputs();
    const reader = readLayersModel(model);
    const stock = [1, 2].map(() => values(tf.variableGrads(lossOf(model, x), [...reader.trainable()]).grads));
    model.resetStates();
    const undo = reader.install(new Set(reader.trainable()));
    const ours = [1, 2].map(() => values(valueAndGrads(lossOf(model, x), reader.trainable()).grads));
    expect(ours).toEqual(stock);
    undo();
  });
});

describe('early release', () => {
  it('keeps a tensor alive under its second name when a layer returns its input as it is', () => {
    const x = tf.input({ shape: [3] });
    const a = ap(L.dense({ units: 3, ...named('a') }), x);
    const same = ap(new Same({ name: 'same' }), a);
    const b = ap(L.dense({ units: 3, ...named('b') }), a);
    const model = seeded(
      tf.model({ inputs: x, outputs: ap(L.dense({ units: 1 }), ap(L.multiply(), [ap(L.dense({ units: 3 }), b), same])) }),
    );
    const data = [uniform([2, 3], 1)];
    const reader = readLayersModel(model);
    const stock = tf.variableGrads(lossOf(model, data), [...reader.trainable()]);
    const undo = reader.install(new Set(reader.trainable()));
    expect(values(valueAndGrads(lossOf(model, data), reader.trainable()).grads)).toEqual(values(stock.grads));
    undo();
  });

  it('is counted per run when a model runs twice in one forward, and survives an exception midway', () => {
    const model = branched();
    const data = [uniform([2, 6, 6, 2], 1)];
    const reader = readLayersModel(model);
    const twice = () => tf.add(lossOf(model, data)(), lossOf(model, data)()) as tf.Scalar;
    const state = reader.state().map((v) => v.clone());
    const back = () => reader.state().forEach((v, i) => v.assign(state[i] as never));
    const stock = tf.variableGrads(twice, [...reader.trainable()]);
    const { undo: unspy } = spy(leaves(model), 'none');
    const left = model.getLayer('left');
    const call = left.call;
    const undo = reader.install(new Set(reader.trainable()));
    let fails = 1;
    const failing = left.call;
    left.call = (...args) => {
      if (fails-- > 0) throw new Error('once');
      return failing.apply(left, args);
    };
    expect(() => valueAndGrads(twice, reader.trainable())).toThrow('once');
    back();
    expect(values(valueAndGrads(twice, reader.trainable()).grads)).toEqual(values(stock.grads));
    undo();
    expect(left.call).toBe(call);
    unspy();
  });

  it('leaves tensors alone that an own loop passes from layer to layer', () => {
    const model = chain(L.dense({ units: 3, inputShape: [3] }), L.dense({ units: 3 }), L.dense({ units: 3 }));
    const x = uniform([2, 3], 1);
    const reader = readLayersModel(model);
    const undo = reader.install(new Set(reader.trainable()));
    const kwargs = { training: true };
    const features = () => {
      const all = [x];
      for (const layer of model.layers) all.push(layer.apply(all.at(-1)!, kwargs) as tf.Tensor);
      return all;
    };
    const { value } = valueAndGrads(() => tf.addN(features().map((t) => tf.sum(t))) as tf.Scalar, reader.trainable());
    const plain = tf.addN(features().map((t) => tf.sum(t)));
    expect(value.dataSync()).toEqual(plain.dataSync());
    undo();
  });

  it('does nothing in predict, also in the middle of training', () => {
    const model = masked();
    const x = uniform([2, 4, 3], 1);
    const expected = (model.predict(x) as tf.Tensor).dataSync();
    const reader = readLayersModel(model);
    const undo = reader.install(new Set(reader.trainable()));
    expect((model.predict(x) as tf.Tensor).dataSync()).toEqual(expected);
    const { value } = valueAndGrads(() => tf.sum(model.predict(x) as tf.Tensor), reader.trainable());
    expect(value.dataSync()[0]).toBeCloseTo(
      Array.from(expected).reduce((a, b) => a + b),
      6,
    );
    undo();
  });
});

/** Dense layers (the second a mere activation, which returns what backward of the first may read), and all their outputs. */
function tower(depth = 5): { input: Sym; features: Sym[] } {
  const input = tf.input({ shape: [4] });
  const features: Sym[] = [];
  for (let i = 0; i < depth; i++) {
    const layer = i === 1 ? L.activation({ activation: 'relu' }) : L.dense({ units: 4, activation: 'tanh', ...named(`t${i}`) });
    features.push(ap(layer, features.at(-1) ?? input));
  }
  return { input, features };
}

describe.each([{ checkpoint: false }, { checkpoint: true }])('other models over the tuned layers, with %o,', ({ checkpoint }) => {
  const x = uniform([6, 4], 1);
  const grads = (tuned: Pick<Tuned, 'valueAndGrads'>, loss: () => tf.Scalar) => {
    const { value, grads } = tuned.valueAndGrads(loss);
    const result = [[...value.dataSync()], values(grads)];
    tf.dispose([value, grads]);
    return result;
  };
  const stockGrads = (variables: readonly tf.Variable[]) => ({
    valueAndGrads: (loss: () => tf.Scalar) => tf.variableGrads(loss, [...variables]),
  });
  const sumOf = (ys: tf.Tensor | tf.Tensor[]) => tf.addN([ys].flat().map((y) => tf.mean(tf.square(y)))) as tf.Scalar;

  it.each([
    ['first and last', (f: Sym[]) => [f[0]!, f.at(-1)!]],
    ['all', (f: Sym[]) => f],
    ['middle', (f: Sym[]) => f[2]!],
  ] as const)('such as one that returns the %s features, may be called in the loss', (_, pick) => {
    const { input, features } = tower();
    const model = seeded(tf.model({ inputs: input, outputs: features.at(-1)! }));
    const other = tf.model({ inputs: input, outputs: pick(features) as Sym | Sym[] });
    const kwargs = { training: true };
    const alone = () => tf.tidy(() => sumOf(other.apply(x, kwargs) as tf.Tensor | tf.Tensor[]));
    const both = () => tf.tidy(() => tf.add(alone(), sumOf(model.apply(x, kwargs) as tf.Tensor)) as tf.Scalar);
    const variables = model.trainableWeights.map((w) => w.read() as tf.Variable);
    const reached = new Set(other.trainableWeights.map((w) => w.read() as tf.Variable));
    const tuned = finetune(model, [], { checkpoint });
    const before = tf.memory().numTensors;
    expect(grads(tuned, both)).toEqual(grads(stockGrads(variables), both));
    expect(grads(tuned, alone)).toEqual(grads(stockGrads(variables.filter((v) => reached.has(v))), alone));
    expect(tf.memory().numTensors).toBe(before);
    tuned.dispose();
  });

  it('such as a U-Net around a tuned encoder, may be trained by an own loop or by fit', async () => {
    const weights = [];
    const y = uniform([6, 3], 2);
    for (const way of ['stock', 'loop', 'fit'] as const) {
      const { input, features } = tower();
      const encoder = seeded(tf.model({ inputs: input, outputs: features.at(-1)! }));
      const joined = ap(L.concatenate(), [features.at(-1)!, features[0]!, features[2]!]);
      const unet = seeded(tf.model({ inputs: input, outputs: ap(L.dense({ units: 3 }), joined) }));
      const tuned = finetune(encoder, [], { checkpoint });
      const loss = () => tf.losses.meanSquaredError(y, unet.apply(x, { training: true }) as tf.Tensor) as tf.Scalar;
      const optimizer = tf.train.sgd(0.1);
      if (way === 'stock') tf.tidy(() => optimizer.applyGradients(tf.variableGrads(loss, [...tuned.variables]).grads));
      if (way === 'loop') tuned.minimize(loss, optimizer).dispose();
      if (way === 'fit') {
        unet.compile({ optimizer: tuned.optimizer(optimizer), loss: 'meanSquaredError' });
        await unet.fit(x, y, { epochs: 1, batchSize: 6, shuffle: false, verbose: 0 });
      }
      weights.push(unet.getWeights().map((w) => [...w.dataSync()]));
      tuned.dispose();
    }
    expect(weights[1]).toEqual(weights[0]);
    expect(weights[2]).toEqual(weights[0]);
  });
});

describe('checkpoint: true', () => {
  it('refuses layers that have states, by name', () => {
    const layer = () => L.lstm({ units: 3, stateful: true, ...named('memory') });
    const withState = [
      chain(L.lstm({ units: 3, stateful: true, batchInputShape: [2, 4, 3], ...named('memory') }), L.dense({ units: 2 })),
      chain(
        L.dense({ units: 3, batchInputShape: [2, 4, 3] }),
        L.bidirectional({ layer: layer() as tf.RNN, mergeMode: 'concat', ...named('memory') }),
        L.dense({ units: 2 }),
      ),
    ];
    for (const model of withState) {
      const own = model.layers.map((l) => Object.getOwnPropertyNames(l));
      expect(() => finetune(model, [], { checkpoint: true })).toThrow(
        /checkpoint: true works with neither masks nor states, which memory have/,
      );
      expect(model.layers.map((l) => Object.getOwnPropertyNames(l))).toEqual(own);
      finetune(model).dispose();
    }
  });

  it('works again after a forward that failed, with the very kwargs of that forward', () => {
    const { input, features } = tower(6);
    const model = seeded(tf.model({ inputs: input, outputs: features.at(-1)! }));
    const x = uniform([6, 4], 1);
    const kwargs = { training: true };
    const loss = () => tf.tidy(() => tf.mean(tf.square(model.apply(x, kwargs) as tf.Tensor))) as tf.Scalar;
    const stock = tf.variableGrads(loss);
    for (const at of model.layers.slice(1)) {
      const tuned = finetune(model, [], { checkpoint: true });
      const { call } = at;
      at.call = () => {
        throw new Error('once');
      };
      expect(() => tuned.valueAndGrads(loss)).toThrow('once');
      at.call = call;
      const { value, grads } = tuned.valueAndGrads(loss);
      expect(values(grads)).toEqual(values(Object.fromEntries(Object.keys(grads).map((name) => [name, stock.grads[name]!]))));
      tf.dispose([value, grads]);
      tuned.dispose();
    }
  });
});

describe('batch norm', () => {
  const data = [uniform([4, 3], 1)];

  it('runs as inference and keeps its statistics when none of its variables trains', () => {
    const model = flattened();
    const reader = readLayersModel(model);
    const head = reader.trainable('head');
    const [mean] = reader.state();
    const before = mean!.dataSync();
    const undo = reader.install(new Set(head));
    expect(reader.state()).toEqual([]);
    const { value } = valueAndGrads(lossOf(model, data), head);
    expect(value.dataSync()).toEqual(tf.mean(tf.square(model.predict(data[0]!) as tf.Tensor)).dataSync());
    expect(mean!.dataSync()).toEqual(before);
    undo();
  });

  it('moves its statistics when one of its variables trains, and names them as state', () => {
    const model = flattened();
    const reader = readLayersModel(model);
    const selected = reader.trainable('base/bn/beta');
    const before = reader.state().map((v) => [...v.dataSync()]);
    const undo = reader.install(new Set(selected));
    valueAndGrads(lossOf(model, data), selected);
    expect(reader.state().map((v) => reader.nameOf(v))).toEqual(['base/bn/moving_mean', 'base/bn/moving_variance']);
    reader.state().forEach((v, i) => expect([...v.dataSync()]).not.toEqual(before[i]));
    undo();
  });

  it.each([
    { scale: false, center: true },
    { scale: true, center: false },
    { scale: false, center: false },
  ])('trains with scale $scale and center $center, where tfjs fails', ({ scale, center }) => {
    const full = chain(L.dense({ units: 3, inputShape: [3], ...named('d') }), L.batchNormalization(named('bn')));
    const part = chain(L.dense({ units: 3, inputShape: [3], ...named('d') }), L.batchNormalization({ scale, center, ...named('bn') }));
    for (const [name, v] of [
      ['gamma', 1],
      ['beta', 0],
    ] as const) {
      const reader = readLayersModel(full);
      reader.trainable(`bn/${name}`)[0]!.assign(tf.fill([3], v));
      if (name === 'gamma' ? scale : center)
        readLayersModel(part)
          .trainable(`bn/${name}`)[0]!
          .assign(tf.fill([3], v));
    }
    readLayersModel(part)
      .trainable('d')
      .forEach((v, i) => v.assign(readLayersModel(full).trainable('d')[i]! as never));
    expect(() => part.apply(data[0]!, { training: true })).toThrow();
    const loss = (m: tf.LayersModel) => () => tf.sum(tf.mul(m.apply(data[0]!, { training: true }) as tf.Tensor, data[0]!)) as tf.Scalar;
    const grads = [full, part].map((model) => {
      const reader = readLayersModel(model);
      const undo = reader.install(new Set(reader.trainable()));
      const got = valueAndGrads(loss(model), reader.trainable()).grads;
      undo();
      return Object.fromEntries(reader.trainable().map((v) => [reader.nameOf(v), [...got[v.name]!.dataSync()]]));
    });
    for (const name of Object.keys(grads[1]!)) expect(grads[1]![name]).toEqual(grads[0]![name]);
    expect('gamma' in part.layers[1]! && (part.layers[1] as unknown as { gamma: unknown }).gamma === undefined).toBe(!scale);
  });
});

const kinds: { kind: string; layer: () => tf.layers.Layer; shape: number[]; ints?: true }[] = [
  { kind: 'dense', layer: () => L.dense({ units: 3, activation: 'relu', inputShape: [4] }), shape: [4] },
  { kind: 'dense', layer: () => L.dense({ units: 3, activation: 'softmax', inputShape: [2, 4] }), shape: [2, 4] },
  { kind: 'conv1d', layer: () => L.conv1d({ filters: 3, kernelSize: 2, activation: 'relu', inputShape: [4, 2] }), shape: [4, 2] },
  { kind: 'conv2d', layer: () => L.conv2d({ filters: 3, kernelSize: 2, activation: 'elu', inputShape: [4, 4, 2] }), shape: [4, 4, 2] },
  {
    kind: 'conv3d',
    layer: () => L.conv3d({ filters: 2, kernelSize: 2, activation: 'tanh', inputShape: [3, 3, 3, 1] }),
    shape: [3, 3, 3, 1],
  },
  {
    kind: 'conv2dTranspose',
    layer: () => L.conv2dTranspose({ filters: 2, kernelSize: 2, activation: 'relu', inputShape: [3, 3, 2] }),
    shape: [3, 3, 2],
  },
  {
    kind: 'depthwiseConv2d',
    layer: () => L.depthwiseConv2d({ kernelSize: 2, activation: 'relu6', inputShape: [3, 3, 2] }),
    shape: [3, 3, 2],
  },
  {
    kind: 'separableConv2d',
    layer: () => L.separableConv2d({ filters: 2, kernelSize: 2, activation: 'sigmoid', inputShape: [3, 3, 2] }),
    shape: [3, 3, 2],
  },
  { kind: 'embedding', layer: () => L.embedding({ inputDim: 5, outputDim: 2, inputLength: 3 }), shape: [3], ints: true },
  { kind: 'batchNorm', layer: () => L.batchNormalization({ inputShape: [4] }), shape: [4] },
  { kind: 'layerNorm', layer: () => L.layerNormalization({ inputShape: [4] }), shape: [4] },
  { kind: 'activation', layer: () => L.activation({ activation: 'tanh', inputShape: [4] }), shape: [4] },
  { kind: 'activation', layer: () => L.leakyReLU({ inputShape: [4] }), shape: [4] },
  { kind: 'other', layer: () => L.lstm({ units: 2, inputShape: [3, 2] }), shape: [3, 2] },
];

describe('a site', () => {
  it.each(kinds)('of kind $kind runs next without the activation, which follows what replaces it', ({ kind, layer, shape, ints }) => {
    const model = chain(layer());
    const x = ints
      ? tf.tensor2d([
          [1, 2, 0],
          [4, 3, 2],
        ])
      : uniform([2, ...shape], 3);
    const activation = (model.layers[0] as unknown as { activation?: { apply(x: tf.Tensor): tf.Tensor } }).activation;
    const plain = model.predict(x) as tf.Tensor;
    const reader = readLayersModel(model);
    const [site] = reader.sites();
    expect(site!.kind).toBe(kind);
    const undo = reader.install(new Set(reader.trainable()));
    let raw: number[] = [];
    const before = tf.memory().numTensors;
    const one = site!.replace((v, next) => {
      const y = next(v);
      raw = [...y.dataSync()];
      return tf.mul(y, 2);
    });
    const doubled = model.predict(x) as tf.Tensor;
    const linear = tf.tensor(raw, plain.shape);
    const strip = activation && kind !== 'activation';
    expect([...doubled.dataSync()]).toEqual([...(strip ? activation.apply(tf.mul(linear, 2)) : tf.mul(plain, 2)).dataSync()]);
    one();
    const same = model.predict(x) as tf.Tensor;
    expect([...same.dataSync()]).toEqual([...plain.dataSync()]);
    tf.dispose([doubled, same, linear]);
    expect(tf.memory().numTensors).toBeLessThanOrEqual(before + 2);
    undo();
  });

  it('nests replacements like middleware, the last one outermost, and turns them off in disabled', () => {
    const model = chain(L.dense({ units: 2, inputShape: [2], ...named('d') }));
    const x = uniform([1, 2], 1);
    const reader = readLayersModel(model);
    const undo = reader.install(new Set(reader.trainable()));
    const order: string[] = [];
    const [site] = reader.sites('d');
    const undos = ['inner', 'outer'].map((name) =>
      site!.replace((v, next) => {
        order.push(name);
        return next(v);
      }),
    );
    model.predict(x);
    expect(order).toEqual(['outer', 'inner']);
    reader.disabled(() => model.predict(x));
    expect(order.length).toBe(2);
    undos[1]!();
    undos[1]!();
    model.predict(x);
    expect(order).toEqual(['outer', 'inner', 'inner']);
    undo();
  });

  it('gives a replacement gradients through next, in nested models and under TimeDistributed', () => {
    for (const [make, shape, target] of [
      [nested, [2, 3], 'a'],
      [recurrent, [2, 5], 'each/inside'],
    ] as const) {
      const model = make();
      const x =
        shape[1] === 5
          ? tf.tensor2d([
              [1, 2, 0, 3, 0],
              [4, 5, 6, 0, 0],
            ])
          : uniform([...shape], 1);
      const scale = tf.variable(tf.scalar(1.5));
      const reader = readLayersModel(model);
      const undo = reader.install(new Set());
      const [site] = reader.sites(target);
      site!.replace((v, next) => tf.mul(next(v), scale));
      const f = () => tf.sum(model.apply(x) as tf.Tensor) as tf.Scalar;
      const ours = valueAndGrads(f, [scale]);
      const stock = tf.variableGrads(f, [scale]);
      expect(values(ours.grads)).toEqual(values(stock.grads));
      undo();
    }
  });

  it('of several inputs cannot be replaced, and says so', () => {
    const [site] = readLayersModel(branched()).sites('sum');
    expect(() => site!.replace((x) => x)).toThrow(/\[replace\] got "sum" \(Add\); expected a layer or node with .* one input/);
  });

  it('adds a delta into its kernel in place', () => {
    const model = chain(L.depthwiseConv2d({ kernelSize: 2, inputShape: [3, 3, 2], ...named('dw') }));
    const [site] = readLayersModel(model).sites('dw');
    const kernel = site!.kernel!;
    const expected = tf.add(kernel, 1).dataSync();
    const before = tf.memory().numTensors;
    tf.tidy(() => site!.addToKernel(tf.ones(kernel.shape)));
    expect(site!.kernel).toBe(kernel);
    expect(kernel.dataSync()).toEqual(expected);
    expect(tf.memory().numTensors).toBe(before);
  });
});

describe('reading', () => {
  it('names layers by their path, a shared one once', () => {
    expect(
      readLayersModel(nested())
        .sites()
        .map((s) => s.name),
    ).toEqual(['first', 'middle/inner/a', 'middle/inner/norm', 'middle/inner/b', 'middle/after', 'add', 'last']);
    expect(
      readLayersModel(shared())
        .sites()
        .map((s) => s.name),
    ).toEqual(expect.arrayContaining(['tower', 'join', 'out', 'again']));
    expect(
      readLayersModel(flattened())
        .sites()
        .map((s) => s.name),
    ).toEqual(['base/one', 'base/bn', 'head']);
  });

  it('names weights alike in every process, also where tfjs numbers them', () => {
    const names = [branched(), branched()].map((model) => readLayersModel(model).fingerprint());
    expect(names[0]).toEqual(names[1]);
    expect(readLayersModel(recurrent()).fingerprint().slice(0, 6)).toEqual([
      { name: 'embed/embeddings', shape: [7, 3], dtype: 'float32' },
      { name: 'each/inside/kernel', shape: [3, 4], dtype: 'float32' },
      { name: 'each/inside/bias', shape: [4], dtype: 'float32' },
      { name: 'bi/forward_l/kernel', shape: [4, 8], dtype: 'float32' },
      { name: 'bi/forward_l/recurrent_kernel', shape: [2, 8], dtype: 'float32' },
      { name: 'bi/forward_l/bias', shape: [8], dtype: 'float32' },
    ]);
  });

  it('selects by filter whatever the flags say, and by the flags without one', () => {
    const model = flattened();
    model.layers.forEach((layer) => (layer.trainable = false));
    const reader = readLayersModel(model);
    expect(reader.trainable()).toEqual([]);
    const selected = reader.trainable(['head', /one$/]);
    model.compile({ optimizer: 'sgd', loss: 'meanSquaredError' });
    expect(reader.trainable(['head', /one$/])).toEqual(selected);
    expect(selected.map((v) => reader.nameOf(v))).toEqual(['base/one/kernel', 'base/one/bias', 'head/kernel', 'head/bias']);
    expect(reader.trainable(/bias$/).map((v) => reader.nameOf(v))).toEqual(['base/one/bias', 'head/bias']);
    expect(() => reader.trainable('heat')).toThrow(FinetuneError);
  });
});
