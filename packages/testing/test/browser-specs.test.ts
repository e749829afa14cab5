/** tfjs-core's own gradient specs, through our tape, on the GPU backends of a page in headless Chromium. */
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { bundleForPage, openPage } from '../browser/chromium.ts';
import { describeInChromium } from '../browser/describe.ts';
import type { runSpecs } from '../browser/specs-page.ts';
import { replaceGradients, startBackend } from '../specs/bundle.ts';

const jasmine = readFileSync(createRequire(import.meta.url).resolve('jasmine-core/lib/jasmine-core/jasmine.js'), 'utf8');

async function run(backend: 'webgl' | 'webgpu', filter: string): Promise<Awaited<ReturnType<typeof runSpecs>>> {
  const text = await bundleForPage(join(import.meta.dirname, '../browser/specs-page.ts'), {
    ignoreAnnotations: true, // package.json's `sideEffects` would let esbuild drop every test
    define: { BACKEND: JSON.stringify(backend), OURS: 'true' },
    plugins: [startBackend(backend), replaceGradients],
  });
  await using chromium = await openPage([{ text: jasmine }, { text, module: true }]);
  return await chromium.page.evaluate((text) => (globalThis as unknown as { runSpecs: typeof runSpecs }).runSpecs(text), filter);
}

describeInChromium("tfjs-core's gradient specs", () => {
  test('on webgl all pass but those of dilation2d, for whose filter tfjs has no gradient kernel there', { timeout: 600_000 }, async () => {
    const { passed, failed, skipped, calls, stockCalls } = await run('webgl', 'grad|deriv');
    expect(
      failed.filter(({ messages }) => !messages.every((message) => /Kernel 'Dilation2DBackprop\w+' not registered/.test(message))),
    ).toEqual([]);
    expect([passed.length, failed.length, skipped.length]).toEqual([536, 5, 1]);
    expect(stockCalls).toBe(0);
    expect(calls.grad + calls.grads + calls.valueAndGrad + calls.valueAndGrads + calls.variableGrads).toBeGreaterThan(536);
  });

  test('on webgpu those of layers pass; node runs them all', { timeout: 600_000 }, async () => {
    const { passed, failed, stockCalls } = await run(
      'webgpu',
      '(conv2d|depthwise|pool|matmul|softmax|gather|batchnorm|relu|elu).*(grad|deriv)',
    );
    expect(failed).toEqual([]);
    expect(passed.length).toBeGreaterThan(60);
    expect(stockCalls).toBe(0);
  });
});
