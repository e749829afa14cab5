/**
 * One training step of a model with stock tfjs and with LeanTune: what each holds at its peak, how long each takes, whether both
 * compute the same. Each engine has a copy of the model with the same weights; bytes come from one tracker for both.
 */
import { allocatorStats, resetPeak } from '@leantune/backends/tensorflow';
import { type MemoryReport, measure } from '@leantune/core';
import * as tf from '@tensorflow/tfjs-core';
import type { Bytes, Equality, Experiment, Lever, Row, Side } from '../experiment.ts';
import { makeSubject, type Subject } from '../models/subject.ts';
import { GradientRecorder } from './gradient-recorder.ts';
import { lowerQuartile } from './lower-quartile.ts';
import { leanTrainer, selectedWeights, stockTrainer, type Trainer } from './trainers.ts';

const SEED = 17;
/** Small: random networks must survive the timed steps. */
const LEARNING_RATE = 1e-4;

/** A copy of the model under one engine, after two measured steps. */
interface Run {
  readonly subject: Subject;
  readonly trainer: Trainer;
  readonly optimizer: tf.Optimizer;
  readonly bytes: Bytes;
  readonly losses: readonly number[];
  readonly allocatorPeak?: number;
  /** By name of the weight. */
  readonly gradients: ReadonlyMap<string, Float32Array>;
  readonly weights: ReadonlyMap<string, Float32Array>;
}

/** Runs one row of an experiment on the current backend. */
export async function trainStep({ model, batch, steps }: Experiment, lever: Lever): Promise<Row> {
  const subjects = [makeSubject(model, batch, SEED), makeSubject(model, batch, SEED)] as const;
  const predict = measure(() => subjects[0].predict().dispose()).memory;
  const stock = await run(subjects[0], stockTrainer(subjects[0], lever));
  const lean = await run(subjects[1], leanTrainer(subjects[1], lever));
  const [stockTime, leanTime] = await interleaved(stock, lean, steps);
  const size = (weights: readonly { readonly variable: tf.Variable }[]) => weights.reduce((sum, { variable }) => sum + variable.size, 0);
  const row: Row = {
    lever,
    parameters: size(subjects[0].weights),
    trained: size(selectedWeights(subjects[0], lever)),
    predict: { peakAboveWeights: predict.peakAboveWeights },
    stock: side(stock, stockTime),
    leantune: side(lean, leanTime),
    ratio: {
      peak: round(lean.bytes.peakAboveWeights / stock.bytes.peakAboveWeights),
      time: round(leanTime / stockTime),
    },
    equality: compare(stock, lean),
  };
  for (const subject of subjects) subject.dispose();
  return row;
}

/** Gradients first, then two real steps; the second is measured, when the optimizer has made what it makes. */
async function run(subject: Subject, trainer: Trainer): Promise<Run> {
  const recorder = new GradientRecorder();
  await trainer.step(recorder);
  const names = new Map(subject.weights.map(({ name, variable }) => [variable.name, name]));
  const gradients = new Map([...recorder.gradients].map(([name, values]) => [names.get(name) as string, values]));
  const optimizer = tf.train.sgd(LEARNING_RATE);
  const first = await trainer.step(optimizer);
  const { result: second, memory } = await measure(() => trainer.step(optimizer));
  const allocator = tf.getBackend() === 'tensorflow' && { allocatorPeak: await allocatorPeak(() => trainer.step(optimizer)) };
  const weights = new Map(subject.weights.map(({ name, variable }) => [name, variable.dataSync<'float32'>().slice()]));
  return { subject, trainer, optimizer, bytes: bytesOf(memory), losses: [first, second], ...allocator, gradients, weights };
}

async function allocatorPeak(step: () => Promise<unknown>): Promise<number> {
  resetPeak(tf.backend());
  const { bytesInUse } = allocatorStats(tf.backend());
  await step();
  return allocatorStats(tf.backend()).peakBytes - bytesInUse;
}

const bytesOf = ({ peakAboveWeights, atPeak, keptBytes }: MemoryReport): Bytes => ({ peakAboveWeights, atPeak, kept: keptBytes });

/** Milliseconds a step of each, in turns, so that load meets both alike; after half as many turns in which the code warms up. */
async function interleaved(a: Run, b: Run, steps: number): Promise<readonly [number, number]> {
  const times = new Map<Run, number[]>([
    [a, []],
    [b, []],
  ]);
  for (let i = -Math.ceil(steps / 2); i < steps; i++) {
    for (const run of i % 2 === 0 ? [a, b] : [b, a]) {
      const start = performance.now();
      await run.trainer.step(run.optimizer);
      if (i >= 0) times.get(run)?.push(performance.now() - start);
    }
  }
  return [lowerQuartile(times.get(a) ?? []), lowerQuartile(times.get(b) ?? [])];
}

function compare(stock: Run, lean: Run): Equality {
  const sameNames = stock.gradients.size === lean.gradients.size;
  return {
    maxRelativeDifference: relativeDifference(stock.gradients, lean.gradients),
    gradientsBitEqual: sameNames && [...stock.gradients].every(([name, values]) => sameBits(values, lean.gradients.get(name))),
    stepsBitEqual:
      [...stock.weights].every(([name, values]) => sameBits(values, lean.weights.get(name))) &&
      String(stock.losses) === String(lean.losses),
  };
}

function relativeDifference(expected: Run['gradients'], got: Run['gradients']): number {
  let difference = 0;
  let largest = 0;
  for (const [name, values] of expected) {
    const others = got.get(name);
    if (others?.length !== values.length) throw new Error(`[train-step] LeanTune gave no gradient of ${name}'s size.`);
    for (let i = 0; i < values.length; i++) {
      difference = Math.max(difference, Math.abs((values[i] as number) - (others[i] as number)));
      largest = Math.max(largest, Math.abs(values[i] as number));
    }
  }
  return difference === 0 ? 0 : difference / largest;
}

function sameBits(a: Float32Array, b: Float32Array | undefined): boolean {
  if (b === undefined) return false;
  const bytes = (values: Float32Array): Buffer => Buffer.from(values.buffer, values.byteOffset, values.byteLength);
  return bytes(a).equals(bytes(b));
}

function side({ bytes, losses, allocatorPeak }: Run, milliseconds: number): Side {
  return { ...bytes, millisecondsPerStep: round(milliseconds), losses, ...(allocatorPeak !== undefined && { allocatorPeak }) };
}

const round = (value: number): number => Number(value.toPrecision(4));
