import type * as tf from '@tensorflow/tfjs-core';

/** What the specs need of `@leantune/core`. */
export interface Tape {
  gradients(f: () => tf.Tensor, xs: tf.Tensor[], dy?: tf.Tensor): { value: tf.Tensor; grads: (tf.Tensor | null)[] };
  valueAndGrads(f: () => tf.Scalar, variables: tf.Variable[]): { value: tf.Tensor; grads: { [name: string]: tf.Tensor } };
}

/** Calls of tfjs's public gradient functions that reached our tape. */
export type TapeCalls = {
  grad: number;
  grads: number;
  valueAndGrad: number;
  valueAndGrads: number;
  variableGrads: number;
  customGrad: number;
};

/** What the bundle exports. */
export interface SpecBundle {
  /** Declares the specs whose full name `include` accepts; jasmine's globals must exist. */
  declareSpecs(include: (name: string) => boolean): Promise<void>;
  readonly calls: TapeCalls;
  /** Calls of tfjs's own `engine.gradients` that passed by our tape: from specs of the engine itself. */
  stockCalls(): number;
}
