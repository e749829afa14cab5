/** TensorFlow's own allocator as the judge of memory: what it counts, and training where its limit stops tfjs-node. */
import { execFile } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { describeOn } from '@leantune/testing';
import { expect, test } from 'vitest';
import type { Outcome } from './budget-program.ts';

const MB = 2 ** 20;

async function run(program: string, args: readonly string[], limit?: number): Promise<unknown> {
  const path = fileURLToPath(new URL(program, import.meta.url));
  const env = {
    ...process.env,
    TF_CPU_ALLOCATOR_USE_BFC: '1',
    TF_CPP_MIN_LOG_LEVEL: '3', // a failed allocation prints every block there is
    ...(limit && { TF_CPU_BFC_MEM_LIMIT_IN_MB: String(limit) }),
  };
  const { stdout } = await promisify(execFile)(process.execPath, ['--import', 'tsx', '--conditions=@leantune/source', path, ...args], {
    env,
  });
  return JSON.parse(stdout.trim().split('\n').at(-1)!);
}

const budget = (engine: 'stock' | 'leantune', batches: readonly number[], limit?: number): Promise<Outcome> =>
  run('budget-program.ts', [engine, ...batches.map(String)], limit) as Promise<Outcome>;

/** Past its limit TensorFlow answers with an error, or now and then kills the process inside a convolution. */
const stockPastLimit = (batch: number, limit: number): Promise<string | undefined> =>
  budget('stock', [batch], limit).then(
    ({ error }) => error,
    ({ signal }: { signal?: string }) => signal,
  );

await describeOn('tensorflow', () => {
  test('the allocator’s figures are the bytes of the tensors, and the peak counts what came and went', { timeout: 60_000 }, async () => {
    const { adamWBeside, ...figures } = (await run('allocator-program.ts', [])) as { adamWBeside: [number, number] };
    expect(adamWBeside[0]).toBeLessThan(4096); // scalars
    expect(adamWBeside[1]).toBeLessThan(4 * MB + 4096); // with decay, one buffer of the variable that moves
    expect(figures).toEqual({
      none: 0,
      two: 8 * MB,
      peak: 12 * MB,
      peakAfterReset: 8 * MB,
      after: 4 * MB,
      views: [0, 0],
      device: 'CPU:0',
      absent: 'not-available',
    });
  });

  test('under a limit of 100 MB stock tfjs-node runs out of memory where LeanTune trains, with the losses that stock has without a limit', {
    timeout: 180_000,
  }, async () => {
    const unlimited = await budget('stock', [16]);
    const stock = await stockPastLimit(16, 100);
    const ours = await budget('leantune', [16], 100);
    expect(unlimited.peakBytes).toBeGreaterThan(150 * MB); // 190 to 210: the scratch of threads comes and goes
    expect(stock).toMatch(/OOM when allocating|^SIG(SEGV|ABRT)$/);
    expect(ours.error).toBeUndefined();
    expect(ours.peakBytes).toBeLessThan(50 * MB);
    for (const [i, loss] of unlimited.losses.entries()) expect(ours.losses[i]).toBeCloseTo(loss, 3);
  });

  test('beyond the limit the error says what to do, weights and optimizer are intact, and a smaller batch trains on', {
    timeout: 120_000,
  }, async () => {
    const { losses, code, error, intact, after } = await budget('leantune', [64, 16], 100);
    expect(losses).toHaveLength(1);
    expect(code).toBe('out-of-memory');
    expect(error).toMatch(
      /^\[tensorflow\] \w+ found no room for a tensor of shape \[64,[\d,]+\]; the step did not happen\. Use a smaller batch/,
    );
    expect(intact).toBe(true);
    expect(after).toHaveLength(3);
    for (const loss of after!) expect(loss).toBeLessThan(losses[0]!);
  });
});
