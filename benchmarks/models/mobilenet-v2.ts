/**
 * MobileNetV2 with separate BatchNorm, in the layer names of Keras: 52 convolutions (17 of them depthwise), 52 BatchNorm.
 * Sandler et al. 2018, arXiv 1801.04381, table 2. 'same' padding stands in for Keras's pad-then-valid.
 */
import * as tf from '@tensorflow/tfjs-layers';

export interface MobileNetV2Options {
  /** Pixels a side, a multiple of 32. */
  readonly size: number;
  /** Width multiplier; channels are rounded to a multiple of 8 (the last convolution too, which Keras leaves at 1280). */
  readonly width: number;
  readonly classes: number;
}

/** Expansion t, channels c, repeats n, first stride s (table 2). */
const stages = [
  [1, 16, 1, 1],
  [6, 24, 2, 2],
  [6, 32, 3, 2],
  [6, 64, 4, 2],
  [6, 96, 3, 1],
  [6, 160, 3, 2],
  [6, 320, 1, 1],
] as const;

export function mobileNetV2({ size, width, classes }: MobileNetV2Options): tf.LayersModel {
  const channels = (c: number): number => Math.max(8, 8 * Math.round((c * width) / 8));
  const input = tf.input({ shape: [size, size, 3], name: 'input' });
  let x = relu6('Conv1_relu', norm('bn_Conv1', conv('Conv1', input, channels(32), 3, 2))); // [batch, size/2, size/2, 32]
  let block = 0;
  for (const [expansion, c, repeats, stride] of stages) {
    for (let i = 0; i < repeats; i++) {
      x = invertedResidual(block++, x, expansion, channels(c), i === 0 ? stride : 1);
    }
  }
  x = relu6('out_relu', norm('Conv_1_bn', conv('Conv_1', x, channels(1280), 1, 1)));
  const pooled = tf.layers.globalAveragePooling2d({ name: 'pool' }).apply(x); // [batch, 1280]
  const y = tf.layers.dense({ units: classes, activation: 'softmax', kernelInitializer: 'zeros', name: 'head' }).apply(pooled);
  return tf.model({ inputs: input, outputs: y as tf.SymbolicTensor, name: 'mobilenet_v2' });
}

/** 1x1 expand, 3x3 depthwise, 1x1 project without activation, and a shortcut where shapes agree. */
function invertedResidual(block: number, x: tf.SymbolicTensor, expansion: number, out: number, stride: number): tf.SymbolicTensor {
  const name = block === 0 ? 'expanded_conv' : `block_${block}`;
  const dIn = x.shape[3] as number;
  let y = x;
  if (expansion !== 1) {
    y = relu6(`${name}_expand_relu`, norm(`${name}_expand_BN`, conv(`${name}_expand`, y, expansion * dIn, 1, 1)));
  }
  y = tf.layers
    .depthwiseConv2d({
      kernelSize: 3,
      strides: stride,
      padding: 'same',
      useBias: false,
      depthwiseInitializer: 'zeros',
      name: `${name}_depthwise`,
    })
    .apply(y) as tf.SymbolicTensor;
  y = relu6(`${name}_depthwise_relu`, norm(`${name}_depthwise_BN`, y));
  y = norm(`${name}_project_BN`, conv(`${name}_project`, y, out, 1, 1));
  if (stride !== 1 || dIn !== out) return y;
  return tf.layers.add({ name: `${name}_add` }).apply([x, y]) as tf.SymbolicTensor;
}

function conv(name: string, x: tf.SymbolicTensor, filters: number, kernelSize: number, strides: number): tf.SymbolicTensor {
  return tf.layers
    .conv2d({ filters, kernelSize, strides, padding: 'same', useBias: false, kernelInitializer: 'zeros', name })
    .apply(x) as tf.SymbolicTensor;
}

function norm(name: string, x: tf.SymbolicTensor): tf.SymbolicTensor {
  return tf.layers.batchNormalization({ epsilon: 1e-3, momentum: 0.999, name }).apply(x) as tf.SymbolicTensor;
}

function relu6(name: string, x: tf.SymbolicTensor): tf.SymbolicTensor {
  return tf.layers.reLU({ maxValue: 6, name }).apply(x) as tf.SymbolicTensor;
}
