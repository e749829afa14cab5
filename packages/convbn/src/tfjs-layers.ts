/** The parts of tfjs-layers 4.22 that pairs are found and run by, as it is loaded by the user and not by this package. */
import type * as tf from '@tensorflow/tfjs-core';

export interface LayerVariable {
  read(): tf.Tensor;
}

export interface Symbolic {
  readonly shape: readonly (number | null)[];
  readonly inputs: readonly Symbolic[];
  readonly sourceLayer: Layer;
  readonly nodeIndex: number;
}

export interface LayerNode {
  readonly inputTensors: readonly Symbolic[];
  readonly outputTensors: readonly Symbolic[];
}

type Config = { [option: string]: unknown };

export interface Layer {
  readonly name: string;
  readonly inboundNodes: readonly LayerNode[];
  readonly weights: readonly LayerVariable[];
  readonly constructor: object;
  readonly activation?: { getClassName(): string } | null;
  readonly dataFormat?: string;
  getClassName(): string;
  getConfig(): Config;
  setWeights(weights: tf.Tensor[]): void;
  apply(inputs: Symbolic | readonly Symbolic[]): Symbolic | Symbolic[];
}

export interface LayerClass {
  new (args: Config): Layer;
  fromConfig(self: LayerClass, config: Config): Layer;
}

export interface Norm extends Layer {
  readonly axis: number | readonly number[];
  readonly epsilon: number;
  readonly gamma?: LayerVariable | null;
  readonly beta?: LayerVariable | null;
  readonly movingMean: LayerVariable;
  readonly movingVariance: LayerVariable;
}

export interface Container extends Layer {
  readonly layers: readonly Layer[];
  readonly inputs: readonly Symbolic[];
  readonly outputs: readonly Symbolic[];
  readonly trainableWeights: readonly LayerVariable[];
}

export const isContainer = (layer: Layer): layer is Container =>
  Array.isArray((layer as Container).layers) && Array.isArray((layer as Container).outputs);

export const isNorm = (layer: Layer): layer is Norm => layer.getClassName() === 'BatchNormalization';

/** The norm with its moving statistics, whatever the call asked for. */
export function runFrozen(norm: Norm, x: tf.Tensor): tf.Tensor {
  return Reflect.apply(Object.getPrototypeOf(norm).call, norm, [x, { training: false }]);
}

/** All tensors that lead to the outputs of a container, each after those it is computed from. */
export function tensorsOf({ inputs, outputs }: Container): readonly Symbolic[] {
  const seen = new Set(inputs);
  const visit = (t: Symbolic): void => {
    if (seen.has(t)) return;
    t.inputs.forEach(visit);
    seen.add(t);
  };
  outputs.forEach(visit);
  return [...seen];
}

/** The variables that a LayersModel itself says train. */
export const trainableOf = ({ trainableWeights }: Container): readonly tf.Variable[] =>
  trainableWeights.map((w) => w.read() as tf.Variable);
