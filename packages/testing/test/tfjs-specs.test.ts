/** tfjs-core's own specs, from its npm tarball, through our tape; see ../specs/bundle.ts. */
import { execFile } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { describe, expect, test } from 'vitest';
import type { BackendName } from '../specs/backends.ts';
import type { SpecSummary } from '../specs/execute.ts';
import { available } from '../src/index.ts';

const program = fileURLToPath(new URL('../specs/run.ts', import.meta.url));

async function runSpecs(backend: BackendName, filter: string): Promise<SpecSummary> {
  const options = ['--import', 'tsx', '--conditions=@leantune/source'];
  const run = promisify(execFile)(process.execPath, [...options, program, backend, filter], { maxBuffer: 1 << 26 });
  const { stdout } = await run.catch((failed: { stdout: string }) => failed); // the exit code says that specs failed
  return JSON.parse(stdout);
}

describe.each(await available(['cpu', 'wasm', 'tensorflow', 'webgpu']))('on %s', (backend) => {
  test('tfjs-core’s 541 gradient specs pass, each through our tape', { timeout: 600_000 }, async () => {
    const summary = await runSpecs(backend, 'grad|deriv');
    expect(summary.failures.slice(0, 5)).toEqual([]);
    expect(summary).toMatchObject({ passed: 541, failed: 0, skipped: 1 });
    // What the specs of tfjs-core 4.22.0 call, so that they cannot run past our tape unnoticed.
    expect(summary.calls).toMatchObject({ grad: 434, grads: 133, valueAndGrad: 3, valueAndGrads: 2, variableGrads: 7, customGrad: 13 });
    expect(summary.stockCalls).toBe(0);
  });
});
