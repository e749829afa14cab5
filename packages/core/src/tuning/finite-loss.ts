/**
 * A loss that is not finite must move no weight. So it is read before the step, which on a GPU waits for forward and backward: what failed
 * there is known too.
 *
 * In pages on webgpu alone that is no way: tfjs reads a value at once through canvases, and a loop of such reads takes Chromium's GPU
 * process down. There the loss is read on the side, and the step after it is refused.
 */
import * as tf from '@tensorflow/tfjs-core';
import { FinetuneError } from '../errors.ts';

const readsThroughCanvas = (): boolean => tf.getBackend() === 'webgpu' && typeof OffscreenCanvas !== 'undefined';

const notFinite = (loss: string, then: string): FinetuneError =>
  new FinetuneError('not-finite', 'minimize', `${loss}. ${then} Lower the learning rate, clip with { clipNorm }, or look at the batch.`);

export class FiniteLoss {
  #late: FinetuneError | undefined;

  /** @throws FinetuneError `not-finite`, for this loss, or for one that was read on the side */
  check(loss: tf.Scalar): void {
    const late = this.#late;
    this.#late = undefined;
    if (late) throw late;
    if (readsThroughCanvas()) void this.#readOnTheSide(tf.keep(tf.clone(loss)));
    else {
      const [value] = loss.dataSync();
      if (!Number.isFinite(value)) throw notFinite(`the loss is ${value}`, 'Weights and optimizer are as they were.');
    }
  }

  async #readOnTheSide(loss: tf.Scalar): Promise<void> {
    try {
      const [value] = await loss.data();
      if (!Number.isFinite(value))
        this.#late = notFinite(
          `the loss of an earlier step was ${value}`,
          'A page on webgpu learns that after its weights have moved: restore the last saved adapter.',
        );
    } catch {
      // a lost device: the step's own reads report it
    } finally {
      loss.dispose();
    }
  }
}
