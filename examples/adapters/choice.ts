/** The command line of both programs. */
import { parseArgs } from 'node:util';
import type { Choice } from './compare.ts';

export interface CommandLine extends Choice {
  /** One seed, fewer steps. */
  readonly quick: boolean;
  readonly backend: 'wasm' | 'tensorflow' | 'webgpu';
}

export function commandLine(): CommandLine {
  const { values } = parseArgs({
    options: {
      quick: { type: 'boolean', default: false },
      search: { type: 'boolean', default: false },
      write: { type: 'boolean', default: false },
      seeds: { type: 'string', default: '1,2,3' },
      methods: { type: 'string' },
      backend: { type: 'string', default: 'wasm' },
    },
  });
  const { quick, search, write, seeds, methods, backend } = values;
  return {
    quick,
    search,
    write: write && !quick,
    seeds: quick ? [1] : seeds.split(',').map(Number),
    methods: methods?.split(';'),
    backend: backend as CommandLine['backend'],
  };
}
