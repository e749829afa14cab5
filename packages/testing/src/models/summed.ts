/** A LayersModel whose loss is the sum of what it computes, which keeps nothing: all that waits is the layers' own. */
import * as tf from '@tensorflow/tfjs';
import type { TinyModel } from './tiny-model.ts';

/** Takes the model and its batch, and disposes them. */
export function summed(name: string, model: tf.LayersModel, x: tf.Tensor): TinyModel<tf.LayersModel> {
  const byName = (weights: typeof model.weights) => Object.fromEntries(weights.map((w) => [w.originalName, w.read() as tf.Variable]));
  return {
    name,
    kind: 'layers',
    model,
    x: [x],
    y: [],
    predict: () => [model.predict(x) as tf.Tensor],
    loss: () => tf.tidy(() => tf.sum(model.apply(x, { training: true }) as tf.Tensor) as tf.Scalar),
    variables: () => byName(model.trainableWeights),
    weights: () => byName(model.weights),
    dispose() {
      const weights = model.weights.map((w) => w.read());
      model.dispose();
      tf.dispose([x, weights]);
    },
  };
}
