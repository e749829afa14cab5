/** The data of the benchmarks: what an experiment asks, what a result says. Both are JSON on disk. */
import type { ModelSpec } from './models/subject.ts';

export type Backend = 'cpu' | 'wasm' | 'tensorflow';

/** What trains, and whether activations are recomputed. */
export const levers = ['full', 'full + checkpoint', 'last block', 'biases', 'head'] as const;
export type Lever = (typeof levers)[number];

/** `experiments/<name>.json` */
export interface Experiment {
  /** The module of `tasks/` that runs it. */
  readonly task: 'train-step';
  readonly title: string;
  readonly backend: Backend;
  readonly model: ModelSpec;
  readonly batch: number;
  readonly levers: readonly Lever[];
  /** Timed steps of each engine. */
  readonly steps: number;
  /** Replaces the fields above under `--quick`. */
  readonly quick: { readonly model?: ModelSpec; readonly batch?: number; readonly steps?: number };
}

export interface Bytes {
  /** The largest total less the weights of that moment; the batch waits outside and is not in it. */
  readonly peakAboveWeights: number;
  /** By category at the largest total. */
  readonly atPeak: {
    readonly weights: number;
    readonly optimizer: number;
    readonly kept: number;
    readonly gradients: number;
    readonly transient: number;
  };
  /** The most that waited for backward at one time. */
  readonly kept: number;
}

export interface Side extends Bytes {
  /** Lower quartile of the interleaved steps: other programs on the machine only ever slow a step down. */
  readonly millisecondsPerStep: number;
  /** Of two steps from the same weights. */
  readonly losses: readonly number[];
  /** tensorflow: the most that TensorFlow's own allocator held during a step, less what it held before; temporaries inside kernels included. */
  readonly allocatorPeak?: number;
}

/**
 * How far gradients of stock tfjs-node and of LeanTune are from those of the same step in float64: the length of the difference in units of
 * the length of all gradients, for each of six seeds of weights and batch.
 */
export interface Errors {
  readonly stock: readonly number[];
  readonly leantune: readonly number[];
}

export interface Equality {
  /** The largest difference of any gradient, in units of the largest gradient. */
  readonly maxRelativeDifference: number;
  /** tensorflow: how far either engine is from the truth. */
  readonly error?: Errors;
  readonly gradientsBitEqual: boolean;
  /** All weights and moving statistics after two steps, and both losses. */
  readonly stepsBitEqual: boolean;
}

export interface Row {
  readonly lever: Lever;
  readonly parameters: number;
  readonly trained: number;
  /** `model.predict` on the same batch. */
  readonly predict: { readonly peakAboveWeights: number };
  readonly stock: Side;
  readonly leantune: Side;
  /** LeanTune over stock: peak above weights, time of a step. */
  readonly ratio: { readonly peak: number; readonly time: number };
  readonly equality: Equality;
}

/** `results/<name>.json` */
export interface Result {
  readonly experiment: string;
  readonly title: string;
  readonly backend: Backend;
  readonly model: ModelSpec;
  readonly batch: number;
  readonly steps: number;
  readonly date: string;
  /** Null outside a git checkout. */
  readonly commit: string | null;
  readonly versions: { readonly node: string; readonly tfjs: string; readonly leantune: string };
  readonly machine: { readonly cpu: string; readonly cores: number; readonly memoryGiB: number };
  /** One-minute load average before and after: above the number of cores, times say little. */
  readonly load: readonly [number, number];
  readonly rows: readonly Row[];
}
