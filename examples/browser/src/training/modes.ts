/** What a person may choose to train: a technique or two, what trains of the model itself, and how fast. */
import { tuneMode } from '@leantune/convbn';
import type { SiteFilter, Technique } from '@leantune/core';
import { lora } from '@leantune/lora';
import { biasTuning } from '@leantune/s2a';

export type ModeName = 'full' | 'tune' | 'biases' | 'lora' | 'head';

export interface Mode {
  techniques(): readonly Technique[];
  /** Of the model's own weights; all if absent. */
  readonly trainable?: SiteFilter;
  /** The same weights by name, for stock tfjs; all if absent. */
  readonly stock?: SiteFilter;
  /** Highest learning rate of Adam. */
  readonly rate: number;
}

export const HEAD = 'head';
const everyConvolution: SiteFilter = ({ kind }) => kind !== 'batchNorm';

export const modes: { readonly [name in ModeName]: Mode } = {
  // Batches are too small for statistics of their own, so batch norms run as in inference.
  full: { techniques: () => [], trainable: everyConvolution, stock: everyConvolution, rate: 1e-3 },
  tune: { techniques: () => [tuneMode()], rate: 1e-3 },
  biases: { techniques: () => [biasTuning()], trainable: HEAD, stock: [/beta$/, HEAD], rate: 1e-2 },
  // tfjs has no LoRA: it can but train in full.
  lora: {
    techniques: () => [lora({ r: 4, lora_alpha: 8, target_modules: '.*(_expand|_project|Conv_1)' })],
    trainable: HEAD,
    stock: everyConvolution,
    rate: 3e-3,
  },
  head: { techniques: () => [], trainable: HEAD, stock: HEAD, rate: 1e-2 },
};
