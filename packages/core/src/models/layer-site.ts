/** A layer of a LayersModel as a site: `next` is the layer's own `call` with its activation taken off and put back afterwards. */
import * as tf from '@tensorflow/tfjs-core';
import type { SiteKind, SiteWeight } from '../technique.ts';
import { ReplaceableSite, type Switch } from './replaceable-site.ts';
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
const activations = new Set(['Activation', 'ReLU', 'LeakyReLU', 'PReLU', 'ELU', 'ThresholdedReLU', 'Softmax']);
/** Kinds whose layer applies an activation after its linear map. */
const activated = /^(dense|.*conv)/i;

const linear: Activation = { getClassName: () => 'linear', apply: (x) => x };

export class LayerSite extends ReplaceableSite {
  readonly layer: Layer;
  readonly weights: readonly SiteWeight[];
  /** Moving statistics and the like. */
  readonly state: readonly SiteWeight[];

  constructor(name: string, layer: Layer, power: Switch) {
    const type = layer.getClassName();
    super(name, kinds[type]?.[0] ?? (activations.has(type) ? 'activation' : 'other'), type, power);
    this.layer = layer;
    const all = layer.weights.map((w) => ({ name: `${name}/${lastName(w, layer.weights)}`, variable: () => w.read(), w }));
    this.state = all.filter(({ w }) => layer._nonTrainableWeights.includes(w));
    // By declaration: tf.sequential resets the trainable flags of weights at every compile.
    this.weights = all.filter((w) => !this.state.includes(w));
  }

  get kernel(): tf.Variable | undefined {
    return this.#read(kinds[this.type]?.[1]);
  }

  get bias(): tf.Variable | undefined {
    return this.#read('bias');
  }

  protected get replaceable(): boolean {
    return this.layer.inboundNodes.every((node) => node.inputTensors.length === 1 && node.outputTensors.length === 1);
  }

  /** The layer's forward with what replaces it. */
  forward(inputs: Tensors, kwargs: Kwargs, call: Layer['call']): Tensors {
    if (!this.replaced) return call(inputs, kwargs);
    const { layer } = this;
    const activation = activated.test(this.kind) ? layer.activation : undefined;
    return tf.tidy(() => {
      const y = this.run(toList(inputs)[0]!, (x) => {
        if (activation) layer.activation = linear;
        try {
          return toList(call(Array.isArray(inputs) ? [x] : x, kwargs))[0]!;
        } finally {
          if (activation) layer.activation = activation;
        }
      });
      return activation ? activation.apply(y) : y;
    });
  }

  #read(property = ''): tf.Variable | undefined {
    return (this.layer as unknown as { [property: string]: LayerVariable | undefined })[property]?.read();
  }
}

/** 'kernel', or 'forward_lstm/kernel' where a layer has two of that name. */
function lastName(weight: LayerVariable, all: readonly LayerVariable[]): string {
  const tail = (w: LayerVariable, segments: number) => w.originalName.split('/').slice(-segments).join('/');
  return tail(weight, all.some((w) => w !== weight && tail(w, 1) === tail(weight, 1)) ? 2 : 1);
}
