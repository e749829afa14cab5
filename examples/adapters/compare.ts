/** Trains one model with LoRA, LaMDA and LaMDA++ in turn, from the same start on the same batches, and says what each costs and reaches. */
import { adamW, finetune, measure, type SiteFilter, type Technique, warmupCosine } from '@leantune/core';
import { decompose } from '@leantune/core/low-rank';
import { explainRanks } from '@leantune/lamda';
import * as tf from '@tensorflow/tfjs';
import { type Method, methodsOf, RANK } from './methods.ts';
import { type Run, readResults, recordRun, recordTrial, type Settings } from './results.ts';

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
  /** Of `methodsOf`; `undefined` is the first three. */
  readonly methods?: readonly string[] | undefined;
  /** Tries every learning rate of each method with a seed of its own, in place of the runs. */
  readonly search: boolean;
  /** Writes each run into the result file. */
  readonly write: boolean;
}

/** Of the search for learning rates. */
const TRIAL_SEED = 0;

export async function compare(task: Task, { seeds, methods: names = ['LoRA', 'LaMDA', 'LaMDA++'], search, write }: Choice): Promise<void> {
  const svd = await decompose(task.model, { rank: 2 * RANK, targets: task.targets });
  console.log(`\n${explainRanks(svd, { averageRank: RANK })}\n`);
  const methods = methodsOf(task, svd);
  const runs: Run[] = [];
  for (const name of names) {
    const method = methods[name]!;
    if (search) await tryRates(task, name, method, write);
    else for (const seed of seeds) runs.push(await run(task, name, method, seed, write));
  }
  if (!search) print(runs);
}

async function tryRates(task: Task, name: string, { make, rates, ratesOf = name }: Method, write: boolean): Promise<void> {
  if (ratesOf !== name) return;
  for (const rate of rates) {
    const { result } = await train(task, make(TRIAL_SEED), rate, TRIAL_SEED, () => task.evaluate('validation'));
    console.log(`${name.padEnd(8)} rate ${rate}: validation loss ${result.toFixed(3)}`);
    if (write) recordTrial(task.settings, { method: name, rate, loss: result });
  }
}

async function run(task: Task, name: string, method: Method, seed: number, write: boolean): Promise<Run> {
  const rate = bestRate(task, name, method);
  task.start?.(seed);
  const before = task.evaluate('test');
  const { result, updates, keptBytes } = await train(task, method.make(seed), rate, seed, async () => {
    const loss = task.evaluate('test');
    const sample = await task.show?.(name);
    return { loss, ...(sample !== undefined && { sample }) };
  });
  const one = { method: name, seed, rate, before, updates, keptBytes, ...result };
  console.log(`${name.padEnd(8)} seed ${seed}: test loss ${before.toFixed(3)} -> ${one.loss.toFixed(3)}`);
  if (write) recordRun(task.settings, one);
  return one;
}

/** The rate that the search found best; without a search the first one. */
function bestRate({ settings }: Task, name: string, { rates, ratesOf = name }: Method): number {
  const tried = readResults(settings)?.trials.filter(({ method }) => method === ratesOf) ?? [];
  const [best] = tried.sort((a, b) => a.loss - b.loss);
  return best?.rate ?? rates[0]!;
}

/** One run; `finish` looks at the trained model, which then is as it was. */
async function train<T>(task: Task, technique: Technique, rate: number, seed: number, finish: () => T | Promise<T>) {
  const { model, trainable, settings, loss } = task;
  const { steps } = settings;
  task.start?.(seed);
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
      `${method.padEnd(8)} test loss ${mean(own.map(({ loss }) => loss)).toFixed(3)}  updates ${updates.toLocaleString('en')} (1/${(most / updates).toFixed(1)})  kept ${(keptBytes / 1e6).toFixed(1)} MB`,
    );
  }
}
