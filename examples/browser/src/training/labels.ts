/** A technique that changes nothing, and so travels with the adapter, under its checksum: what the outputs of the model mean. */
import type { Technique } from '@leantune/core';
import type { ModeName } from './modes.ts';

export interface Labels {
  /** Names of the classes, in the order of the outputs. */
  readonly classes: readonly string[];
  /** Side of the pictures in pixels. */
  readonly size: number;
  readonly mode: ModeName;
}

export function labels({ classes, size, mode }: Labels): Technique {
  return { name: 'labels', options: { classes, size, mode }, attach: () => ({ detach() {} }) };
}
