/** The data of the comparison: one cell is one model trained by one engine in one way. Cells go in, outcomes come out, both JSON. */
import type { ModelSpec } from '../models/subject.ts';

export type Engine = 'stock' | 'leantune' | 'torch' | 'keras' | 'jax-js';

export interface Cell {
  readonly engine: Engine;
  /** Of tfjs; what a peer computes with otherwise. */
  readonly backend: string;
  /** What trains and how, words joined by ' + ': `full`, `tune + 4bit + lamda`. See stacks.ts and peers/. */
  readonly method: string;
}

/** A model with the batch that it trains on; weights are random and seeded, for bytes and times do not depend on them. */
export interface Contest {
  readonly id: string;
  readonly title: string;
  readonly spec: ModelSpec;
  readonly batch: number;
  /** Timed steps, after two that warm up and one that is measured. */
  readonly steps: number;
}

export interface Job extends Contest {
  readonly cell: Cell;
  readonly seed: number;
  /** Whether the outcome gets a timeline. */
  readonly timeline: boolean;
}

export interface Figures {
  /** The most that one training step of SGD held at one time above the weights: forward, backward, gradients, update. Bytes. */
  readonly peakAboveWeights: number;
  /** The most that waited for backward; null where the engine does not tell. */
  readonly keptBytes: number | null;
  readonly parameters: number;
  readonly trained: number;
  /** Lower quartiles of the timed steps: time of the processor, all threads together, and time that passed. */
  readonly processorMilliseconds: number;
  readonly milliseconds: number;
  /** Of the first step. */
  readonly loss: number;
  /** tfjs: what the peak was made of. */
  readonly atPeak?: Readonly<Record<(typeof categories)[number], number>>;
  /** tfjs: rows of [share of the step's events that are over, kept, gradients, transient]; optimizer state is in transient. */
  readonly timeline?: readonly (readonly number[])[];
}

export const categories = ['weights', 'optimizer', 'kept', 'gradients', 'transient'] as const;

/** What a cell came to: figures, or why there are none. */
export type Outcome = Figures | { readonly notRun: string };

export const hasRun = (outcome: Outcome | undefined): outcome is Figures => outcome !== undefined && 'peakAboveWeights' in outcome;

/** In results, on the command line and in the report: `leantune wasm: tune + 4bit`. */
export const nameOf = ({ engine, backend, method }: Cell): string => `${engine} ${backend}: ${method}`;
