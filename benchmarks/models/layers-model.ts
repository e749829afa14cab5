/** What the benchmarks need of a functional LayersModel: seeded weights, and its weights by name. */
import * as tf from '@tensorflow/tfjs-core';
import type { LayersModel } from '@tensorflow/tfjs-layers';
import { uniform } from './random.ts';
import type { Weight } from './subject.ts';

/** Gives kernels He's uniform distribution (arXiv 1502.01852); biases, norms and moving statistics keep their constants. */
export function fillWeights(model: LayersModel, next: () => number): void {
  for (const { name, variable } of weightsOf(model)) {
    if (!/kernel$/.test(name)) continue;
    const dIn = variable.shape.slice(0, /depthwise_kernel$/.test(name) ? 2 : -1).reduce((a, b) => a * b, 1);
    const values = tf.tensor(uniform(variable.size, Math.sqrt(6 / dIn), next), variable.shape);
    variable.assign(values);
    values.dispose();
  }
}

/** All weights as `layer/weight`. */
export function weightsOf(model: LayersModel): Weight[] {
  return model.layers.flatMap((layer) =>
    layer.weights.map((weight) => ({
      name: weight.originalName,
      variable: weight.read() as tf.Variable,
      trainable: layer.trainableWeights.includes(weight),
    })),
  );
}
