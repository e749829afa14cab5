/**
 * ResNet-50 (v1) with separate BatchNorm, in the layer names of Keras: 53 convolutions with bias, 53 BatchNorm.
 * He et al. 2015, arXiv 1512.03385, table 1; the stride sits in the first 1x1 convolution of a stage, as in Keras.
 */
import * as tf from '@tensorflow/tfjs-layers';

export interface ResNet50Options {
  /** Pixels a side, a multiple of 32. */
  readonly size: number;
  /** Width multiplier; channels are rounded to a multiple of 4. */
  readonly width: number;
  readonly classes: number;
}

/** Bottleneck channels, blocks, first stride. */
const stages = [
  [64, 3, 1],
  [128, 4, 2],
  [256, 6, 2],
  [512, 3, 2],
] as const;

export function resNet50({ size, width, classes }: ResNet50Options): tf.LayersModel {
  const channels = (c: number): number => Math.max(4, 4 * Math.round((c * width) / 4));
  const input = tf.input({ shape: [size, size, 3], name: 'input' });
  let x = relu('conv1_relu', norm('conv1_bn', conv('conv1_conv', input, channels(64), 7, 2))); // [batch, size/2, size/2, 64]
  x = tf.layers.maxPooling2d({ poolSize: 3, strides: 2, padding: 'same', name: 'pool1_pool' }).apply(x) as tf.SymbolicTensor;
  for (const [stage, [c, blocks, stride]] of stages.entries()) {
    for (let block = 1; block <= blocks; block++) {
      x = bottleneck(`conv${stage + 2}_block${block}`, x, channels(c), block === 1 ? stride : 1, block === 1);
    }
  }
  const pooled = tf.layers.globalAveragePooling2d({ name: 'avg_pool' }).apply(x); // [batch, 2048]
  const y = tf.layers.dense({ units: classes, activation: 'softmax', kernelInitializer: 'zeros', name: 'head' }).apply(pooled);
  return tf.model({ inputs: input, outputs: y as tf.SymbolicTensor, name: 'resnet_50' });
}

/** 1x1, 3x3, 1x1 to four times the channels, and a shortcut, projected where the shape changes. */
function bottleneck(name: string, x: tf.SymbolicTensor, c: number, stride: number, project: boolean): tf.SymbolicTensor {
  const shortcut = project ? norm(`${name}_0_bn`, conv(`${name}_0_conv`, x, 4 * c, 1, stride)) : x;
  let y = relu(`${name}_1_relu`, norm(`${name}_1_bn`, conv(`${name}_1_conv`, x, c, 1, stride)));
  y = relu(`${name}_2_relu`, norm(`${name}_2_bn`, conv(`${name}_2_conv`, y, c, 3, 1)));
  y = norm(`${name}_3_bn`, conv(`${name}_3_conv`, y, 4 * c, 1, 1));
  return relu(`${name}_out`, tf.layers.add({ name: `${name}_add` }).apply([shortcut, y]) as tf.SymbolicTensor);
}

function conv(name: string, x: tf.SymbolicTensor, filters: number, kernelSize: number, strides: number): tf.SymbolicTensor {
  return tf.layers
    .conv2d({ filters, kernelSize, strides, padding: 'same', kernelInitializer: 'zeros', name })
    .apply(x) as tf.SymbolicTensor;
}

function norm(name: string, x: tf.SymbolicTensor): tf.SymbolicTensor {
  return tf.layers.batchNormalization({ epsilon: 1.001e-5, momentum: 0.99, name }).apply(x) as tf.SymbolicTensor;
}

function relu(name: string, x: tf.SymbolicTensor): tf.SymbolicTensor {
  return tf.layers.activation({ activation: 'relu', name }).apply(x) as tf.SymbolicTensor;
}
