/** An optimizer that moves nothing and remembers the gradients it was given: what either engine computed, on the user's own path. */
import * as tf from '@tensorflow/tfjs-core';

export class GradientRecorder extends tf.Optimizer {
  /** By name of the variable. */
  readonly gradients: Map<string, Float32Array> = new Map();

  override applyGradients(gradients: Parameters<tf.Optimizer['applyGradients']>[0]): void {
    const given = Array.isArray(gradients) ? gradients : Object.entries(gradients).map(([name, tensor]) => ({ name, tensor }));
    for (const { name, tensor } of given) this.gradients.set(name, tensor.dataSync<'float32'>().slice());
  }

  override getConfig(): tf.serialization.ConfigDict {
    return {};
  }
}
