/** Models of one pair each, with the computation of its two halves written out: what the modes are held against. */
import * as tf from '@tensorflow/tfjs';

type Layers = typeof tf.layers;
type Conv = { readonly [option: string]: unknown };

export interface Case {
  readonly inputShape: number[];
  readonly conv: (layers: Layers, options: Conv) => tf.layers.Layer;
  readonly convOptions?: Conv;
  readonly norm?: Conv;
  /** Between the two. */
  readonly between?: (layers: Layers) => tf.layers.Layer;
}

const image = [6, 5, 3];
const conv2d: Case['conv'] = (layers, options) => layers.conv2d({ filters: 4, kernelSize: 3, ...options });
const sizes = { filters: 4, kernelSize: 2, padding: 'same' } as const;

/** The cases of the paper's code and of this package, by what is special in each. */
export const cases: { readonly [name: string]: Case } = {
  'a Conv2D': { inputShape: image, conv: conv2d },
  'a Conv2D without bias': { inputShape: image, conv: conv2d, convOptions: { useBias: false, padding: 'same', strides: 2 } },
  'a Conv2D with channels first': { inputShape: [3, 6, 5], conv: conv2d, convOptions: { dataFormat: 'channelsFirst' }, norm: { axis: 1 } },
  'a DepthwiseConv2D with channels first': {
    inputShape: [3, 6, 5],
    conv: (layers, options) => layers.depthwiseConv2d({ kernelSize: 3, depthMultiplier: 2, ...options }),
    convOptions: { dataFormat: 'channelsFirst' },
    norm: { axis: 1 },
  },
  'a Conv2DTranspose with channels first': {
    inputShape: [3, 6, 5],
    conv: (layers, options) => layers.conv2dTranspose({ ...sizes, ...options }),
    convOptions: { dataFormat: 'channelsFirst' },
    norm: { axis: 1 },
  },
  'a Conv3D with channels first': {
    inputShape: [2, 4, 3, 3],
    conv: (layers, options) => layers.conv3d({ ...sizes, ...options }),
    convOptions: { dataFormat: 'channelsFirst' },
    norm: { axis: 1 },
  },
  'a norm without scale': { inputShape: image, conv: conv2d, norm: { scale: false } },
  'a norm without center': { inputShape: image, conv: conv2d, norm: { center: false } },
  'neither scale, center nor bias': {
    inputShape: image,
    conv: conv2d,
    convOptions: { useBias: false },
    norm: { scale: false, center: false },
  },
  'an axis as files of Keras have it': { inputShape: image, conv: conv2d, norm: { axis: [3] } },
  'a small epsilon': { inputShape: image, conv: conv2d, norm: { epsilon: 1e-5 } },
  'a Conv1D': { inputShape: [7, 3], conv: (layers, options) => layers.conv1d({ ...sizes, ...options }) },
  'a Conv3D': { inputShape: [4, 3, 3, 2], conv: (layers, options) => layers.conv3d({ ...sizes, ...options }) },
  'a Conv2DTranspose': { inputShape: image, conv: (layers, options) => layers.conv2dTranspose({ ...sizes, strides: 2, ...options }) },
  'a DepthwiseConv2D': {
    inputShape: image,
    conv: (layers, options) => layers.depthwiseConv2d({ kernelSize: 3, depthMultiplier: 2, ...options }),
  },
  'a DepthwiseConv2D without bias': {
    inputShape: image,
    conv: (layers, options) => layers.depthwiseConv2d({ kernelSize: 3, ...options }),
    convOptions: { useBias: false },
  },
  'a SeparableConv2D': { inputShape: image, conv: (layers, options) => layers.separableConv2d({ ...sizes, ...options }) },
  'a Dense': { inputShape: [6], conv: (layers, options) => layers.dense({ units: 4, ...options }) },
  'a Dense on a sequence': { inputShape: [5, 6], conv: (layers, options) => layers.dense({ units: 4, ...options }) },
  'zero padding between': {
    inputShape: image,
    conv: conv2d,
    between: (layers) =>
      layers.zeroPadding2d({
        padding: [
          [1, 2],
          [0, 1],
        ],
      }),
  },
  'zero padding between, without bias': {
    inputShape: image,
    conv: conv2d,
    convOptions: { useBias: false },
    between: (layers) => layers.zeroPadding2d(),
  },
  'zero padding between, with channels first': {
    inputShape: [3, 6, 5],
    conv: conv2d,
    convOptions: { dataFormat: 'channelsFirst' },
    norm: { axis: 1 },
    between: (layers) => layers.zeroPadding2d({ dataFormat: 'channelsFirst' }),
  },
  'a linear activation between': { inputShape: image, conv: conv2d, between: (layers) => layers.activation({ activation: 'linear' }) },
};

/** The model of one case, with seeded weights: scales and variances away from zero, and from one. */
export function modelOf({ inputShape, conv, convOptions, norm, between }: Case, seed = 1): tf.Sequential {
  const layers = [
    conv(tf.layers, { ...convOptions, inputShape, name: 'conv' }),
    ...(between ? [between(tf.layers)] : []),
    tf.layers.batchNormalization({ ...norm, name: 'bn' }),
  ];
  const model = tf.sequential({ layers });
  seedWeights(model, seed);
  return model;
}

export function seedWeights(model: tf.LayersModel, seed: number): void {
  tf.tidy(() =>
    model.setWeights(
      model.weights.map(({ originalName, shape }, i) =>
        /gamma|variance/.test(originalName)
          ? tf.randomUniform(shape as number[], 0.3, 2.5, 'float32', seed + i)
          : tf.randomNormal(shape as number[], 0, 0.6, 'float32', seed + i),
      ),
    ),
  );
}

interface Norm extends tf.layers.Layer {
  readonly [weight: string]: unknown;
}
type Weight = { read(): tf.Tensor } | null | undefined;

/** The layers one after the other, and the norm by its definition. Stock tfjs all through. */
export function twoLayers(model: tf.Sequential, x: tf.Tensor): tf.Tensor {
  return model.layers.reduce(
    (y: tf.Tensor, layer) =>
      layer.getClassName() === 'BatchNormalization' ? byDefinition(layer as Norm, y) : (layer.call(y, {}) as tf.Tensor),
    x,
  );
}

function byDefinition(norm: Norm, y: tf.Tensor): tf.Tensor {
  const axis = (Number(norm['axis']) + y.rank) % y.rank;
  const along = (t: tf.Tensor) =>
    tf.reshape(
      t,
      y.shape.map((size, i) => (i === axis ? size : 1)),
    );
  const weight = (name: string) => (norm[name] as Weight)?.read();
  const [gamma, beta] = [weight('gamma'), weight('beta')];
  const deviation = tf.sqrt(tf.add(along(weight('movingVariance')!), norm['epsilon'] as number));
  const normal = tf.div(tf.sub(y, along(weight('movingMean')!)), deviation);
  const scaled = gamma ? tf.mul(normal, along(gamma)) : normal;
  return beta ? tf.add(scaled, along(beta)) : scaled;
}

export const variablesOf = (model: tf.LayersModel): tf.Variable[] => model.trainableWeights.map((w) => w.read() as tf.Variable);

export function disposeModel(model: tf.LayersModel): void {
  const weights = model.weights.map((w) => w.read());
  model.dispose();
  tf.dispose(weights);
}
