/**
 * The best backend that works here.
 *
 * Node: tensorflow (many threads, or CUDA), else webgpu, else wasm. Pages: webgpu, else webgl, else wasm. webgl comes before wasm, whose
 * kernels run on one thread, where there is a real GPU that renders float32: with halves, gradients underflow. A GPU that software
 * imitates is the same processor behind a translated shader, so wasm comes before it. cpu is never picked: it is the reference, in plain
 * JavaScript, and too slow to train a convolution.
 */
import { backends } from './backends.ts';
import type { BackendName, BackendOptions, BringUp, Reason } from './bring-up.ts';
import { BackendError } from './errors.ts';
import { isPage } from './import-package.ts';
import { start } from './start.ts';

/** A backend that 'auto' did not take. */
export interface PassedOver extends Reason {
  readonly name: BackendName;
}

/** Which backends 'auto' tries, in this order, and why each is the one where it works. */
const candidates = (): { readonly [name in BackendName]?: string } =>
  isPage()
    ? { webgpu: 'there is a WebGPU adapter', webgl: 'there is a GPU for WebGL 2', wasm: 'it runs everywhere' }
    : { tensorflow: 'it is installed and loads', webgpu: 'there is a WebGPU adapter', wasm: 'it runs everywhere' };

/** What was picked, why, and what was not. `options` may hold those of any candidate. */
export async function automatic(options: BackendOptions): Promise<{
  readonly name: BackendName;
  readonly why: string;
  readonly passed: readonly PassedOver[];
}> {
  await assertKnown(options);
  const passed: PassedOver[] = [];
  for (const [key, why] of Object.entries(candidates())) {
    const name = key as BackendName;
    const reason = await attempt(name, options);
    if (!reason) return { name, why, passed };
    passed.push({ name, ...reason });
  }
  const all = passed.map(({ name, why, fix }) => `${name}: ${why}. ${fix}`).join('\n  ');
  throw new BackendError('not-available', 'useBackend', `no backend works here; expected one of these:\n  ${all}`);
}

/** Throws for options that no candidate takes. */
async function assertKnown(options: BackendOptions): Promise<void> {
  const bringUps = await Promise.all((Object.keys(candidates()) as BackendName[]).map((name) => backends[name]()));
  const known = new Set<string>(bringUps.flatMap((bringUp) => bringUp.options ?? []));
  const unknown = Object.keys(options).filter((option) => !known.has(option));
  if (unknown.length > 0)
    throw new BackendError(
      'bad-option',
      'useBackend',
      `got ${unknown.join(', ')} with "auto"; expected options that one of its backends takes: ${[...known].join(', ')}`,
    );
}

/** Starts the backend, or says why not. */
async function attempt(name: BackendName, options: BackendOptions): Promise<Reason | undefined> {
  const bringUp = await backends[name]();
  try {
    const reason = await bringUp.passOver?.();
    if (reason) return reason;
    await bringUp.prepare(options);
    await start(name, bringUp, options);
    return undefined;
  } catch (error) {
    if (error instanceof BackendError && error.code === 'bad-option') throw error;
    return reasonOf(error as Error, bringUp);
  }
}

/** The error without who and without what to do, which stand beside it. */
function reasonOf(error: Error, { setUp }: BringUp): Reason {
  const fix = error instanceof BackendError ? error.fix : undefined;
  const why = error.message.replace(/^\[[^\]]+\] /, '').replace(fix ? `. ${fix}` : '', '');
  return { why, fix: fix ?? setUp };
}
