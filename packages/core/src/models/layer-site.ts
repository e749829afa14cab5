/** A layer of a LayersModel as a site: `next` is the layer's own `call` with its activation taken off and put back afterwards. */
import * as tf from '@tensorflow/tfjs-core';
import { FinetuneError } from '../errors.ts';
import { Replacements, type Switch } from '../sites.ts';
import type { Forward, Site, SiteKind, SiteWeight, Undo } from '../technique.ts';
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

export class LayerSite implements Site {
  readonly name: string;
  readonly kind: SiteKind;
  readonly type: string;
  readonly layer: Layer;
  readonly weights: readonly SiteWeight[];
  /** Moving statistics and the like. */
  readonly state: readonly SiteWeight[];
  readonly #kernel: string | undefined;
  readonly #replacements: Replacements;

  constructor(name: string, layer: Layer, power: Switch) {
    this.name = name;
    this.layer = layer;
    this.type = layer.getClassName();
    [this.kind, this.#kernel] = kinds[this.type] ?? [activations.has(this.type) ? 'activation' : 'other'];
    this.#replacements = new Replacements(power);
    const all = layer.weights.map((w) => ({ name: `${name}/${lastName(w, layer.weights)}`, variable: () => w.read(), w }));
    this.state = all.filter(({ w }) => layer._nonTrainableWeights.includes(w));
    // By declaration: tf.sequential resets the trainable flags of weights at every compile.
    this.weights = all.filter((w) => !this.state.includes(w));
  }

  get kernel(): tf.Variable | undefined {
    return this.#read(this.#kernel);
  }

  get bias(): tf.Variable | undefined {
    return this.#read('bias');
  }

  replace(forward: (x: tf.Tensor, next: Forward) => tf.Tensor): Undo {
    const lists = this.layer.inboundNodes.flatMap((node) => [node.inputTensors, node.outputTensors]);
    if (lists.some((list) => list.length !== 1)) {
      throw new FinetuneError('bad-option', 'replace', `got layer "${this.name}" (${this.type}), which has several inputs or outputs; expected one of each. Leave it out of the targets.`);
    }
    return this.#replacements.add(forward);
  }

  addToKernel(delta: tf.Tensor): void {
    const kernel = this.kernel;
    if (!kernel) throw new FinetuneError('bad-option', 'addToKernel', `got layer "${this.name}" (${this.type}), which has no single kernel; expected a dense, conv or embedding layer.`);
    tf.tidy(() => kernel.assign(tf.add(kernel, delta)));
  }

  /** The layer's forward with what replaces it. */
  forward(inputs: Tensors, kwargs: Kwargs, call: Layer['call']): Tensors {
    if (!this.#replacements.active) return call(inputs, kwargs);
    const { layer } = this;
    const activation = activated.test(this.kind) ? layer.activation : undefined;
    return tf.tidy(() => {
      const y = this.#replacements.run(toList(inputs)[0]!, (x) => {
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
