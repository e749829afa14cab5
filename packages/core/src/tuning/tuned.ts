/** What `finetune` takes and gives back. */
import type * as tf from '@tensorflow/tfjs-core';
import type { TunableModel } from '../models/read-model.ts';
import type { SiteFilter } from '../technique.ts';
import type { StepOptions } from './finetune-optimizer.ts';

/** Options of {@link finetune}. */
export interface FinetuneOptions {
  /**
   * Which of the model's own weights train: sites (all their weights) or single weights, by name, RegExp, list or function.
   * BatchNorm none of whose weights train runs in inference mode: its statistics stay.
   * @default what the model says is trainable; nothing, if a technique brings variables of its own
   */
  readonly trainable?: SiteFilter;
  /**
   * Gradient checkpointing of a LayersModel: runs it in segments, chosen by its shapes, whose insides are computed again in
   * backward. The same gradients (with skip connections, several outputs, or weights that several segments use, up to rounding), about one more forward of time. Other
   * models call `checkpoint(f)` in the loss.
   * @default false
   */
  readonly checkpoint?: boolean;
}

/** A model that is being fine-tuned. */
export interface Tuned<M = TunableModel> {
  readonly model: M;
  /** What trains now: the model's own selected weights, then the variables of the techniques. */
  readonly variables: readonly tf.Variable[];
  /** For `model.compile`: trains `variables`, whatever the layers' flags say. */
  optimizer(inner: tf.Optimizer, options?: StepOptions): tf.Optimizer;
  /**
   * One step of an own loop. `loss` returns a scalar, synchronously. Returns the loss, owned by the caller.
   *
   * The loss is checked to be finite before the weights move. Gradients, which may be NaN under a finite loss, are checked only with
   * `clipNorm`. A step that is refused leaves weights, moving statistics and optimizer as they were. In pages on webgpu the device checks:
   * the error comes later, from the next step, `save`, `load` or `merge`, and until then no step moves anything; batches that `accumulate`
   * had gathered are forgotten, and techniques that count steps have counted the refused ones. The states of stateful recurrent layers have moved: `model.resetStates()` clears them.
   *
   * @throws FinetuneError `bad-loss`, `bad-option` (no optimizer, or one of another tuning), `not-finite`, `not-reached`, `busy`
   */
  minimize(loss: () => tf.Scalar, optimizer: tf.Optimizer): tf.Scalar;
  /** The loss and the gradients by variable name, without a step. The caller owns all. */
  valueAndGrads(loss: () => tf.Scalar): { value: tf.Scalar; grads: tf.NamedTensorMap };
  summary(): Summary;
  /** Writes the trained tensors and the techniques' options, never the base, through a tf IO handler or URL; with `optimizer`, its state too. */
  save(to: string | tf.io.IOHandler, state?: { optimizer?: tf.Optimizer }): Promise<tf.io.SaveResult>;
  /** Reads what `save` wrote into `variables`, and its state into `optimizer`. Everything is checked before anything changes. */
  load(from: string | tf.io.IOHandler, state?: { optimizer?: tf.Optimizer }): Promise<void>;
  /** Folds the techniques into the base weights and leaves. If one throws, the base is as it was and the tuning goes on. */
  merge(): M;
  /** Leaves; the base is bit for bit as before, but for those of its own weights that were trained. */
  detach(): M;
  /** Runs `f` on the model without the forwards that techniques put in place. */
  disabled<T>(f: () => T): T;
  /** As detach, for a `using` block or when the model is no longer needed. */
  dispose(): void;
}

/** How much trains. `String(summary)` is one line, and one for each note. */
export interface Summary {
  readonly trainable: number;
  readonly total: number;
  readonly techniques: readonly string[];
  /** What the techniques say of this model: what they did, and what they had to leave out. */
  readonly notes: readonly string[];
  toString(): string;
}
