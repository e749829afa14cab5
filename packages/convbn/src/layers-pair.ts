/** Two layers of a LayersModel as a pair. The layer runs its own `call`, with other weights in the properties that it reads. */
import * as tf from '@tensorflow/tfjs-core';
import type { ConvBnWeights } from './fold-weights.ts';
import type { Pair } from './pair.ts';
import { type Layer, type LayerVariable, type Norm, runFrozen } from './tfjs-layers.ts';

interface Named<L> {
  readonly name: string;
  readonly layer: L;
}

/** The property that holds what is scaled: for a separable convolution, its second half. */
function kernelField(layer: Layer): 'kernel' | 'depthwiseKernel' | 'pointwiseKernel' {
  const type = layer.getClassName();
  return type === 'DepthwiseConv2D' ? 'depthwiseKernel' : type === 'SeparableConv2D' ? 'pointwiseKernel' : 'kernel';
}

type Weighted = Layer & { readonly [property in ReturnType<typeof kernelField>]: LayerVariable } & { readonly bias?: LayerVariable | null };

/** The shape of k [c] next to the kernel. */
function channelsFor(layer: Layer, kernel: readonly number[]): readonly number[] {
  const type = layer.getClassName();
  if (type === 'DepthwiseConv2D') return kernel.slice(-2); // [h, w, cIn, m]
  if (type === 'Conv2DTranspose') return [kernel.at(-2)!, 1]; // [h, w, c, cIn]
  return kernel.slice(-1); // [..., c]
}

export interface LayersPair extends Pair {
  readonly convLayer: Layer;
  readonly normLayer: Norm;
}

export function layersPair(conv: Named<Layer>, norm: Named<Norm>, padded: boolean): LayersPair {
  const layer = conv.layer as Weighted;
  const field = kernelField(layer);
  const { layer: own } = norm;
  const variables = (): { readonly [role in keyof ConvBnWeights]?: tf.Tensor | undefined } => ({
    kernel: layer[field].read(),
    bias: layer.bias?.read(),
    gamma: own.gamma?.read(),
    beta: own.beta?.read(),
    mean: own.movingMean.read(),
    variance: own.movingVariance.read(),
  });
  return {
    convLayer: layer,
    normLayer: own,
    conv: conv.name,
    norm: norm.name,
    channels: channelsFor(layer, layer[field].read().shape),
    padded,
    biasBehind: undefined,
    weights: () => ({ ...variables(), epsilon: own.epsilon }) as ConvBnWeights,
    variable: (role) => variables()[role] as tf.Variable,
    run: (x, next, kernel, bias) => withWeights(layer, field, kernel, bias, () => next(x)),
    normalize: (x) => runFrozen(own, x),
    alongChannels: (values) => (layer.dataFormat === 'channelsFirst' ? tf.reshape(values, [-1, 1, 1]) : values),
  };
}

function withWeights<T>(
  layer: Weighted,
  field: ReturnType<typeof kernelField>,
  kernel: tf.Tensor,
  bias: tf.Tensor | undefined,
  run: () => T,
): T {
  const { [field]: ownKernel, bias: ownBias, useBias } = layer as Weighted & { readonly useBias: boolean };
  Object.assign(layer, { [field]: { read: () => kernel }, bias: bias ? { read: () => bias } : null, useBias: bias !== undefined });
  try {
    return run();
  } finally {
    Object.assign(layer, { [field]: ownKernel, bias: ownBias, useBias });
  }
}
