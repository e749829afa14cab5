/** Tiny LayersModels, one per way in which layers are put together. */
import * as tf from '@tensorflow/tfjs';
import { asList, crossEntropy, seeded, seededLabels, seededTokens, squaredError, type TinyModel } from './tiny-model.ts';

export interface TinyLayersModel extends TinyModel<tf.LayersModel> {
  readonly kind: 'layers';
  /** For `model.compile`; `loss()` computes the same. */
  readonly compileLoss: 'meanSquaredError' | 'categoricalCrossentropy';
}

const BATCH = 4;
const CLASSES = 3;

/** Dense, tanh, Dense, softmax. */
export function denseNet(seed = 1): TinyLayersModel {
  const model = tf.sequential({
    name: 'dense_net',
    layers: [
      tf.layers.dense({ inputShape: [6], units: 8, activation: 'tanh', name: 'hidden' }),
      tf.layers.dense({ units: 8, activation: 'relu', name: 'middle' }),
      tf.layers.dense({ units: CLASSES, activation: 'softmax', name: 'head' }),
    ],
  });
  return tiny('dense', model, [seeded([BATCH, 6], seed)], seed, labels(seed));
}

/** Two of Conv, BatchNorm, ReLU, pooling; then a softmax head. */
export function convNet(seed = 1): TinyLayersModel {
  const block = (i: number, filters: number, first: object): tf.layers.Layer[] => [
    tf.layers.conv2d({ ...first, filters, kernelSize: 3, padding: 'same', useBias: false, name: `conv_${i}` }),
    tf.layers.batchNormalization({ name: `bn_${i}` }),
    tf.layers.reLU({ name: `relu_${i}` }),
    tf.layers.maxPooling2d({ poolSize: 2, name: `pool_${i}` }),
  ];
  const head = [tf.layers.flatten({ name: 'flat' }), tf.layers.dense({ units: CLASSES, activation: 'softmax', name: 'head' })];
  const model = tf.sequential({ name: 'conv_net', layers: [...block(1, 4, { inputShape: [8, 8, 2] }), ...block(2, 6, {}), ...head] });
  return tiny('conv', model, [seeded([BATCH, 8, 8, 2], seed)], seed, labels(seed));
}

/** A trunk whose output is read three times: residual adds, and a branch that joins by concatenation. */
export function residualNet(seed = 1): TinyLayersModel {
  const input = tf.input({ shape: [6, 6, 2], name: 'image' });
  const conv = (name: string, x: tf.SymbolicTensor): tf.SymbolicTensor =>
    tf.layers.conv2d({ filters: 4, kernelSize: 3, padding: 'same', activation: 'relu', name }).apply(x) as tf.SymbolicTensor;
  const trunk = conv('stem', input);
  const first = tf.layers.add({ name: 'add_1' }).apply([trunk, conv('block_1/conv', trunk)]) as tf.SymbolicTensor;
  const second = tf.layers.add({ name: 'add_2' }).apply([first, conv('block_2/conv', first)]) as tf.SymbolicTensor;
  const branch = tf.layers.depthwiseConv2d({ kernelSize: 3, padding: 'same', name: 'branch/depthwise' }).apply(trunk) as tf.SymbolicTensor;
  const joined = tf.layers.concatenate({ name: 'join' }).apply([second, branch]) as tf.SymbolicTensor;
  const pooled = tf.layers.globalAveragePooling2d({ name: 'gap' }).apply(joined) as tf.SymbolicTensor;
  const out = tf.layers.dense({ units: CLASSES, activation: 'softmax', name: 'head' }).apply(pooled) as tf.SymbolicTensor;
  return tiny(
    'residual',
    tf.model({ inputs: input, outputs: out, name: 'residual_net' }),
    [seeded([BATCH, 6, 6, 2], seed)],
    seed,
    labels(seed),
  );
}

/** Siamese: one Dense layer applied to two inputs. */
export function sharedNet(seed = 1): TinyLayersModel {
  const [left, right] = [tf.input({ shape: [5], name: 'left' }), tf.input({ shape: [5], name: 'right' })];
  const tower = tf.layers.dense({ units: 6, activation: 'tanh', name: 'tower' });
  const pair = [tower.apply(left), tower.apply(right)] as tf.SymbolicTensor[];
  const both = tf.layers.concatenate({ name: 'both' }).apply(pair) as tf.SymbolicTensor;
  const out = tf.layers.dense({ units: 2, name: 'head' }).apply(both) as tf.SymbolicTensor;
  const model = tf.model({ inputs: [left, right], outputs: out, name: 'shared_net' });
  return tiny('shared', model, [seeded([BATCH, 5], seed), seeded([BATCH, 5], seed + 1)], seed, targets(seed, 2));
}

/** A model inside a model inside a model. */
export function nestedNet(seed = 1): TinyLayersModel {
  const inner = tf.sequential({
    name: 'inner',
    layers: [tf.layers.dense({ inputShape: [5], units: 6, activation: 'relu', name: 'deep' }), tf.layers.dense({ units: 5, name: 'back' })],
  });
  const middleIn = tf.input({ shape: [5], name: 'middle_in' });
  const middleOut = tf.layers.add({ name: 'skip' }).apply([middleIn, inner.apply(middleIn) as tf.SymbolicTensor]) as tf.SymbolicTensor;
  const middle = tf.model({ inputs: middleIn, outputs: middleOut, name: 'middle' });
  const input = tf.input({ shape: [4], name: 'outer_in' });
  const up = tf.layers.dense({ units: 5, activation: 'tanh', name: 'up' }).apply(input) as tf.SymbolicTensor;
  const out = tf.layers.dense({ units: 2, name: 'head' }).apply(middle.apply(up)) as tf.SymbolicTensor;
  return tiny('nested', tf.model({ inputs: input, outputs: out, name: 'nested_net' }), [seeded([BATCH, 4], seed)], seed, targets(seed, 2));
}

/** Two inputs, two outputs with a loss each. */
export function forkedNet(seed = 1): TinyLayersModel {
  const [a, b] = [tf.input({ shape: [4], name: 'a' }), tf.input({ shape: [3], name: 'b' })];
  const merged = tf.layers.concatenate({ name: 'merge' }).apply([a, b]) as tf.SymbolicTensor;
  const body = tf.layers.dense({ units: 6, activation: 'elu', name: 'body' }).apply(merged) as tf.SymbolicTensor;
  const outputs = [2, 1].map((units, i) => tf.layers.dense({ units, name: `out_${i + 1}` }).apply(body) as tf.SymbolicTensor);
  const model = tf.model({ inputs: [a, b], outputs, name: 'forked_net' });
  const y = [seeded([BATCH, 2], seed + 20), seeded([BATCH, 1], seed + 21)];
  return tiny('forked', model, [seeded([BATCH, 4], seed), seeded([BATCH, 3], seed + 1)], seed, y);
}

/** LSTM over a sequence, GRU over its states. */
export function recurrentNet(seed = 1): TinyLayersModel {
  const model = tf.sequential({
    name: 'recurrent_net',
    layers: [
      tf.layers.lstm({ inputShape: [5, 3], units: 4, returnSequences: true, name: 'lstm' }),
      tf.layers.gru({ units: 4, name: 'gru' }),
      tf.layers.dense({ units: 2, name: 'head' }),
    ],
  });
  return tiny('recurrent', model, [seeded([BATCH, 5, 3], seed)], seed, targets(seed, 2));
}

/** Embedding, layer normalisation, mean over time, softmax head: text. */
export function textNet(seed = 1): TinyLayersModel {
  const model = tf.sequential({
    name: 'text_net',
    layers: [
      tf.layers.embedding({ inputDim: 11, outputDim: 6, inputLength: 5, name: 'embed' }),
      tf.layers.layerNormalization({ name: 'norm' }),
      tf.layers.dense({ units: 6, activation: 'relu', name: 'mix' }),
      tf.layers.globalAveragePooling1d({ name: 'mean' }),
      tf.layers.dense({ units: CLASSES, activation: 'softmax', name: 'head' }),
    ],
  });
  return tiny('text', model, [seededTokens([BATCH, 5], 11, seed)], seed, labels(seed));
}

/**
 * `depth` Dense layers of tanh, [batch, width] each, and the mean of the squared outputs as loss: large enough for what waits for
 * backward to dominate. It reads exactly (depth + 1) · batch · width values.
 */
export function deepNet({ depth, width, batch }: { depth: number; width: number; batch: number }, seed = 1): TinyLayersModel {
  const layers = Array.from({ length: depth }, (_, i) =>
    tf.layers.dense({ inputShape: [width], units: width, activation: 'tanh', name: `layer_${i}` }),
  );
  const deep = tiny('deep', tf.sequential({ name: 'deep_net', layers }), [seeded([batch, width], seed)], seed, []);
  return {
    ...deep,
    loss: () => tf.tidy(() => tf.mean(tf.square(deep.model.apply([...deep.x], { training: true }) as tf.Tensor)) as tf.Scalar),
  };
}

/** All of them, by the last part of their name. */
export const layersModels: { readonly [name: string]: (seed?: number) => TinyLayersModel } = {
  dense: denseNet,
  conv: convNet,
  residual: residualNet,
  shared: sharedNet,
  nested: nestedNet,
  forked: forkedNet,
  recurrent: recurrentNet,
  text: textNet,
};

interface Targets {
  readonly y: tf.Tensor[];
  readonly compileLoss: TinyLayersModel['compileLoss'];
}

function labels(seed: number): Targets {
  return { y: [seededLabels(BATCH, CLASSES, seed + 20)], compileLoss: 'categoricalCrossentropy' };
}

function targets(seed: number, width: number): Targets {
  return { y: [seeded([BATCH, width], seed + 20)], compileLoss: 'meanSquaredError' };
}

function tiny(name: string, model: tf.LayersModel, x: tf.Tensor[], seed: number, target: Targets | tf.Tensor[]): TinyLayersModel {
  const { y, compileLoss } = Array.isArray(target) ? { y: target, compileLoss: 'meanSquaredError' as const } : target;
  const lossOf = compileLoss === 'categoricalCrossentropy' ? crossEntropy : squaredError;
  const run = (training: boolean): tf.Tensor[] => asList(model.apply(x, { training }) as tf.Tensor | tf.Tensor[]);
  seedWeights(model, seed);
  return {
    name: `layers/${name}`,
    kind: 'layers',
    model,
    x,
    y,
    compileLoss,
    predict: () => tf.tidy(() => run(false)),
    loss: () => tf.tidy(() => lossOf(y, run(true))),
    variables: () => Object.fromEntries(model.trainableWeights.map((w) => [w.originalName, w.read() as tf.Variable])),
    weights: () => Object.fromEntries(model.weights.map((w) => [w.originalName, w.read()])),
    dispose: () => {
      if (model.optimizer) model.optimizer.dispose();
      const weights = model.weights.map((w) => w.read());
      model.dispose();
      tf.dispose([x, y, weights]); // tfjs leaves the weights of a layer that was applied twice
    },
  };
}

/** Normal values scaled by 1/√fanIn; scales and variances in [0.5, 1.5), away from zero. */
function seedWeights(model: tf.LayersModel, seed: number): void {
  tf.tidy(() => {
    const positive = /gamma|variance/;
    model.setWeights(
      model.weights.map((w, i) => {
        const shape = w.shape as number[];
        if (positive.test(w.originalName)) return tf.randomUniform(shape, 0.5, 1.5, 'float32', seed + 100 + i);
        const fanIn = shape.length > 1 ? tf.util.sizeFromShape(shape.slice(0, -1)) : 4;
        return seeded(shape, seed + 100 + i, 1 / Math.sqrt(fanIn));
      }),
    );
  });
}
