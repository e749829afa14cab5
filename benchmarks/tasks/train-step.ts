/**
 * One training step of a model with stock tfjs and with LeanTune: what each holds at its peak, how long each takes, whether both
 * compute the same. Each engine has a copy of the model with the same weights; bytes come from one tracker for both.
 */
import { allocatorStats, resetPeak } from '@leantune/backends/tensorflow';
import { type MemoryReport, measure } from '@leantune/core';
import * as tf from '@tensorflow/tfjs-core';
import type { Bytes, Equality, Errors, Experiment, Lever, Row, Side } from '../experiment.ts';
import { type ModelSpec, makeSubject, type Subject } from '../models/subject.ts';
import { type Gradients, gradientsOf, relativeDifference, relativeError } from './gradients.ts';
import { lowerQuartile } from './lower-quartile.ts';
import { leanTrainer, selectedWeights, stockTrainer, type Trainer } from './trainers.ts';
import { truthOf } from './truth.ts';

const SEED = 17;
/** Weights and batches whose gradients are held to float64. */
const SEEDS = [17, 18, 19, 20, 21, 22];
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
  readonly gradients: Gradients;
  /** By name. */
  readonly weights: ReadonlyMap<string, Float32Array>;
}

/** Runs one row of an experiment on the current backend. */
export async function trainStep({ model, batch, steps }: Experiment, lever: Lever): Promise<Row> {
  const subjects = [makeSubject(model, batch, SEED), makeSubject(model, batch, SEED)] as const;
  const predict = measure(() => subjects[0].predict().dispose()).memory;
  const stock = await run(subjects[0], stockTrainer(subjects[0], lever));
  const lean = await run(subjects[1], leanTrainer(subjects[1], lever));
  const [stockTime, leanTime] = await interleaved(stock, lean, steps);
  const equality = compare(stock, lean);
  const composed = tf.getBackend() === 'tensorflow' || !equality.gradientsBitEqual; // by other ops than stock's
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
    equality: { ...equality, ...(composed && { error: await errors(model, batch, lever) }) },
  };
  for (const subject of subjects) subject.dispose();
  return row;
}

/** How far either engine is from stock's own step in float64, for each seed. */
async function errors(model: ModelSpec, batch: number, lever: Lever): Promise<Errors> {
  const [stock, leantune]: number[][] = [[], []];
  for (const seed of SEEDS) {
    const truth = await truthOf({ model, batch, lever, seed });
    const subject = makeSubject(model, batch, seed);
    const ours = await gradientsOf(subject, leanTrainer(subject, lever));
    subject.dispose();
    stock!.push(round(relativeError(truth.float64, truth.float32)));
    leantune!.push(round(relativeError(truth.float64, ours)));
  }
  return { stock: stock!, leantune: leantune! };
}

/** Gradients first, then two real steps; the second is measured, when the optimizer has made what it makes. */
async function run(subject: Subject, trainer: Trainer): Promise<Run> {
  const gradients = await gradientsOf(subject, trainer);
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

function sameBits(a: Float32Array, b: Float32Array | undefined): boolean {
  if (b === undefined) return false;
  const bytes = (values: Float32Array): Buffer => Buffer.from(values.buffer, values.byteOffset, values.byteLength);
  return bytes(a).equals(bytes(b));
}

function side({ bytes, losses, allocatorPeak }: Run, milliseconds: number): Side {
  return { ...bytes, millisecondsPerStep: round(milliseconds), losses, ...(allocatorPeak !== undefined && { allocatorPeak }) };
}

const round = (value: number): number => Number(value.toPrecision(4));
