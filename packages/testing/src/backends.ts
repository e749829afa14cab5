/** Tests on backends that must be set up first: skipped in plain sight where one is absent, failed where CI is set. */

import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { type BackendName, useBackend } from '@leantune/backends';
import { afterEach, describe, test } from 'vitest';

/** Those of `backends` that run here. For each absent one it declares a test that is skipped, or fails where CI is set, and says why. */
export async function available<Name extends BackendName>(backends: readonly Name[]): Promise<Name[]> {
  const found: Name[] = [];
  for (const backend of backends) {
    const why = await whyAbsent(backend);
    if (why === undefined) {
      found.push(backend);
      if (backend === 'webgpu') collectGarbageBetweenTests();
    } else if (process.env['CI'])
      test(`on ${backend}`, () => {
        throw new Error(`${why} (CI is set: every backend must be there)`);
      });
    else test.skip(`on ${backend} (skipped: ${why})`);
  }
  return found;
}

/**
 * `describe` for a backend that may be absent.
 *
 * @example
 * await describeOn('webgpu', () => test('…', () => …));
 */
export async function describeOn(backend: BackendName, tests: () => void): Promise<void> {
  describe.each(await available([backend]))('on %s', tests);
}

async function whyAbsent(backend: BackendName): Promise<string | undefined> {
  try {
    await useBackend(backend);
    return undefined;
  } catch (error) {
    return (error as Error).message;
  }
}

/** Dawn's objects hold native memory that V8 does not see. A long file would run into the system's limit of memory maps before V8 collects. */
function collectGarbageBetweenTests(): void {
  setFlagsFromString('--expose-gc');
  const collect = runInNewContext('gc') as () => void;
  let tests = 0;
  afterEach(() => {
    if (++tests % 8 === 0) collect();
  });
}
