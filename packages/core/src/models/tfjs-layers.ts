/** The parts of tfjs-layers 4.22 that the reader of LayersModels touches, as it is loaded by the user and not by core. */
import type * as tf from '@tensorflow/tfjs-core';
import type { SiteKind } from '../technique.ts';

export interface LayerVariable {
  readonly originalName: string;
  read(): tf.Variable;
  write(value: tf.Tensor): unknown;
}

export interface Symbolic {
  readonly id: number;
  readonly shape: readonly (number | null)[];
  readonly dtype: tf.DataType;
  readonly inputs: readonly Symbolic[];
  readonly sourceLayer: Layer;
  readonly nodeIndex: number;
}

export type Tensors = tf.Tensor | tf.Tensor[];
export type Kwargs = { readonly [name: string]: unknown } | undefined;

export interface Activation {
  getClassName(): string;
  apply(x: tf.Tensor): tf.Tensor;
}

/** A weight in a form of the layer's own. */
export interface PackedWeight {
  /** The property that would hold it: `'kernel'`. Files name it so, whatever it is held in. */
  readonly property: string;
  readonly shape: readonly number[];
  /** What holds it. */
  readonly variables: readonly LayerVariable[];
  /** Its values, as float32: a new tensor. */
  read(): tf.Tensor;
}

export interface Layer {
  readonly name: string;
  readonly weights: readonly LayerVariable[];
  readonly _nonTrainableWeights: readonly LayerVariable[];
  readonly inboundNodes: readonly { readonly inputTensors: readonly Symbolic[]; readonly outputTensors: readonly Symbolic[] }[];
  readonly supportsMasking: boolean;
  readonly stateful: boolean;
  /** Only recurrent layers have one, and only they are called with a tensor where the executor gave a list. */
  readonly returnState?: boolean;
  /** Of TimeDistributed. */
  readonly layer?: Layer;
  /** Of ReLU; null in a model that Keras saved without one. */
  readonly maxValue?: number | null;
  /** How a layer class of another package says what it is: the kind of site, and the property that holds the kernel. */
  readonly siteKind?: readonly [kind: SiteKind, kernel?: string];
  /** How a layer class of another package says that it holds a weight packed, and frozen. */
  readonly packedWeight?: PackedWeight | undefined;
  activation?: Activation | null;
  gamma?: LayerVariable | null;
  beta?: LayerVariable | null;
  /** Of BatchNormalization. */
  readonly movingMean?: LayerVariable;
  readonly movingVariance?: LayerVariable;
  readonly axis?: number;
  readonly epsilon: number;
  readonly momentum: number;
  call(inputs: Tensors, kwargs: Kwargs): Tensors;
  apply(inputs: Tensors, kwargs: Kwargs): Tensors;
  getClassName(): string;
  /** Of one input's shape, or of all of them. */
  computeOutputShape(shapes: readonly number[] | readonly (readonly number[])[]): readonly number[] | readonly (readonly number[])[];
}

export interface Container extends Layer {
  readonly layers: readonly Layer[];
  readonly inputs: readonly Symbolic[];
  readonly outputs: readonly Symbolic[];
  readonly trainableWeights: readonly LayerVariable[];
  /** Of a Sequential: what it delegates to. */
  model?: Container | undefined;
  /** Of a LayersModel. */
  makeTrainFunction(): (batch: tf.Tensor[]) => tf.Scalar[];
}

export const isContainer = (layer: Layer): layer is Container =>
  Array.isArray((layer as Container).layers) && Array.isArray((layer as Container).outputs);

export const toList = (tensors: Tensors): tf.Tensor[] => (Array.isArray(tensors) ? tensors : [tensors]);

/** What the layer calls of a container compute, in the order of tfjs's executor: depth first from the outputs, the last input first. */
export function orderOf(container: Container): readonly Symbolic[] {
  const order: Symbolic[] = [];
  const done = new Set(container.inputs);
  const visit = (t: Symbolic): void => {
    if (done.has(t)) return;
    [...t.inputs].reverse().forEach(visit);
    done.add(t);
    if (t.inputs.length > 0) order.push(t);
  };
  container.outputs.forEach(visit);
  return order;
}

/** Where in `order` each tensor is read last. */
export function lastReads(order: readonly Symbolic[]): Map<Symbolic, number> {
  return new Map(order.flatMap((t, i) => t.inputs.map((source) => [source, i] as const)));
}
