/**
 * A tfjs optimizer around another: same rule, same slots, but gradients come from our tape, and the technique's step hooks,
 * accumulation, clipping and the schedule happen around it. `model.compile` takes it like any other.
 *
 * What fails before the inner optimizer runs moves nothing. Out of memory amid its own update, variables before that point have moved
 * and those after it have not: go back to a saved adapter. The moving statistics are put back in either case.
 */
import * as tf from '@tensorflow/tfjs-core';
import { FinetuneError } from '../errors.ts';
import { slotsOf } from '../memory/hooks.ts';
import { sayWhatIsHeld } from '../memory/out-of-memory.ts';
import { markState } from '../memory/probe.ts';
import { clipByGlobalNorm, clipUnread } from '../optimizers/clip.ts';
import { moveIf } from '../optimizers/move-if.ts';
import { checkRanges, count, positive } from '../optimizers/ranges.ts';
import { readsOnTheSide } from '../optimizers/read-aside.ts';
import { type Schedule, setLearningRate } from '../optimizers/schedules.ts';
import { descend } from '../optimizers/sgd.ts';
import type { FiniteLoss } from './finite-loss.ts';
import type { Pass } from './pass.ts';

/** What happens around the steps of an optimizer. */
export interface StepOptions {
  /** Scales all gradients down together so that their norm is at most this. @default no clipping */
  readonly clipNorm?: number;
  /** Batches whose mean gradient makes one step: batch n·accumulate in the memory of n. @default 1 */
  readonly accumulate?: number;
  /** Learning rate by number of finished steps; overrides the optimizer's own. @default the optimizer's */
  readonly schedule?: Schedule;
}

export interface Stepper {
  /** What trains or has trained, each at the position that it always has. */
  readonly variables: readonly tf.Variable[];
  /** What must be finite for a step to move anything. */
  readonly finite: FiniteLoss;
  /** Computes a pass, or throws with weights and state as they were. */
  pass(loss: () => tf.Scalar): Pass;
  /** Called after weights and optimizer moved for the `step`-th time. */
  moved(step: number): void;
  /** Called where a step was skipped. */
  skipped(): void;
}

export class FinetuneOptimizer extends tf.Optimizer {
  readonly inner: tf.Optimizer;
  readonly #stepper: Stepper;
  readonly #options: StepOptions;
  #sums: tf.NamedTensorMap = {};
  #batches = 0;
  /** True once a batch of those gathered was skipped: then all of them are. */
  #skips = false;

  constructor(inner: tf.Optimizer, stepper: Stepper, options: StepOptions) {
    super();
    const { accumulate = 1, clipNorm = 1 } = options;
    if (typeof (inner as Partial<tf.Optimizer> | undefined)?.applyGradients !== 'function') {
      throw new FinetuneError(
        'bad-option',
        'optimizer',
        `got ${typeof inner === 'string' ? `"${inner}"` : typeof inner}; expected an optimizer of tf.train, or adamW.`,
      );
    }
    checkRanges('optimizer', [count, { accumulate }], [positive, { clipNorm }]);
    this.inner = inner;
    this.#stepper = stepper;
    this.#options = options;
  }

  /** tfjs makes every optimizer an `instanceof` each optimizer class. */
  static is(optimizer: tf.Optimizer): optimizer is FinetuneOptimizer {
    return typeof optimizer === 'object' && optimizer !== null && #stepper in optimizer;
  }

  override getClassName(): string {
    return this.inner.getClassName();
  }

  /** `variables` is ignored: what trains was chosen in `finetune`. */
  override minimize(f: () => tf.Scalar, returnCost = false, _variables?: tf.Variable[]): tf.Scalar | null {
    const { loss, gradients, settle } = this.#stepper.pass(f);
    const { iterations } = this;
    try {
      this.#gather(gradients);
      settle(gradients !== 'skip');
    } catch (error) {
      sayWhatIsHeld(error);
      settle(this.iterations > iterations); // what throws after the weights moved leaves the statistics with them
      loss.dispose();
      throw error;
    }
    if (returnCost) return loss;
    loss.dispose();
    return null;
  }

  override computeGradients(f: () => tf.Scalar, _variables?: tf.Variable[]): { value: tf.Scalar; grads: tf.NamedTensorMap } {
    const { loss, gradients, settle } = this.#stepper.pass(f);
    settle(gradients !== 'skip');
    if (gradients === 'skip') this.#stepper.skipped();
    return { value: loss, grads: gradients === 'skip' ? {} : gradients };
  }

  override applyGradients(gradients: Parameters<tf.Optimizer['applyGradients']>[0]): void {
    if (this.#options.schedule) setLearningRate(this.inner, this.#options.schedule(this.iterations));
    const list = Array.isArray(gradients) ? gradients : Object.entries(gradients).map(([name, tensor]) => ({ name, tensor }));
    moveIf(this.#stepper.finite.condition, () => this.inner.applyGradients([...descend(this.inner, list)]));
    markState(slotsOf(this.inner));
    this.#stepper.moved(this.iterations);
  }

  /** Takes the gradients of one batch; moves the weights after every `accumulate`-th, unless one of those was skipped. */
  #gather(gradients: tf.NamedTensorMap | 'skip'): void {
    const { accumulate = 1, clipNorm } = this.#options;
    this.#skips ||= gradients === 'skip';
    if (this.#skips) {
      tf.dispose([this.#sums, gradients === 'skip' ? [] : gradients]);
      this.#sums = {};
    } else if (accumulate > 1) this.#add(gradients as tf.NamedTensorMap, accumulate);
    else this.#sums = gradients as tf.NamedTensorMap;
    if (++this.#batches < accumulate) return;
    this.#batches = 0;
    if (this.#skips) {
      this.#skips = false;
      this.#stepper.skipped();
      return;
    }
    try {
      if (clipNorm !== undefined) this.#sums = this.#clip(this.#sums, clipNorm);
      // A list with holes, not a map: tfjs finds an optimizer's slots by position.
      this.applyGradients(this.#stepper.variables.map(({ name }) => ({ name, tensor: this.#sums[name] as tf.Tensor })));
    } finally {
      tf.dispose(this.#sums);
      this.#sums = {};
    }
  }

  #clip(gradients: tf.NamedTensorMap, norm: number): tf.NamedTensorMap {
    const { finite } = this.#stepper;
    if (!readsOnTheSide()) return clipByGlobalNorm(gradients, norm);
    return clipUnread(gradients, norm, (total) => finite.require(total, 'norm of the gradients'));
  }

  #add(gradients: tf.NamedTensorMap, batches: number): void {
    for (const [name, gradient] of Object.entries(gradients)) {
      const before = this.#sums[name];
      this.#sums[name] = tf.keep(tf.tidy(() => (before ? tf.add(before, tf.div(gradient, batches)) : tf.div(gradient, batches))));
      tf.dispose(before ? [before, gradient] : gradient);
    }
  }

  override getConfig(): tf.serialization.ConfigDict {
    return this.inner.getConfig();
  }

  override get iterations(): number {
    return this.inner.iterations;
  }

  override async getWeights(): ReturnType<tf.Optimizer['getWeights']> {
    return this.inner.getWeights();
  }

  override async setWeights(values: Parameters<tf.Optimizer['setWeights']>[0]): Promise<void> {
    return this.inner.setWeights(values);
  }

  /** Notes the number of steps; what it returns sets it back, and forgets the batches gathered. */
  bookmark(): () => void {
    const { iterations } = this;
    return () => {
      Object.assign(this.inner, { iterations_: iterations });
      this.reset();
    };
  }

  /** Forgets the batches gathered since the last step. */
  reset(): void {
    tf.dispose(this.#sums);
    this.#sums = {};
    this.#batches = 0;
    this.#skips = false;
  }

  override dispose(): void {
    this.reset();
    this.inner.dispose();
  }
}
