/**
 * A loss that is not finite must move no weight. So it is read before the step, which on a GPU waits for forward and backward: what failed
 * there is known too.
 *
 * In pages on webgpu alone that is no way: tfjs reads a value at once through canvases, and a loop of such reads takes Chromium's GPU
 * process down. There the loss stays on the device, as a condition of all that moves (see move-if.ts), and is read on the side. From the
 * first loss that is not finite nothing moves, until the next step, `save`, `load` or `merge` throws; by then counts are back as well.
 */
import * as tf from '@tensorflow/tfjs-core';
import { FinetuneError } from '../errors.ts';
import { readAside, readsOnTheSide } from '../optimizers/read-aside.ts';

const notFinite = (what: string): FinetuneError =>
  new FinetuneError(
    'not-finite',
    'minimize',
    `${what}. Weights and optimizer are as they were. Lower the learning rate, clip with { clipNorm }, or look at the batch.`,
  );

export class FiniteLoss {
  readonly #bookmark: () => () => void;
  #finite: tf.Tensor1D | undefined;
  #reads: Promise<void> = Promise.resolve();
  #failure: (() => FinetuneError) | undefined;
  #era = 0;

  /** @param bookmark notes what counts steps; what it returns puts that back */
  constructor(bookmark: () => () => void) {
    this.#bookmark = bookmark;
  }

  /** What must hold on the device for anything to move; undefined where all that matters has been read. */
  get condition(): tf.Tensor1D | undefined {
    return readsOnTheSide() ? this.#finite : undefined;
  }

  /** @throws FinetuneError `not-finite`, for this loss, or for one that was read on the side */
  check(loss: tf.Scalar): void {
    this.report();
    if (readsOnTheSide()) this.require(loss, 'loss');
    else {
      const [value] = loss.dataSync();
      if (!Number.isFinite(value)) throw notFinite(`the loss is ${value}`);
    }
  }

  /** From here on nothing moves unless `value`, borrowed, is finite. */
  require(value: tf.Scalar, name: string): void {
    const before = this.#finite;
    this.#finite = tf.tidy(() => {
      const finite = tf.isFinite(tf.reshape(value, [1]));
      return tf.keep(before ? tf.logicalAnd(before, finite) : finite) as tf.Tensor1D;
    });
    before?.dispose();
    const [era, undo, read] = [this.#era, this.#bookmark(), readAside(value)];
    this.#reads = this.#reads.then(async () => {
      const number = await read;
      if (number === undefined || Number.isFinite(number) || era !== this.#era) return;
      this.#failure ??= () => {
        undo();
        return notFinite(`the ${name} of an earlier step was ${number}. Neither that step nor those since have moved anything`);
      };
    });
  }

  /** @throws FinetuneError `not-finite`, once, if a value that was read on the side is not finite. Then steps move again. */
  report(): void {
    const failure = this.#failure;
    if (!failure) return;
    this.dispose();
    throw failure();
  }

  /** Waits for what is read on the side, then as {@link FiniteLoss.report}. */
  async settled(): Promise<void> {
    await this.#reads;
    this.report();
  }

  dispose(): void {
    this.#era++;
    this.#failure = undefined;
    this.#finite?.dispose();
    this.#finite = undefined;
  }
}
