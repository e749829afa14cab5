/**
 * The gradients of an experiment's first step by stock tfjs on stock tfjs-node, in float64 and in float32. In a process of its own:
 * `useBackend` gives tfjs-node our kernels for good.
 */
import { fork } from 'node:child_process';
import { shimNode } from '@leantune/backends/tensorflow';
import * as tf from '@tensorflow/tfjs-core';
import type { Lever } from '../experiment.ts';
import { type ModelSpec, makeSubject } from '../models/subject.ts';
import { computeInFloat64 } from './float64.ts';
import { type Gradients, gradientsOf } from './gradients.ts';
import { stockTrainer } from './trainers.ts';

interface Job {
  readonly model: ModelSpec;
  readonly batch: number;
  readonly lever: Lever;
  readonly seed: number;
}
export interface Truth {
  readonly float64: Gradients;
  readonly float32: Gradients;
}

export function truthOf(job: Job): Promise<Truth> {
  return new Promise((resolve, reject) => {
    const child = fork(new URL(import.meta.url), ['truth'], { stdio: ['ignore', 'ignore', 'inherit', 'ipc'], serialization: 'advanced' });
    child.once('message', (truth) => resolve(truth as Truth));
    child.once('error', reject);
    child.once('exit', (code) => reject(new Error(`[truth] the process ended with code ${code} before its gradients were there.`)));
    child.send(job);
  });
}

async function compute({ model, batch, lever, seed }: Job): Promise<Truth> {
  shimNode();
  await import('@tensorflow/tfjs-node');
  await tf.setBackend('tensorflow');
  const gradients = async (): Promise<Gradients> => {
    const subject = makeSubject(model, batch, seed);
    const found = await gradientsOf(subject, stockTrainer(subject, lever));
    subject.dispose();
    return found;
  };
  const float32 = await gradients();
  computeInFloat64();
  return { float32, float64: await gradients() };
}

if (process.send && process.argv[2] === 'truth')
  process.once('message', (job) => void compute(job as Job).then((truth) => process.send?.(truth, () => process.exit())));
