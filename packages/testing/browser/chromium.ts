/**
 * A page in headless Chromium, with the sources of this repository bundled into it, and tfjs's .wasm files served at /wasm/.
 *
 * WebGPU needs a secure context, so the page is served, from 127.0.0.1. Without a GPU, Chromium's SwiftShader serves WebGL and WebGPU.
 */
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { createServer, type Server } from 'node:http';
import { createRequire } from 'node:module';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { delimiter, dirname, join } from 'node:path';
import { type BuildOptions, build } from 'esbuild';
import { type BrowserContext, chromium, type Page } from 'playwright-core';

export interface ChromiumPage extends AsyncDisposable {
  readonly page: Page;
  /** What the page has written to its console as errors, and exceptions that nothing caught. */
  readonly errors: readonly string[];
}

const wasmFolder = join(dirname(createRequire(import.meta.url).resolve('@tensorflow/tfjs-backend-wasm/package.json')), 'dist');
const flags = [
  '--no-sandbox', // CI runs as root
  '--disable-quic',
  '--no-first-run',
  '--disable-background-networking',
  '--disable-component-update',
  '--disable-sync',
  '--enable-unsafe-webgpu',
  '--use-webgpu-adapter=swiftshader',
  '--enable-unsafe-swiftshader', // WebGL without a GPU
];

/** Path of Chromium or Chrome: `CHROMIUM_PATH`, else what lies on PATH. */
export function chromiumPath(): string | undefined {
  const folders = (process.env['PATH'] ?? '').split(delimiter);
  const known = ['chromium', 'chromium-browser', 'google-chrome'].flatMap((name) => folders.map((folder) => join(folder, name)));
  return [process.env['CHROMIUM_PATH'] ?? '', ...known].find((path) => path !== '' && existsSync(path));
}

/** Bundles a file for a page. */
export async function bundleForPage(entry: string, options: BuildOptions = {}): Promise<string> {
  const { outputFiles } = await build({
    entryPoints: [entry],
    bundle: true,
    write: false,
    format: 'esm',
    platform: 'browser',
    mainFields: ['module', 'main'],
    conditions: ['@leantune/source'],
    external: ['node:*', 'webgpu', 'node-fetch', 'util', 'worker_threads', 'perf_hooks'],
    logLevel: 'error',
    ...options,
  });
  return outputFiles![0]!.text;
}

/** Opens a page that has run `scripts`, in order; modules by their nature come last. Disposal ends browser and server. */
export async function openPage(scripts: readonly { readonly text: string; readonly module?: boolean }[]): Promise<ChromiumPage> {
  const server = await serve(scripts);
  return visitPage(`http://127.0.0.1:${(server.address() as AddressInfo).port}/`, server);
}

/** Opens a page that `server` serves. Disposal ends browser and server. */
export async function visitPage(url: string, server: { close(): unknown }): Promise<ChromiumPage> {
  const path = chromiumPath();
  if (!path) throw new Error(absent);
  const profile = mkdtempSync(join(tmpdir(), 'leantune-chromium-'));
  const errors: string[] = [];
  let context: BrowserContext | undefined;
  const close = async (): Promise<void> => {
    await context?.close();
    await server.close();
    rmSync(profile, { recursive: true, force: true });
  };
  try {
    context = await chromium.launchPersistentContext(profile, { executablePath: path, headless: true, args: flags });
    const page = await context.newPage();
    page.on('pageerror', (error) => errors.push(String(error)));
    page.on('console', (message) => void (message.type() === 'error' && errors.push(message.text())));
    page.setDefaultTimeout(0); // the test has its own limit
    await page.goto(url);
    return { page, errors, [Symbol.asyncDispose]: close };
  } catch (error) {
    await close();
    throw error;
  }
}

/** Why there is no page. */
export const absent = 'no Chromium is found. Run: apt-get install chromium, or set CHROMIUM_PATH';

function serve(scripts: readonly { readonly text: string; readonly module?: boolean }[]): Promise<Server> {
  const tags = scripts.map(({ module }, i) => `<script ${module ? 'type="module"' : ''} src="/${i}.js"></script>`);
  const server = createServer(({ url = '/' }, response) => {
    const script = scripts[Number(/^\/(\d+)\.js$/.exec(url)?.[1] ?? -1)];
    response.setHeader('Content-Type', script ? 'text/javascript; charset=utf-8' : 'text/html; charset=utf-8');
    const wasm = /^\/wasm\/([\w-]+\.wasm)$/.exec(url)?.[1];
    if (wasm) response.setHeader('Content-Type', 'application/wasm').end(readFileSync(join(wasmFolder, wasm)));
    else if (script) response.end(script.text);
    else if (url === '/') response.end(`<!doctype html><title>LeanTune</title><link rel="icon" href="data:,">${tags.join('')}`);
    else response.writeHead(404).end();
  });
  return new Promise((done) => server.listen(0, '127.0.0.1', () => done(server)));
}
