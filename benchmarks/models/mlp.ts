/** Dense ReLU layers over flat images: the smallest model in which weights, gradients and activations weigh about the same. */
import * as tf from '@tensorflow/tfjs-layers';

export interface MlpOptions {
  /** Numbers per example. */
  readonly inputs: number;
  /** Units of each hidden layer. */
  readonly hidden: readonly number[];
  readonly classes: number;
}

export function mlp({ inputs, hidden, classes }: MlpOptions): tf.LayersModel {
  const input = tf.input({ shape: [inputs], name: 'input' });
  let x = input; // [batch, units]
  for (const [i, units] of hidden.entries()) {
    x = tf.layers.dense({ units, activation: 'relu', kernelInitializer: 'zeros', name: `hidden_${i + 1}` }).apply(x) as tf.SymbolicTensor;
  }
  const y = tf.layers.dense({ units: classes, activation: 'softmax', kernelInitializer: 'zeros', name: 'head' }).apply(x);
  return tf.model({ inputs: input, outputs: y as tf.SymbolicTensor, name: 'mlp' });
}
