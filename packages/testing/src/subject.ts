import type { SiteFilter, Technique } from '@leantune/core';
import type { Closeness } from './matchers.ts';
import type { TinyModel } from './models/index.ts';

/** A claim that is looser than exact: by how much, and why. */
export type Bound = Closeness & { readonly because: string };

/** How `restore` makes techniques again from a file. */
export type Factories = { readonly [name: string]: (options: never) => Technique };

/** What the contract needs to know of a technique. What is left out is claimed to be exact. */
export interface Subject {
  /** The technique, or several that work together, with the options the laws run under. */
  make(): Technique | readonly Technique[];
  readonly factories: Factories;
  /** Tiny models the technique refuses, by name, with the code of its error. It works on all others. */
  readonly refuses?: { readonly [model: string]: string };
  /** Handed to `finetune`. */
  readonly trainable?: SiteFilter;
  /** Law 1: how far attaching moves the outputs. @default not at all */
  readonly forward?: Bound;
  /** Law 4: how far gradients are from those of stock tfjs for the same forward. @default 1e-6 */
  readonly gradients?: Bound;
  /** Laws 4 and 5 on tiny models, by name, where gradients lie farther off. @default as on the others */
  readonly gradientsOn?: { readonly [model: string]: Bound };
  /** Law 6. @default the loss falls below 0.9 of the first in 30 steps of Adam at 0.02 */
  readonly learns?: { readonly steps?: number; readonly rate?: number; readonly to?: number };
  /** Law 8: what it saves next to the tape alone with the same variables. */
  readonly saves?: Saving;
  /** Law 11: how far merging moves the outputs. @default 1e-5 */
  readonly merge?: Bound;
  /** Law 14: techniques it cannot be combined with, and the code of the error. */
  readonly conflicts?: { readonly [technique: string]: string };
  /** Law 15: options and targets that it refuses. */
  readonly faults?: readonly Fault[];
  /** Law 16: how far apart backends are. @default 1e-4 */
  readonly backends?: Bound;
}

export interface Saving {
  /** A model large enough for the saving to show. */
  readonly model: (seed?: number) => TinyModel | Promise<TinyModel>;
  /** Peak above the weights, at most this share of the tape's alone. */
  readonly peak: number;
  /** Bytes that wait for backward at most, exactly. */
  readonly kept: number;
  /** The formula in the docs that gives `kept`, and where `peak` comes from. */
  readonly because: string;
}

export interface Fault {
  /** `'rank 0'`. */
  readonly what: string;
  readonly make: () => Technique;
  /** The tiny model it meets. @default 'layers/dense' */
  readonly model?: string;
  readonly code: string;
  /** The whole message. */
  readonly message: string;
}

/** A model, and how to make it again. */
export type Make = (seed?: number) => TinyModel | Promise<TinyModel>;

/** Holds for a technique on one model, or throws an assertion error. */
export type Law = (subject: Subject, make: Make) => Promise<void>;
