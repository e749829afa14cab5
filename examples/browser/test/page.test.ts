/** The built page in headless Chromium, as a person uses it: by buttons, files and what it shows. */
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import type { Server } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { useBackend } from '@leantune/backends';
import type { MemoryData } from '@leantune/core';
import * as tf from '@tensorflow/tfjs';
import type { Page } from 'playwright-core';
import { PNG } from 'pngjs';
import { build, type PreviewServer, preview } from 'vite';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { type ChromiumPage, visitPage } from '../../../packages/testing/browser/chromium.ts';
import { describeInChromium } from '../../../packages/testing/browser/describe.ts';
import { backboneArtifacts } from '../build/backbone.ts';
import { config } from '../build/config.ts';
import { classifier } from '../src/training/classifier.ts';
import type { ModeName } from '../src/training/modes.ts';
import { type By, type Progress, train } from '../src/training/train.ts';

interface Figures {
  readonly lean: { readonly memory: MemoryData; readonly losses: readonly (readonly [number, number])[]; readonly backend: string };
  readonly stock?: { readonly memory: MemoryData; readonly losses: readonly (readonly [number, number])[] };
}

const TRAINED = 48; // of 60: every fifth is kept to check with
let folder: string;
let server: PreviewServer;
let chromium: ChromiumPage;
let page: Page;

describeInChromium('the page', () => {
  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'leantune-page-'));
    const outDir = join(folder, 'site');
    await build({ ...config, logLevel: 'error', build: { ...config.build, outDir, emptyOutDir: true } });
    server = await preview({ ...config, logLevel: 'error', build: { outDir }, preview: { host: '127.0.0.1', port: 0 } });
    chromium = await visitPage(server.resolvedUrls!.local[0]!, { close: endServer });
    page = chromium.page;
    page.setDefaultTimeout(100_000);
    await page.setViewportSize({ width: 1280, height: 1000 });
    await page.getByText('Computes on wasm').waitFor();
  }, 240_000);
  afterAll(async () => {
    await chromium?.[Symbol.asyncDispose]();
    await rm(folder, { recursive: true, force: true });
  });

  test('says what computes, why, and why not a GPU that software imitates', async () => {
    expect(await page.locator('#backend-why').textContent()).toMatch(/Not webgpu: .*imitates a GPU.*Not webgl: .*imitates a GPU/);
    expect(await page.locator('#fault').textContent()).toContain('No pictures yet in “Class 1”, “Class 2”');
    expect(await page.locator('#train').isDisabled()).toBe(true);
  });

  test('fine-tunes all of MobileNetV2 on 60 pictures in 3 classes, and shows the peak to the byte, while the page stays awake', async () => {
    await page.click('#ready-made');
    await page.locator('.thumbnail').nth(59).waitFor();
    await page.evaluate(watchFrames);
    await page.click('#train');
    await screenshot('training', /Step [1-3]\d of 40/);
    await ended();
    const { gap, frames } = await page.evaluate(() => (globalThis as unknown as { frames: { gap: number; frames: number } }).frames);
    console.log(`page: longest gap between ${frames} frames while training ${gap.toFixed(0)} ms`);
    expect(frames).toBeGreaterThan(10);

    const { lean } = await figures();
    expect(await page.locator('#peak').textContent()).toBe(lean.memory.peakBytes.toLocaleString('en'));
    expect(sum(lean.memory.atPeak)).toBe(lean.memory.peakBytes);
    expect(lean.memory.peakBytes).toBe((await inNode('LeanTune', 'full', 10)).memory.peakBytes);
    expect(lean.losses.at(-1)![1]).toBeLessThan(0.3 * lean.losses[0]![1]);
    const [right, of] = (await page.locator('#accuracy').textContent())!.split(' of ').map(Number) as [number, number];
    expect(of).toBe(12);
    expect(right).toBeGreaterThanOrEqual(8); // chance is 4
    expect(await page.locator('#status').textContent()).toContain('trainable 385,891 of 414,051');
  });

  test('compares with stock tfjs: the same losses, a peak several times as high, both in one picture', async () => {
    await page.click('#compare');
    await ended();
    const { lean, stock } = await figures();
    stock!.losses.slice(0, 8).forEach(([, loss], i) => {
      expect(loss).toBeCloseTo(lean.losses[i]![1], 1);
    });
    expect(stock!.memory.peakBytes).toBeGreaterThan(5 * lean.memory.peakBytes);
    expect(await page.locator('[data-row=peak] .stock').textContent()).toBe(stock!.memory.peakBytes.toLocaleString('en'));
    expect(await page.locator('#comparison').textContent()).toMatch(
      /^LeanTune takes [\d.]+ MB where stock tfjs takes [\d.]+ MB: 1\d\.\d % of it/,
    );
    await screenshot('compared');
  });

  test('an adapter that is saved and loaded gives equal predictions; a file that is cut or altered is refused and changes nothing', async () => {
    const before = await guess();
    expect(Math.abs(before.reduce((a, b) => a + b) - 1)).toBeLessThan(1e-5);
    const file = join(folder, 'adapter.safetensors');
    await (await downloaded('#save')).saveAs(file);
    const bytes = await readFile(file);
    for (const [name, broken] of Object.entries({
      cut: bytes.subarray(0, 9000),
      altered: bytes.with(bytes.length - 99, bytes.at(-99)! ^ 1),
    })) {
      await writeFile(join(folder, name), broken);
      await page.setInputFiles('#load-file', join(folder, name));
      await page.locator('#status.error').waitFor();
      expect(await page.locator('#status').textContent()).toMatch(/ends|was altered|expected/);
      expect(await guess()).toEqual(before);
    }
    await page.reload();
    await page.setInputFiles('#load-file', file);
    await page.getByText('is loaded: it tells apart cat, fish, star').waitFor();
    expect(await guess()).toEqual(before);
    await screenshot('guessed');
  });

  test('stops when asked to, keeps what it has learnt, and says which files are no pictures', async () => {
    await page.click('#ready-made');
    await writeFile(join(folder, 'notes.txt'), 'no picture');
    await page.locator('.class input[type=file]').first().setInputFiles(join(folder, 'notes.txt'));
    await page.getByText('could not be read as pictures: notes.txt').waitFor();
    await page.check('[value=lora]');
    await page.fill('#epochs', '100');
    await page.click('#train');
    await page.getByText(/Step \d+ of 400/).waitFor();
    for (const id of ['#train', '#ready-made', '#backend', '#load']) expect(await page.locator(id).isDisabled()).toBe(true);
    await page.click('#stop');
    await page.getByText(/Stopped after \d+ steps/).waitFor();
    expect(await guess()).toHaveLength(3);
  });

  test('trains on webgpu, and shows its peak to the byte', async () => {
    await page.selectOption('#backend', 'webgpu');
    await page.check('[value=head]');
    await page.fill('#epochs', '1');
    await page.selectOption('#size', '64');
    await page.click('#train');
    await ended();
    const { lean } = await figures();
    expect(lean.backend).toBe('webgpu');
    expect(sum(lean.memory.atPeak)).toBe(lean.memory.peakBytes);
    expect(await page.locator('#peak').textContent()).toBe(lean.memory.peakBytes.toLocaleString('en'));
    expect(lean.losses).toHaveLength(4);
    await page.selectOption('#backend', 'auto');
  });

  test('works without a server once it was loaded', async () => {
    const worker = () => page.evaluate(() => navigator.serviceWorker.controller?.state);
    await expect.poll(worker, { timeout: 60_000 }).toBe('activated');
    endServer();
    await expect(fetch(page.url())).rejects.toThrow('fetch failed');
    await page.reload();
    await page.getByText('Computes on wasm').waitFor();
    await page.click('#ready-made');
    await page.locator('.thumbnail').nth(59).waitFor();
    await page.check('[value=head]');
    await page.fill('#epochs', '1');
    await page.click('#train');
    await ended();
    await page.setViewportSize({ width: 420, height: 900 });
    await screenshot('narrow');
    expect(chromium.errors).toEqual([]);
  });
});

/** At once, whatever connections the browser keeps open. */
function endServer(): void {
  const http = server.httpServer as Server;
  http.close();
  http.closeAllConnections();
}

async function ended(): Promise<void> {
  await page.getByText(/^(Done|Stopped) after|^\[/).waitFor({ timeout: 200_000 });
  expect(await page.locator('#status').textContent()).toMatch(/^Done/);
}

async function downloaded(button: string) {
  const [file] = await Promise.all([page.waitForEvent('download'), page.click(button)]);
  return file;
}

async function figures(): Promise<Figures> {
  return JSON.parse(await readFile(await (await downloaded('#figures')).path(), 'utf8'));
}

/** What the page says of a picture, in full precision. */
async function guess(): Promise<number[]> {
  await page.click('#guess-clear');
  await page.setInputFiles('#guess-file', { name: 'fish.png', mimeType: 'image/png', buffer: drawing() });
  await page.locator('#guess-bars .best').waitFor();
  const told = await page
    .locator('#guess-bars output')
    .evaluateAll((all) => all.map((each) => (each as HTMLElement).dataset['probability']));
  return told.map(Number);
}
/** A ring with a tail, [64, 64], in black on white. */
function drawing(): Buffer {
  const png = new PNG({ width: 64, height: 64 });
  for (let i = 0; i < 64 * 64; i++) {
    const [x, y] = [(i % 64) - 36, Math.floor(i / 64) - 32];
    const ink = Math.abs(Math.hypot(x / 1.4, y) - 16) < 1.5 || (x < -20 && Math.abs(Math.abs(y) + x + 22) < 2);
    png.data.set(ink ? [0, 0, 0, 255] : [255, 255, 255, 255], 4 * i);
  }
  return PNG.sync.write(png);
}

/** The same run on wasm in Node. Bytes do not depend on what the pictures show. */
async function inNode(by: By, mode: ModeName, epochs: number): Promise<Progress> {
  await useBackend('wasm');
  const [artifacts, classes] = [await backboneArtifacts(), ['cat', 'fish', 'star']];
  const model = await classifier({ load: async () => artifacts }, classes.length);
  const set = (count: number) => ({
    images: tf.randomUniform<tf.Rank.R4>([count, 96, 96, 3], -1, 1, 'float32', 1),
    classes: Array.from({ length: count }, (_, i) => i % classes.length),
  });
  let last: Progress | undefined;
  const run = { by, epochs, train: set(TRAINED), check: set(12), labels: { classes, size: 96, mode } };
  for await (const progress of train(model, run)) last = progress;
  return last!;
}

const sum = (parts: object): number => Object.values(parts).reduce((total, part) => total + part, 0);

/** In the page: the longest time between two frames from now on. */
function watchFrames(): void {
  const seen = { gap: 0, frames: 0 };
  let before = performance.now();
  const next = (now: number): void => {
    seen.gap = Math.max(seen.gap, now - before);
    seen.frames++;
    before = now;
    requestAnimationFrame(next);
  };
  requestAnimationFrame(next);
  Object.assign(globalThis, { frames: seen });
}

/** For people to look at, where LEANTUNE_SCREENSHOTS says where; taken when the page shows `text`. */
async function screenshot(name: string, text?: string | RegExp): Promise<void> {
  const to = process.env['LEANTUNE_SCREENSHOTS'];
  if (text) await page.getByText(text).waitFor();
  if (to) await page.screenshot({ path: join(to, `${name}.png`), fullPage: true });
}
