/** What page and worker say to each other: calls with one answer, and word of progress in between. Plain data only. */
import type { BackendChoice, BackendName } from '@leantune/backends';
import type { Labels } from './labels.ts';
import type { By, Progress } from './train.ts';

/** A picture as it travels to the worker, which closes it. */
export interface Example {
  readonly bitmap: ImageBitmap;
  /** Index of its class. */
  readonly label: number;
  /** Not learnt from: it is there to check with. */
  readonly held: boolean;
}

export interface Job {
  readonly by: By;
  readonly epochs: number;
  readonly labels: Labels;
  readonly examples: readonly Example[];
}

export interface Outcome {
  /** One line: what trained, and how. */
  readonly summary: string;
  readonly stopped: boolean;
}

export interface Where {
  readonly backend: BackendName | 'auto';
  /** URL of the page, beside which the pretrained model lies. */
  readonly page: string;
}

/** By name: argument and answer. A worker starts once, and then trains or loads once: a new run is a new worker. */
export interface Calls {
  start(where: Where): BackendChoice;
  train(job: Job): Outcome;
  /** Probabilities in the order of the classes. */
  predict(picture: ImageBitmap): readonly number[];
  save(): Uint8Array<ArrayBuffer>;
  load(file: Uint8Array): Labels;
}

export type Call = { readonly [name in keyof Calls]: { readonly name: name; readonly argument?: Parameters<Calls[name]>[0] } }[keyof Calls];
export type Request = { readonly id: number; readonly call: Call } | 'stop';
export type Reply =
  | { readonly id: number; readonly progress: Progress }
  | { readonly id: number; readonly answer: unknown }
  | { readonly id: number; readonly error: string };
