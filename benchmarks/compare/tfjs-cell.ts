/**
 * A cell of tfjs, stock or under LeanTune: a first step, one that is measured, one to warm up, and the timed ones. Both run on the same
 * kernels (`useBackend`), for stock tfjs alone cannot train these models on wasm; a tracker for both counts every buffer once.
 */
import { fileURLToPath } from 'node:url';
import { type BackendName, useBackend } from '@leantune/backends';
import { finetune, type MemoryPoint, type MemoryReport, measure, type SiteFilter } from '@leantune/core';
import * as tf from '@tensorflow/tfjs-core';
import { type Lever, levers } from '../experiment.ts';
import { type ModelSpec, makeSubject, type Weight } from '../models/subject.ts';
import { lowerQuartile } from '../tasks/lower-quartile.ts';
import { fitStep, leanTrainer, read, selectedWeights, stockTrainer } from '../tasks/trainers.ts';
import { blocksOf, type WithLoss } from './blocks.ts';
import type { Figures, Job } from './cell.ts';
import { type Places, type Stack, stackOf } from './stacks.ts';

/** Small: random networks must survive the timed steps. */
const LEARNING_RATE = 1e-4;
const POINTS = 160;

interface Contender {
  readonly parameters: number;
  readonly trained: number;
  /** Makes a step; returns the loss. */
  step(): Promise<number>;
}

export async function tfjsCell(job: Job): Promise<Figures> {
  await useBackend(job.cell.backend as BackendName);
  const contender = job.cell.engine === 'stock' ? stock(job) : leantune(job);
  const loss = await contender.step();
  const { memory } = await measure(() => contender.step());
  const times = await timed(() => contender.step(), job.steps);
  const { parameters, trained } = contender;
  const { peakAboveWeights, keptBytes, atPeak } = memory;
  return {
    ...{ peakAboveWeights, keptBytes, parameters, trained, ...times, loss, atPeak },
    ...(job.timeline && { timeline: timelineOf(memory) }),
  };
}

/** Both engines have these four for every model; the others are stacks. */
const isLever = (method: string): method is Lever => (levers as readonly string[]).includes(method);

function stock(job: Job): Contender {
  if (!isLever(job.cell.method)) throw new Error(`[compare] stock tfjs has no ${job.cell.method}.`);
  return trained(job, stockTrainer, job.cell.method);
}

function leantune(job: Job): Contender {
  const { spec, batch, seed, cell } = job;
  if (isLever(cell.method)) return trained(job, leanTrainer, cell.method);
  const stack = stackOf(cell.method, placesOf(spec.name));
  if (stack.blocks) return ownLoop(blocksOf(spec, batch, seed), stack);
  const subject = makeSubject(spec, batch, seed);
  if (subject.kind !== 'layers') throw new Error(`[compare] ${spec.name} takes techniques as blocks: blocks + ${cell.method}.`);
  const parameters = subject.model.countParams();
  const tuned = finetune(subject.model, stack.techniques, stack.options);
  const optimizer = tuned.optimizer(tf.train.sgd(LEARNING_RATE));
  return { parameters, trained: tuned.summary().trainable, step: () => fitStep(subject, optimizer) };
}

function trained({ spec, batch, seed }: Job, trainerOf: typeof stockTrainer, lever: Lever): Contender {
  const subject = makeSubject(spec, batch, seed);
  const size = (weights: readonly Weight[]): number => weights.reduce((sum, { variable }) => sum + variable.size, 0);
  const selected = size(selectedWeights(subject, lever));
  const [trainer, optimizer] = [trainerOf(subject, lever), tf.train.sgd(LEARNING_RATE)];
  return { parameters: size(subject.weights), trained: selected, step: () => trainer.step(optimizer) };
}

function ownLoop({ model, loss }: WithLoss, { techniques, options }: Stack): Contender {
  const parameters = model.countParams();
  const tuned = finetune(model, techniques, options);
  const optimizer = tuned.optimizer(tf.train.sgd(LEARNING_RATE));
  return { parameters, trained: tuned.summary().trainable, step: async () => read(tuned.minimize(loss, optimizer)) };
}

/** The head, and the layers inside of blocks or convolutions that are not depthwise. */
function placesOf(name: ModelSpec['name']): Places {
  const inside: SiteFilter = (site) => site.kind === 'dense' && /layers?\.\d+\./.test(site.name);
  if (name === 'decoder') return { head: undefined, adapted: inside };
  if (name === 'encoder' || name === 'vit') return { head: 'classifier', adapted: inside };
  return { head: 'head', adapted: (site) => site.kind === 'conv2d' };
}

async function timed(step: () => Promise<number>, steps: number): Promise<Pick<Figures, 'processorMilliseconds' | 'milliseconds'>> {
  const times: { readonly processor: number; readonly passed: number }[] = [];
  for (let i = -1; i < steps; i++) {
    const [start, before] = [performance.now(), process.cpuUsage()];
    await step();
    const { user, system } = process.cpuUsage(before);
    if (i >= 0) times.push({ processor: (user + system) / 1000, passed: performance.now() - start });
  }
  return {
    processorMilliseconds: round(lowerQuartile(times.map(({ processor }) => processor))),
    milliseconds: round(lowerQuartile(times.map(({ passed }) => passed))),
  };
}

/** Rows that a picture needs, and no more digits than it shows. */
function timelineOf({ timeline }: MemoryReport): readonly (readonly number[])[] {
  const total = ({ optimizer, kept, gradients, transient }: MemoryPoint) => optimizer + kept + gradients + transient;
  const [first, last] = [timeline[0]!.event, timeline.at(-1)!.event];
  const size = Math.ceil(timeline.length / POINTS);
  return Array.from({ length: Math.ceil(timeline.length / size) }, (_, i) => timeline.slice(i * size, (i + 1) * size))
    .map((points) => points.reduce((most, point) => (total(point) > total(most) ? point : most)))
    .map(({ event, optimizer, kept, gradients, transient }) => [
      Number(((event - first) / (last - first || 1)).toFixed(4)),
      ...[kept, gradients, transient + optimizer],
    ]);
}

const round = (value: number): number => Number(value.toPrecision(4));

if (process.send && process.argv[1] === fileURLToPath(import.meta.url))
  process.once('message', (job) => void tfjsCell(job as Job).then((figures) => process.send?.(figures, () => process.exit())));
