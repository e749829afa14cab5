/**
 * What loss scaling does around an optimizer step: the loss is multiplied, its gradients are divided in float32 before anything else
 * sees them, and a step of which any gradient is not finite is left out, and with accumulation its whole group. All batches of a group
 * have one scale: it changes between steps.
 */
import { FinetuneError, type NamedGradients, type SavedState, type StepHook } from '@leantune/core';
import * as tf from '@tensorflow/tfjs-core';
import { firstState, type LossScale, type LossScaleState, nextState } from './loss-scale.ts';

export class ScaledSteps implements StepHook, SavedState {
  readonly #lossScale: LossScale;
  #state: LossScaleState;

  constructor(lossScale: LossScale) {
    this.#lossScale = lossScale;
    this.#state = firstState(lossScale);
  }

  get scale(): number {
    return this.#state.scale;
  }

  scaleLoss(loss: tf.Scalar): tf.Scalar {
    return tf.mul(loss, this.scale);
  }

  onGradients(gradients: NamedGradients): NamedGradients | 'skip' {
    return unscale(gradients, Math.fround(1 / this.scale)) ? gradients : 'skip';
  }

  afterStep(): void {
    this.#state = nextState(this.#lossScale, this.#state, true);
  }

  afterSkip(): void {
    this.#state = nextState(this.#lossScale, this.#state, false);
  }

  read(): tf.NamedTensorMap {
    return { lossScale: tf.tensor1d([this.#state.scale, this.#state.finiteSteps]) };
  }

  write({ lossScale }: tf.NamedTensorMap): void {
    const [scale, finiteSteps] = lossScale!.dataSync() as Float32Array;
    if (!(scale! > 0 && Number.isFinite(scale) && Number.isInteger(finiteSteps) && finiteSteps! >= 0))
      throw new FinetuneError(
        'bad-file',
        'mixedPrecision',
        `got a file with loss scale ${scale} after ${finiteSteps} steps; expected a finite number above 0, and a count. Save the adapter again.`,
      );
    this.#state = { scale: scale!, finiteSteps: finiteSteps! };
  }
}

/**
 * Multiplies gradients, replacing them, unless one is not finite: then it returns false. Reads one number back, however many there are. In
 * one kernel, where the backend has that.
 */
function unscale(gradients: NamedGradients, factor: number): boolean {
  const inPlace = tf.getKernel('Unscale', tf.getBackend()) !== undefined;
  if (!inPlace && !allFinite(Object.values(gradients))) return false;
  const seen = new Set<object>();
  for (const [name, gradient] of Object.entries(gradients)) {
    // Two handles on one buffer would be multiplied twice.
    const shared = seen.has(gradient.dataId) || tf.backend().refCount(gradient.dataId) > 1;
    seen.add(gradient.dataId);
    if (inPlace && !shared) continue;
    gradients[name] = tf.mul(gradient, inPlace ? 1 : factor);
    gradient.dispose();
  }
  return !inPlace || tf.tidy(() => tf.engine().runKernel('Unscale', gradients, { factor } as never) as tf.Tensor).dataSync()[0] === 1;
}

function allFinite(gradients: readonly tf.Tensor[]): boolean {
  return tf.tidy(() => {
    const each = gradients.map((g) => tf.tidy(() => tf.reshape(tf.all(tf.isFinite(g)), [1])));
    return tf.all(tf.concat(each)).dataSync()[0] === 1;
  });
}
