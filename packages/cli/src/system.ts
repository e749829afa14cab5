/** The machine, and the packages that the project of the current folder has installed. */
import { execFile } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { arch, cpus, freemem, platform, totalmem } from 'node:os';
import { dirname, join } from 'node:path';
import { promisify } from 'node:util';
import { getHeapStatistics } from 'node:v8';
import type { System } from './report.ts';

const packages = [
  ...['core', 'backends', 'convbn', 'lamda', 'lora', 'mixed-precision', 's2a', 'transformers'].map((name) => `@leantune/${name}`),
  ...['tfjs', 'tfjs-core', 'tfjs-layers', 'tfjs-converter', 'tfjs-node', 'tfjs-node-gpu'].map((name) => `@tensorflow/${name}`),
  ...['cpu', 'wasm', 'webgl', 'webgpu'].map((name) => `@tensorflow/tfjs-backend-${name}`),
  'webgpu',
];

export async function readSystem(): Promise<System> {
  return {
    node: process.version,
    platform: `${platform()} ${arch()}`,
    processor: cpus()[0]?.model ?? 'unknown',
    cores: cpus().length,
    memory: { total: totalmem(), free: freemem() },
    heapLimit: getHeapStatistics().heap_size_limit,
    nvidia: await readNvidia(),
  };
}

async function readNvidia(): Promise<readonly string[]> {
  const query = ['--query-gpu=name,driver_version,memory.total', '--format=csv,noheader'];
  try {
    const { stdout } = await promisify(execFile)('nvidia-smi', query, { timeout: 10_000, killSignal: 'SIGKILL' });
    return stdout.trim().split('\n');
  } catch {
    return []; // no driver of NVIDIA
  }
}

/** Versions by what lies on disk: a package that cannot be imported has one too. */
export function readVersions(folder: string): Record<string, string> {
  const found = packages.map((name) => [name, readVersion(folder, name)] as const);
  return Object.fromEntries(found.filter((entry): entry is [string, string] => entry[1] !== undefined));
}

function readVersion(folder: string, name: string): string | undefined {
  const manifest = join(folder, 'node_modules', name, 'package.json');
  if (existsSync(manifest)) return JSON.parse(readFileSync(manifest, 'utf8')).version;
  return dirname(folder) === folder ? undefined : readVersion(dirname(folder), name);
}
