/**
 * Trains for thousands of batches and watches what grows: tensors, bytes by the tracker, the backend's own memory, the process.
 *
 *   npx tsx --conditions=@leantune/source benchmarks/reliability/soak.ts --backend cpu|wasm|tensorflow|webgpu [--steps 10000] [--write]
 *
 * One tracker sees the whole run. Every 1/40 of it garbage is collected, and the figures are noted.
 */

import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { type BackendName, useBackend } from '@leantune/backends';
import { heapUse } from '@leantune/backends/wasm';
import { poolUse } from '@leantune/backends/webgpu';
import { adamW, trackMemory } from '@leantune/core';
import * as tf from '@tensorflow/tfjs';
import { type Provenance, provenance, writeResult } from './result.ts';
import { gratings, makeModel, tune } from './subject.ts';

/** The state after a number of steps; bytes. */
export interface Sample {
  readonly step: number;
  readonly tensors: number;
  /** Of all tensors, by handle. */
  readonly tensorBytes: number;
  /** The largest total the tracker saw since the sample before. */
  readonly peakBytes: number;
  /** Held by the backend: wasm's heap in use, webgpu's pool. */
  readonly backendBytes?: number;
  readonly rss: number;
  /** JavaScript's heap after a collection. */
  readonly heap: number;
  readonly loss: number;
}

export interface SoakResult extends Provenance {
  readonly backend: string;
  /** Batches; every other one ends in a step of the optimizer. */
  readonly steps: number;
  readonly samples: readonly Sample[];
}

const SAMPLES = 40;

/** Batches of 8 in turn through the model: AdamW, two batches a step, gradients clipped. The current backend computes. */
export async function soak(steps: number, onSample?: (sample: Sample) => void): Promise<Sample[]> {
  const model = makeModel();
  const tuned = tune(model);
  const optimizer = tuned.optimizer(adamW({ learningRate: 1e-3 }), { accumulate: 2, clipNorm: 1 });
  const batches = [1, 2, 3, 4].map((seed) => gratings(8, seed));
  const collect = garbageCollector();
  const tracker = trackMemory();
  const laps = tracker.callback();
  const samples: Sample[] = [];
  const every = steps / SAMPLES;
  for (let step = 1; step <= steps; step++) {
    const { images, labels } = batches[step % batches.length]!;
    const loss = tuned.minimize(
      () => tf.losses.softmaxCrossEntropy(labels, model.apply(images, { training: true }) as tf.Tensor) as tf.Scalar,
      optimizer,
    );
    if (Math.floor(step / every) > Math.floor((step - 1) / every)) {
      const [value] = await loss.data();
      loss.dispose();
      collect();
      await new Promise((resolve) => setTimeout(resolve, 20)); // native objects are freed in a later turn
      samples.push({ step, ...figures(laps), loss: value! });
      onSample?.(samples.at(-1)!);
    } else {
      if (step % 10 === 0) await loss.data(); // a device must not fall behind without bound
      loss.dispose();
    }
  }
  tracker.stop();
  tuned.dispose();
  optimizer.dispose();
  model.dispose();
  tf.dispose(batches as unknown as tf.TensorContainer);
  return samples;
}

function figures(laps: ReturnType<ReturnType<typeof trackMemory>['callback']>): Omit<Sample, 'step' | 'loss'> {
  const logs: { peakBytes?: number } = {};
  laps.onEpochEnd(0, logs);
  const { numTensors, numBytes } = tf.memory();
  const { rss, heapUsed } = process.memoryUsage();
  const figure: { readonly [backend: string]: () => number } = {
    wasm: () => heapUse(tf.backend()).used,
    webgpu: () => poolUse(tf.backend()).allocated,
  };
  const held = figure[tf.getBackend()]?.();
  const backendBytes = held === undefined ? {} : { backendBytes: held };
  return { tensors: numTensors, tensorBytes: numBytes, peakBytes: logs.peakBytes!, ...backendBytes, rss, heap: heapUsed };
}

function garbageCollector(): () => void {
  setFlagsFromString('--expose-gc');
  return runInNewContext('gc') as () => void;
}

/** The figures of a quarter of the samples: the largest of what must not grow at all, the median of what a process has. */
export function quarter(samples: readonly Sample[], index: 0 | 1 | 2 | 3): Sample {
  const size = samples.length / 4;
  const own = samples.slice(index * size, (index + 1) * size);
  const largest = (key: keyof Sample) => Math.max(...own.map((sample) => sample[key] ?? 0));
  const median = (key: keyof Sample) => own.map((sample) => sample[key] ?? 0).sort((a, b) => a - b)[Math.floor(own.length / 2)]!;
  return {
    step: own.at(-1)!.step,
    tensors: largest('tensors'),
    tensorBytes: largest('tensorBytes'),
    peakBytes: largest('peakBytes'),
    backendBytes: largest('backendBytes'),
    rss: median('rss'),
    heap: median('heap'),
    loss: median('loss'),
  };
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const { values } = parseArgs({
    options: {
      backend: { type: 'string', default: 'wasm' },
      steps: { type: 'string', default: '10000' },
      write: { type: 'boolean', default: false },
    },
  });
  const { name: backend } = await useBackend(values.backend as BackendName);
  const steps = Number(values.steps);
  const samples = await soak(steps, ({ step, tensors, peakBytes, rss, heap, loss }) =>
    console.log(
      `${step} batches: ${tensors} tensors, peak ${peakBytes} B, rss ${(rss / 1e6).toFixed(1)} MB, heap ${(heap / 1e6).toFixed(2)} MB, loss ${loss.toFixed(4)}`,
    ),
  );
  const result: SoakResult = {
    ...provenance(`reliability/soak.ts --backend ${backend} --steps ${steps} --write`),
    backend,
    steps,
    samples,
  };
  if (values.write) writeResult(`soak-${backend}`, result);
  process.exit(); // Dawn's device keeps a process alive
}
