/** The program as users run it, in projects that lack one thing or another. */
import { spawnSync } from 'node:child_process';
import { cpSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describeOn } from '@leantune/testing';
import { afterAll, describe, expect, test } from 'vitest';
import type { Report } from '../src/report.ts';

const root = join(import.meta.dirname, '../../..');
const program = join(import.meta.dirname, '../src/main.ts');
const folders: string[] = [];

function folderIn(parent: string): string {
  folders.push(mkdtempSync(join(parent, '.leantune-doctor-')));
  return folders.at(-1)!;
}
afterAll(() => folders.forEach((folder) => rmSync(folder, { recursive: true, force: true })));

function run(
  cwd: string,
  args: readonly string[],
  env: Record<string, string> = {},
): { code: number | null; stdout: string; stderr: string } {
  const node = ['--import', import.meta.resolve('tsx'), '--conditions=@leantune/source', program];
  const { status, stdout, stderr } = spawnSync(process.execPath, [...node, ...args], {
    cwd,
    encoding: 'utf8',
    env: { ...process.env, ...env },
  });
  return { code: status, stdout, stderr };
}

function doctor(cwd: string, env?: Record<string, string>, seconds = 60): { code: number | null; report: Report } {
  const { code, stdout } = run(cwd, ['doctor', '--json', '--seconds', String(seconds)], env);
  return { code, report: JSON.parse(stdout) };
}

/** A project with one package of its own; all else is found in the repository. */
function projectWith(name: string, files: Record<string, string>, parent = join(root, 'node_modules')): string {
  const project = folderIn(parent);
  const folder = join(project, 'node_modules', name);
  mkdirSync(folder, { recursive: true });
  for (const [file, text] of Object.entries(files)) writeFileSync(join(folder, file), text);
  return project;
}

describe('leantune doctor', { timeout: 240_000 }, () => {
  test('names what to install where nothing is, and exits with 1', () => {
    const { code, report } = doctor(folderIn(tmpdir()));
    expect(code).toBe(1);
    expect(report.versions).toEqual({});
    for (const name of ['tensorflow', 'webgpu', 'wasm', 'cpu'] as const)
      expect(report.backends[name]).toEqual({
        works: false,
        why: expect.stringContaining('@leantune/backends is not installed'),
        fix: expect.stringContaining('npm install @leantune/core @leantune/backends'),
      });
    expect(report.auto).toMatchObject({ works: false });
    expect(report.system.memory.total).toBeGreaterThan(report.system.memory.free);
  });

  test('tells a package that is broken from one that is absent, and tries the others', () => {
    const project = projectWith('@tensorflow/tfjs-node', {
      'package.json': '{ "name": "@tensorflow/tfjs-node", "version": "4.22.0", "main": "index.js" }',
      'index.js': "require('./lib/napi-v8/tfjs_binding.node');",
    });
    const copy = join(project, 'node_modules/@leantune/backends'); // so that it finds that package and not the repository's
    for (const part of ['package.json', 'src']) cpSync(join(root, 'packages/backends', part), join(copy, part), { recursive: true });
    const { code, report } = doctor(project);
    expect(code).toBe(0);
    expect(report.versions['@tensorflow/tfjs-node']).toBe('4.22.0');
    expect(report.backends.tensorflow).toMatchObject({
      works: false,
      why: expect.stringMatching(/^@tensorflow\/tfjs-node is installed and does not load: .*tfjs_binding\.node/),
      fix: expect.stringContaining('npm rebuild @tensorflow/tfjs-node'),
    });
    expect(report.backends.wasm).toMatchObject({ works: true, facts: { simd: true } });
    expect(report.backends.cpu.works).toBe(true);
    expect(report.auto).toMatchObject({ passed: expect.arrayContaining([expect.objectContaining({ name: 'tensorflow' })]) });
  });

  test('outlives a driver that crashes, one that exits and one that hangs', () => {
    const project = projectWith(
      '@leantune/backends',
      {
        'package.json': '{ "name": "@leantune/backends", "version": "0.0.0", "exports": "./index.mjs" }',
        'index.mjs': `export async function useBackend(name) {
          if (name === 'tensorflow') process.kill(process.pid, 'SIGSEGV');
          if (name === 'webgpu') await new Promise(() => setInterval(() => {}, 1000));
          if (name === 'wasm') { console.error('no heap'); process.exit(3); }
          throw Object.assign(new Error('[useBackend] it is off. Turn it on'), { fix: 'Turn it on' });
        }`,
      },
      tmpdir(),
    );
    const { code, report } = doctor(project, {}, 5);
    expect(code).toBe(1);
    expect(report.backends).toMatchObject({
      tensorflow: { why: expect.stringMatching(/^it ended its process with SIG/) },
      webgpu: { why: 'it did not answer within 5 s' },
      wasm: { why: 'it ended its process with exit code 3: no heap' },
      cpu: { why: 'it is off', fix: 'Turn it on' },
    });
  });

  test('says what is missing where Vulkan has no driver, and prints it for people', () => {
    const { code, stdout } = run(root, ['doctor'], { VK_ICD_FILENAMES: '/nowhere/none.json', VK_DRIVER_FILES: '/nowhere/none.json' });
    expect(code).toBe(0);
    expect(stdout).toMatch(/^webgpu {6}no: .*adapter.*\n {12}-> \S/m);
    expect(stdout).toMatch(/^wasm {8}works\n {12}simd: true$/m);
    expect(stdout).toMatch(/^useBackend\('auto'\) picks (wasm|tensorflow): /);
    expect(stdout).toMatch(/@tensorflow\/tfjs-core 4\.22\.0/);
  });

  test.each([
    [['prescribe'], 2, /got "prescribe"; expected doctor/],
    [['doctor', '--seconds', 'soon'], 2, /--seconds is "soon"; expected a positive number/],
    [['doctor', '--colour'], 2, /--colour/],
    [['--help'], 0, /leantune doctor \[--json\]/],
  ] as const)('answers %j with exit code %i', (args, expected, text) => {
    const { code, stdout, stderr } = run(root, args);
    expect(code).toBe(expected);
    expect(stdout + stderr).toMatch(text);
  });
});

await describeOn('webgpu', () => {
  test('the doctor knows the adapter', { timeout: 240_000 }, () => {
    const { backends } = doctor(root).report;
    expect(backends.webgpu).toMatchObject({
      works: true,
      facts: {
        adapter: expect.stringMatching(/\S/),
        features: expect.arrayContaining(['core-features-and-limits']),
        limits: { maxStorageBufferBindingSize: expect.any(Number), maxBufferSize: expect.any(Number) },
        subgroupMatrices: expect.any(Array),
      },
    });
  });
});
