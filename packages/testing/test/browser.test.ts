/** In a real browser: `model.fit` on every backend that a page has, adapters in the browser's own storage, gradients against cpu. */
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { bundleForPage, type ChromiumPage, openPage } from '../browser/chromium.ts';
import { describeInChromium } from '../browser/describe.ts';
import type { Calls, Fit } from '../browser/page.ts';

declare const leantune: Calls; // in the page

let chromium: ChromiumPage;
let reference: Promise<Fit> | undefined;

describeInChromium('LeanTune', () => {
  beforeAll(async () => {
    chromium = await openPage([{ text: await bundleForPage(join(import.meta.dirname, '../browser/page.ts')), module: true }]);
  }, 120_000);
  afterAll(() => chromium[Symbol.asyncDispose]());

  describe.each(['webgl', 'webgpu', 'wasm'] as const)('on %s', (backend) => {
    test.each(['indexeddb', 'localstorage'])('model.fit trains, and %s keeps what it has learned', { timeout: 180_000 }, async (scheme) => {
      const fit = await chromium.page.evaluate(([name, url]) => leantune.fit(name, url), [
        backend,
        `${scheme}://adapter-${backend}`,
      ] as const);
      expect(fit.losses.at(-1)).toBeLessThan(0.5 * fit.losses[0]!);
      reference ??= chromium.page.evaluate(() => leantune.fit('cpu', 'indexeddb://adapter-cpu'));
      const onCpu = await reference;
      fit.losses.forEach((loss, epoch) => {
        expect(loss).toBeCloseTo(onCpu.losses[epoch]!, 4);
      });
      expect(fit.moved).toBeGreaterThan(0.01);
      expect(fit.afterLoad).toBe(0);
      expect(fit.parts).toBe(fit.peakBytes);
      expect(fit.report).toContain(`total (${backend})`);
      expect(fit.leaked).toBe(0);
    });

    test.each([
      ['adam', 'labels', 1],
      ['adamW', 'labels', 4],
      ['adam', 'images', 4], // ReLU makes zeros of them: the loss is finite, its gradient is not
      ['adamW', 'images', 1],
    ] as const)(
      'neither weights nor %s move by NaN in the %s, in a fit of %i epochs',
      { timeout: 180_000 },
      async (kind, where, epochs) => {
        const { error, inFit, moved, movedAfter, step, leaked } = await chromium.page.evaluate((args) => leantune.refuse(...args), [
          backend,
          kind,
          where,
          epochs,
        ] as const);
        expect(error).toMatch(
          where === 'labels' ? /loss (is|of an earlier step was) NaN/ : /norm (is|of the gradients of an earlier step was) NaN/,
        );
        expect([moved, movedAfter]).toEqual([0, 0]);
        expect(leaked).toBe(inFit ? 2 : 0); // a fit that throws leaves its indices, and the loss of an epoch: tfjs-layers
        expect(step).toBeGreaterThan(1e-4);
      },
    );

    test('gradients are those of cpu', { timeout: 180_000 }, async () => {
      const differences = await chromium.page.evaluate((name) => leantune.compare(name), backend);
      const far = Object.entries(differences).filter(([, variables]) => !Object.values(variables).every((far) => far < 1e-5));
      expect(Object.fromEntries(far)).toEqual({});
      expect(Object.keys(differences).length).toBeGreaterThan(20);
    });
  });

  test("useBackend('auto') passes over what is imitated in software, and says so", async () => {
    const { name, passed } = await chromium.page.evaluate(() => leantune.automatic());
    const imitated = passed.filter(({ why }) => /imitates a GPU/.test(why)).map((other) => other.name);
    expect([name, imitated]).toEqual(['wasm', ['webgpu', 'webgl']]);
  });
});
