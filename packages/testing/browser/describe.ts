/** Tests in Chromium: skipped in plain sight where there is none, failed where CI is set. */
import { describe, test } from 'vitest';
import { absent, chromiumPath } from './chromium.ts';

export function describeInChromium(name: string, tests: () => void): void {
  if (chromiumPath()) describe(`${name}, in headless Chromium`, tests);
  else if (process.env['CI'])
    test(name, () => {
      throw new Error(`${absent} (CI is set: every backend must be there)`);
    });
  else test.skip(`${name} (skipped: ${absent})`);
}
