/** Trains one model with LoRA, LaMDA and LaMDA++ in turn, from the same start on the same batches, and says what each costs and reaches. */
import { adamW, finetune, measure, type SiteFilter, type Technique, warmupCosine } from '@leantune/core';
import * as tf from '@tensorflow/tfjs';
import { type Method, methodsOf } from './methods.ts';
import { differentSettings, type Run, readResults, recordRun, recordTrial, type Settings, type Trial } from './results.ts';

export interface Task {
  /** What `finetune` takes. */
  readonly model: tf.LayersModel;
  /** Where adapters sit. */
  readonly targets: SiteFilter;
  /** What trains whole beside them: a new head. */
  readonly trainable?: SiteFilter;
  readonly settings: Settings;
  /** Puts the model where all methods start from with a seed. */
  start?(seed: number): void;
  /** Of a step's batch. */
  loss(step: number, seed: number): tf.Scalar;
  /** Mean loss on what was not learnt from. */
  evaluate(on: 'validation' | 'test'): number;
  /** Called after training, while the adapter is on. */
  show?(method: string): Promise<string>;
}

export interface Choice {
  readonly seeds: readonly number[];
  /** Of `methodsOf`. @default LoRA, and LaMDA and LaMDA++ of gradients */
  readonly methods?: readonly string[] | undefined;
  /** Looks for the learning rate of each method first, from the trials in the result file on, with a seed of its own. */
  readonly search: boolean;
  /** Writes each run into the result file; those that it has are not made again. */
  readonly write: boolean;
}

const DEFAULT_METHODS = ['LoRA', 'LaMDA of gradients', 'LaMDA++ of gradients'];
/** Of the search for learning rates. */
const TRIAL_SEED = 0;

export async function compare(task: Task, { seeds, methods: names = DEFAULT_METHODS, search, write }: Choice): Promise<void> {
  const methods = methodsOf(task);
  const known = readResults(task.settings);
  if (write && !known) throw differentSettings(task.settings); // now, and not after a run
  const trials = [...(known?.trials ?? [])];
  const runs: Run[] = [];
  for (const name of names) {
    const method = methods[name]!;
    const { rateOf = name } = method;
    if (search && rateOf === name) await searchRate(task, name, method, trials, write);
    const rate = bestRate(trials, rateOf) ?? method.rate;
    for (const seed of seeds) {
      const made = write
        ? readResults(task.settings)?.runs.find((one) => one.method === name && one.seed === seed && one.rate === rate)
        : undefined;
      runs.push(made ?? (await run(task, name, method, rate, seed, write)));
    }
  }
  print(runs);
}

/** Adds trials, doubling and halving the best rate until both of its neighbours are worse. */
async function searchRate(task: Task, name: string, { make, rate: first }: Method, trials: Trial[], write: boolean): Promise<void> {
  for (;;) {
    const best = bestRate(trials, name);
    const near = best === undefined ? [first] : [2 * best, best / 2];
    const rate = near.find((one) => !trials.some((trial) => trial.method === name && trial.rate === one));
    if (rate === undefined) return;
    task.start?.(TRIAL_SEED);
    const { result } = await train(task, await make(TRIAL_SEED), rate, TRIAL_SEED, () => task.evaluate('validation'));
    console.log(`${name.padEnd(20)} rate ${rate}: validation loss ${result.toFixed(3)}`);
    trials.push({ method: name, rate, loss: result });
    if (write) recordTrial(task.settings, trials.at(-1)!);
  }
}

function bestRate(trials: readonly Trial[], of: string): number | undefined {
  return trials.filter(({ method }) => method === of).sort((a, b) => a.loss - b.loss)[0]?.rate;
}

async function run(task: Task, name: string, { make }: Method, rate: number, seed: number, write: boolean): Promise<Run> {
  task.start?.(seed);
  const before = task.evaluate('test');
  const { result, updates, keptBytes } = await train(task, await make(seed), rate, seed, async () => {
    const loss = task.evaluate('test');
    const sample = await task.show?.(name);
    return { loss, ...(sample !== undefined && { sample }) };
  });
  const one = { method: name, seed, rate, before, updates, keptBytes, ...result };
  console.log(`${name.padEnd(20)} seed ${seed}: test loss ${before.toFixed(3)} -> ${one.loss.toFixed(3)}`);
  if (write) recordRun(task.settings, one);
  return one;
}

/** One run from where the model is; `finish` looks at the trained model, which then is as it was. */
async function train<T>(task: Task, technique: Technique, rate: number, seed: number, finish: () => T | Promise<T>) {
  const { model, trainable, settings, loss } = task;
  const { steps } = settings;
  const before = model.getWeights().map((w) => w.clone());
  const tuned = finetune(model, technique, trainable === undefined ? {} : { trainable });
  const optimizer = tuned.optimizer(
    adamW({ learningRate: warmupCosine({ peak: rate, warmupSteps: Math.ceil(steps / 20), steps }), weightDecay: 0 }),
  );
  const own = new Set<tf.Tensor>(model.weights.map((w) => w.read()));
  let updates = 0;
  const { memory } = await measure(async () => {
    for (let step = 0; step < steps; step++) {
      updates += tuned.variables.reduce((sum, v) => sum + (own.has(v) ? 0 : v.size), 0);
      tuned.minimize(() => loss(step, seed), optimizer).dispose();
      await tf.nextFrame();
    }
  });
  const result = await finish();
  optimizer.dispose();
  tuned.detach();
  model.setWeights(before); // the head, which trained whole
  tf.dispose(before);
  return { result, updates, keptBytes: memory.keptBytes };
}

function print(runs: readonly Run[]): void {
  const mean = (losses: readonly number[]) => losses.reduce((sum, x) => sum + x, 0) / losses.length;
  const most = Math.max(...runs.map(({ updates }) => updates));
  for (const method of new Set(runs.map((one) => one.method))) {
    const own = runs.filter((one) => one.method === method);
    const [{ updates, keptBytes }] = own as [Run];
    console.log(
      `${method.padEnd(20)} test loss ${mean(own.map(({ loss }) => loss)).toFixed(3)}  updates ${updates.toLocaleString('en')} (1/${(most / updates).toFixed(1)})  kept ${(keptBytes / 1e6).toFixed(1)} MB`,
    );
  }
}
