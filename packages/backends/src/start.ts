/** From a backend that is prepared to one that tfjs computes on. */
import * as tf from '@tensorflow/tfjs-core';
import type { BackendName, BackendOptions, BringUp } from './bring-up.ts';
import { BackendError } from './errors.ts';

/** Makes `name` the current backend of tfjs. `bringUp.prepare` has run. */
export async function start(name: BackendName, bringUp: BringUp, options: BackendOptions): Promise<void> {
  const failed = (cause?: unknown) =>
    new BackendError('not-available', 'useBackend', `tfjs could not initialize "${name}" here; expected an engine that supports it`, {
      fix: bringUp.setUp,
      cause,
    });
  const ok = await tf.setBackend(name).catch((error: unknown) => {
    throw failed(error);
  });
  if (!ok) throw failed();
  await tf.ready();
  await bringUp.start?.(tf.backend(), options);
}
