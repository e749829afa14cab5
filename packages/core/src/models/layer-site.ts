/** A layer of a LayersModel as a site: `next` is the layer's own `call` with its activation taken off and put back afterwards. */
import * as tf from '@tensorflow/tfjs-core';
import { override } from '../override.ts';
import type { Linear, SiteKind, SiteWeight } from '../technique.ts';
import type { WeightSpec } from './model-reader.ts';
import { makeSite, type ReplaceableSite, type Switch } from './replaceable-site.ts';
import { type Activation, type Kwargs, type Layer, type LayerVariable, type Tensors, toList } from './tfjs-layers.ts';

/** Per class: the kind, and the property that holds the kernel. */
const kinds: { readonly [className: string]: readonly [kind: SiteKind, kernel?: string] } = {
  Dense: ['dense', 'kernel'],
  Conv1D: ['conv1d', 'kernel'],
  Conv2D: ['conv2d', 'kernel'],
  Conv3D: ['conv3d', 'kernel'],
  Conv2DTranspose: ['conv2dTranspose', 'kernel'],
  DepthwiseConv2D: ['depthwiseConv2d', 'depthwiseKernel'],
  SeparableConv2D: ['separableConv2d'],
  Embedding: ['embedding', 'embeddings'],
  BatchNormalization: ['batchNorm'],
  LayerNormalization: ['layerNorm'],
};
const activation = /^(Activation|ReLU|LeakyReLU|PReLU|ELU|ThresholdedReLU|Softmax)$/;
/** Kinds whose layer applies an activation after its linear map. */
const activated = /^(dense|.*conv)/i;

const linear: Activation = { getClassName: () => 'linear', apply: (x) => x };

export interface LayerSite extends ReplaceableSite {
  readonly layer: Layer;
  /** Moving statistics and the like. */
  readonly state: readonly SiteWeight[];
  /** What holds a weight that is packed, which nothing moves. */
  readonly packed: readonly SiteWeight[];
  /** The property that holds the kernel, '' if there is none. */
  readonly kernelProperty: string;
}

export function layerSite(name: string, layer: Layer, power: Switch): LayerSite {
  const type = layer.getClassName();
  const [kind, kernel = ''] = layer.siteKind ?? kinds[type] ?? [activation.test(type) ? 'activation' : 'other'];
  const read = (property: string) => (layer as unknown as { [property: string]: LayerVariable | undefined })[property]?.read();
  const all = layer.weights.map((w) => ({ name: `${name}/${lastName(w, layer.weights)}`, variable: () => w.read(), w }));
  // By declaration: tf.sequential resets the trainable flags of weights at every compile.
  const { packedWeight } = layer;
  const isPacked = ({ w }: { w: LayerVariable }) => packedWeight?.variables.includes(w) === true;
  const moves = (weight: { w: LayerVariable }) => layer._nonTrainableWeights.includes(weight.w) && !isPacked(weight);
  const site = makeSite({
    name,
    kind,
    type,
    power,
    weights: all.filter((w) => !moves(w) && !isPacked(w)),
    replaceable: () => layer.inboundNodes.every((node) => node.inputTensors.length === 1 && node.outputTensors.length === 1),
    kernel: () => read(kernel),
    packed: packedWeight?.property === kernel ? packedWeight : undefined,
    bias: () => read('bias'),
    assign: (value) => read(kernel)!.assign(value),
  });
  return Object.assign(site, { layer, state: all.filter(moves), packed: all.filter(isPacked), kernelProperty: kernel });
}

/** A site's weights as files describe them: one that is packed as what it stands for, so that an adapter fits the base however it is held. */
export function weightSpecs({ name, layer, weights, state }: LayerSite): WeightSpec[] {
  const { packedWeight: packed } = layer;
  const specOf = (weight: SiteWeight): WeightSpec => {
    const { shape, dtype } = weight.variable();
    return { name: weight.name, shape, dtype };
  };
  const plain = [...weights, ...state].map(specOf);
  return packed ? [{ name: `${name}/${packed.property}`, shape: packed.shape, dtype: 'float32' }, ...plain] : plain;
}

/** The layer's forward with what replaces it. */
export function forward(site: LayerSite, inputs: Tensors, kwargs: Kwargs, call: Layer['call']): Tensors {
  if (!site.replaced) return call(inputs, kwargs);
  const { layer, kind } = site;
  const own = activated.test(kind) ? layer.activation : undefined;
  const called = (x: tf.Tensor, parts: object) => {
    const undo = override(layer, own ? { ...parts, activation: linear } : parts);
    try {
      return toList(call(Array.isArray(inputs) ? [x] : x, kwargs))[0]!;
    } finally {
      undo();
    }
  };
  const withKernel: Linear = (x, kernel) => {
    // Layers give their results the width that they were made for; these two need no call.
    if (kind === 'dense' && kernel.rank === 2) return product(x, kernel as tf.Tensor2D);
    if (layer.getClassName() === 'Embedding') return tf.gather(kernel, tf.cast(x, 'int32'));
    return called(x, { [site.kernelProperty]: { read: () => kernel }, bias: null, useBias: false });
  };
  return tf.tidy(() => {
    const y = site.run(toList(inputs)[0]!, (x) => called(x, {}), withKernel);
    return own ? own.apply(y) : y;
  });
}

/** x·kernel over the last axis. */
function product(x: tf.Tensor, kernel: tf.Tensor2D): tf.Tensor {
  const rows = tf.reshape(x, [-1, kernel.shape[0]]) as tf.Tensor2D;
  return tf.reshape(tf.matMul(rows, kernel), [...x.shape.slice(0, -1), kernel.shape[1]]);
}

/** 'kernel', or 'forward_lstm/kernel' where a layer has two of that name. */
function lastName(weight: LayerVariable, all: readonly LayerVariable[]): string {
  const tail = (w: LayerVariable, segments: number) => w.originalName.split('/').slice(-segments).join('/');
  return tail(weight, all.some((w) => w !== weight && tail(w, 1) === tail(weight, 1)) ? 2 : 1);
}
