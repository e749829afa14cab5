/**
 * A training step of a transformer block through WebGPU, in float32 and in half precision: kernels, what waits for backward, and time in turns.
 * One JSON a row, printed and added to `--output` at once, so a run that is cut off leaves what it had.
 *
 *   npx tsx --conditions=@leantune/source benchmarks/gpu/mixed-precision.ts [--width 1024] [--tokens 512] [--batch 8] [--layers 1]
 *     [--precisions float32,mixed_float16] [--rounds 10] [--seconds 40] [--output FILE]
 *
 * A round is a turn of five steps for each precision, after one that is not counted. After `--seconds` it begins no second round, and says how
 * many there were. `forwardRecordMs` is JavaScript's part of the forward pass: what it takes until the loss can be asked for.
 */
import { appendFileSync } from 'node:fs';
import { parseArgs } from 'node:util';
import { useBackend } from '@leantune/backends';
import type { WebGPUBackend } from '@leantune/backends/webgpu';
import { measure } from '@leantune/core';
import * as tf from '@tensorflow/tfjs';
import { precisionsIn } from '../tasks/precisions.ts';
import { countKernels } from '../webgpu/count-kernels.ts';
import { shapeIn, shapeOptions, trainBlock } from './train-block.ts';

const { values } = parseArgs({
  options: {
    ...shapeOptions,
    precisions: { type: 'string', default: 'float32,mixed_float16' },
    rounds: { type: 'string', default: '10' },
    seconds: { type: 'string', default: '40' },
    output: { type: 'string' },
  },
});
const number = (name: 'rounds' | 'seconds'): number => Number(values[name]);
const shape = shapeIn(values);
const asked = precisionsIn(values.precisions, 'mixed-precision');
/** Steps of a precision before the next has its turn. */
const TURN = 5;
const start = performance.now();
const secondsLeft = (): number => number('seconds') - (performance.now() - start) / 1000;

await useBackend('webgpu');
const counted = countKernels(tf.backend() as WebGPUBackend);
const runs = asked.map((precision) => {
  const times = { ms: [] as number[], recordMs: [] as number[] };
  const take = trainBlock(precision, shape);
  const step = (): void => {
    const { ms, recordMs } = take();
    times.ms.push(ms);
    times.recordMs.push(recordMs);
  };
  return { precision, step, times };
});

for (const { precision, step, times } of runs) {
  const first = performance.now();
  step(); // compiles
  const compileMs = Math.round(performance.now() - first);
  const { memory } = measure(step);
  const { dispatches, bytes } = counted(step);
  row({ stage: 'step', precision, compileMs, dispatches, boundBytes: bytes, keptBytes: memory.keptBytes, peakBytes: memory.peakBytes });
  times.ms.length = times.recordMs.length = 0;
}
let rounds = 0;
while (rounds === 0 || (rounds < number('rounds') && secondsLeft() > 0)) {
  for (const { step, times } of runs) {
    step(); // after the other precision; not counted
    times.ms.pop();
    times.recordMs.pop();
    for (let i = 0; i < TURN; i++) step();
  }
  rounds++;
}
const median = (times: number[]): number =>
  Number((times.toSorted((a, b) => a - b)[Math.floor(times.length / 2)] ?? Number.NaN).toFixed(2));
for (const { precision, times } of runs)
  row({
    stage: 'time',
    precision,
    rounds,
    ms: median(times.ms),
    forwardRecordMs: median(times.recordMs),
    ratio: median(times.ms) / median(runs[0]!.times.ms),
  });
process.exit(0);

function row(value: object): void {
  const line = JSON.stringify({ ...value, shape, secondsLeft: Math.round(secondsLeft()) });
  console.log(line);
  if (values.output) appendFileSync(values.output, `${line}\n`);
}
