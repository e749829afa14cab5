/** Makes a backend of tfjs the current one, with our kernels registered for it. */
import { automatic, type PassedOver } from './automatic.ts';
import { backends } from './backends.ts';
import type { BackendName, BackendOptions } from './bring-up.ts';
import { BackendError } from './errors.ts';
import { start } from './start.ts';

/** What `useBackend` picked. */
export interface BackendChoice {
  readonly name: BackendName;
  readonly why: string;
  /** What 'auto' would rather have taken, in its order, with what would make each work. */
  readonly passed: readonly PassedOver[];
}

/**
 * Makes `name` the backend of tfjs, ready to train.
 *
 * `'auto'` takes the best that works. Node: tensorflow where `@tensorflow/tfjs-node` or `-node-gpu` loads, else webgpu where there is
 * an adapter, else wasm. Pages: webgpu, else webgl, else wasm. A GPU that software imitates is passed over: wasm is faster. The backends
 * are optional peers: install the ones you use. With a bundler, import the backend's package yourself (wasm and cpu need no import):
 * a backend that tfjs already knows is taken as it is.
 *
 * @returns what it picked, why, and why it passed over what it would rather have taken
 * @throws BackendError `'not-installed'` (the package is missing), `'not-available'` (it does not run here), `'bad-option'`
 */
export function useBackend(name: 'auto' | BackendName, options: BackendOptions = {}): Promise<BackendChoice> {
  const choice = turn.then(() => choose(name, options));
  turn = choice.catch(() => {});
  return choice;
}

/** tfjs has one current backend, so calls take turns: the last one made wins, and none opens a second device beside another. */
let turn: Promise<unknown> = Promise.resolve();

async function choose(name: 'auto' | BackendName, options: BackendOptions): Promise<BackendChoice> {
  if (name === 'auto') return automatic(options);
  if (!Object.hasOwn(backends, name))
    throw new BackendError('bad-option', 'useBackend', `got "${name}"; expected one of auto, ${Object.keys(backends).join(', ')}`);
  const bringUp = await backends[name]();
  const unused = Object.keys(options).filter((option) => !bringUp.options?.includes(option as keyof BackendOptions));
  if (unused.length > 0)
    throw new BackendError('bad-option', 'useBackend', `got ${unused.join(', ')} with "${name}", which does not take them; leave them out`);
  await bringUp.prepare(options);
  await start(name, bringUp, options);
  return { name, why: 'asked for by name', passed: [] };
}
