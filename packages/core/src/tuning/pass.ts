/** One forward and backward of a training step, with the techniques' hooks around it. */
import * as tf from '@tensorflow/tfjs-core';
import { checked } from '../autograd/gradients.ts';
import { view } from '../autograd/held.ts';
import { sayWhatIsHeld } from '../memory/out-of-memory.ts';
import { moveIf } from '../optimizers/move-if.ts';
import type { NamedGradients, StepHook } from '../technique.ts';

/** The loss, and a gradient per trained variable, or 'skip' to leave everything as it was. The caller owns all. */
export interface Pass {
  readonly loss: tf.Scalar;
  readonly gradients: tf.NamedTensorMap | 'skip';
  /** Ends the step: keeps what forward moved, or puts it back. Must be called. */
  settle(moved: boolean): void;
}

export interface Stage {
  readonly hooks: readonly StepHook[];
  /** Variables that forward moves: they go back if the pass fails or is skipped. */
  readonly state: readonly tf.Variable[];
  valueAndGrads(loss: () => tf.Scalar): { value: tf.Scalar; grads: tf.NamedTensorMap };
  /** Throws if a step must not be made of these. */
  check(loss: tf.Scalar, gradients: tf.NamedTensorMap): void;
  /** What must hold on the device for state to stay moved; undefined: nothing. */
  condition(): tf.Tensor1D | undefined;
}

export function runPass(loss: () => tf.Scalar, stage: Stage): Pass {
  const before = stage.state.map((v) => [v, tf.keep(view(v))] as const);
  const settle = (moved: boolean) => {
    for (const [v, value] of before) {
      if (v.dataId !== value.dataId) {
        const now = view(v);
        v.assign(value);
        if (moved) moveIf(stage.condition(), () => v.assign(now));
        now.dispose();
      }
      value.dispose();
    }
  };
  try {
    // What is not returned goes: gradients that a hook replaced or that are skipped, and everything if something throws.
    return { ...(tf.tidy(() => differentiate(loss, stage) as never) as Omit<Pass, 'settle'>), settle };
  } catch (error) {
    sayWhatIsHeld(error);
    settle(false);
    throw error;
  }
}

function differentiate(loss: () => tf.Scalar, { hooks, valueAndGrads, check }: Stage): Omit<Pass, 'settle'> {
  let plain: tf.Tensor | undefined;
  try {
    const { value, grads } = valueAndGrads(() => {
      const own = checked(loss()) as tf.Scalar;
      const scaled = hooks.reduce((l, hook) => hook.scaleLoss?.(l) ?? l, own);
      if (scaled !== own) plain = tf.keep(view(own));
      return scaled;
    });
    const unscaled = view(plain ?? value) as tf.Scalar; // the value may be the user's own: a variable, or one that is kept
    check(unscaled, grads);
    let gradients: NamedGradients | 'skip' = grads;
    for (const hook of hooks) if (gradients !== 'skip') gradients = hook.onGradients?.(gradients) ?? gradients;
    return { loss: unscaled, gradients };
  } finally {
    plain?.dispose();
  }
}
