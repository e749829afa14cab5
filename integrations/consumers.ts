/** The ways in which people use the packages. Each gets the folder of a project in which they are installed. */
import { cpSync, mkdirSync, readdirSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { absent, chromiumPath, visitPage } from '../packages/testing/browser/chromium.ts';
import { runIn } from './project.ts';
import type { Report } from './report.ts';

export interface Consumer {
  readonly name: string;
  /** Why it cannot be had on this machine. */
  missing?(project: string): Promise<string | undefined>;
  /** What the exercise reported; nothing, where only building or type-checking is asked. Throws where the consumer fails. */
  run(project: string): Promise<Report | undefined>;
}

/** The last line is JSON; tfjs greets above it. */
const reportOf = (printed: string): Report => JSON.parse(printed.trim().split('\n').at(-1)!) as Report;
const bin = (project: string, name: string): string => join(project, 'node_modules/.bin', name);

/** A runtime that npm installs as an optional dependency: not on every machine. */
function runtime(name: string, command: string, ...args: readonly string[]): Consumer {
  return {
    name,
    missing: (project) =>
      runIn(project, bin(project, command), '--version').then(
        () => undefined,
        () => `the npm package ${command} has no program for this machine`,
      ),
    run: async (project) => reportOf(await runIn(project, bin(project, command), ...args, 'main.mjs', `adapter-${command}`)),
  };
}

/** One file for Node, run in a folder without node_modules, with the .wasm files beside it; and one for pages. */
const esbuild: Consumer = {
  name: 'esbuild',
  async run(project) {
    const folder = join(project, '..', `${project.split('/').at(-1)}-bundled`);
    mkdirSync(folder);
    const command = bin(project, 'esbuild');
    const bundle = ['--bundle', '--log-level=error'];
    await runIn(project, command, ...bundle, '--format=esm', 'main.mjs', '--outfile=page.bundle.js');
    await runIn(project, command, ...bundle, '--platform=node', 'main.cjs', `--outfile=${join(folder, 'main.cjs')}`);
    const wasm = join(project, 'node_modules/@tensorflow/tfjs-backend-wasm/dist');
    for (const file of readdirSync(wasm)) if (file.endsWith('.wasm')) cpSync(join(wasm, file), join(folder, file));
    return reportOf(await runIn(folder, process.execPath, 'main.cjs', 'adapter'));
  },
};

/** What of Vite's own interface is used. */
interface Vite {
  build(options: object): Promise<unknown>;
  preview(options: object): Promise<{ readonly resolvedUrls: { readonly local: readonly string[] } | null; close(): unknown }>;
}

/** Vite builds a page, which then learns in headless Chromium. */
const vite: Consumer = {
  name: 'Vite, in Chromium',
  missing: async () => (chromiumPath() ? undefined : absent),
  async run(project) {
    const entry = createRequire(join(project, 'package.json')).resolve('vite');
    const { build, preview } = (await import(pathToFileURL(entry).href)) as Vite;
    const options = { root: join(project, 'page'), configFile: false, logLevel: 'error', build: { outDir: 'site', target: 'es2022' } };
    await build(options);
    const server = await preview({ ...options, preview: { port: 0, host: '127.0.0.1' } });
    await using chromium = await visitPage(server.resolvedUrls!.local[0]!, server);
    const report = await chromium.page.evaluate(() => (globalThis as unknown as { report: Promise<Report> }).report);
    if (chromium.errors.length > 0) throw new Error(chromium.errors.join('\n'));
    return report;
  },
};

/** Faults in the types of tfjs itself are left out: `Long` without its types, and classes that older compilers let pass. */
function typescript(kind: 'nodenext' | 'bundler'): Consumer {
  return {
    name: `TypeScript, ${kind}`,
    async run(project) {
      const args = ['--pretty', 'false', '-p', `types/tsconfig.${kind}.json`];
      const printed = await runIn(project, bin(project, 'tsc'), ...args).catch((error: Error & { readonly stdout: string }) => {
        if (!/: error TS/.test(error.stdout)) throw error; // it did not come to check
        return error.stdout;
      });
      const faults = printed.split(/\n(?=\S)/).filter((fault) => /: error TS/.test(fault) && !fault.includes('node_modules/@tensorflow/'));
      if (faults.length > 0) throw new Error(faults.join('\n'));
      return undefined;
    },
  };
}

/** The command, as `npx leantune` finds it. */
const doctor: Consumer = {
  name: 'npx leantune doctor',
  async run(project) {
    const { backends } = JSON.parse(await runIn(project, bin(project, 'leantune'), 'doctor', '--json'));
    if (!backends.wasm.works) throw new Error(`the doctor says of wasm: ${JSON.stringify(backends.wasm)}`);
    return undefined;
  },
};

export const consumers: readonly Consumer[] = [
  { name: 'Node, ESM', run: async (project) => reportOf(await runIn(project, process.execPath, 'main.mjs', 'adapter-esm')) },
  { name: 'Node, CommonJS', run: async (project) => reportOf(await runIn(project, process.execPath, 'main.cjs', 'adapter-cjs')) },
  runtime('Deno', 'deno', 'run', '--allow-all'),
  runtime('Bun', 'bun', 'run'),
  esbuild,
  vite,
  typescript('nodenext'),
  typescript('bundler'),
  doctor,
];
