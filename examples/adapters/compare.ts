/** Trains one model with LoRA, LaMDA and LaMDA++ in turn, from the same start on the same batches, and says what each costs and reaches. */
import { adamW, finetune, measure, type SiteFilter, type Technique, warmupCosine } from '@leantune/core';
import { decompose } from '@leantune/core/low-rank';
import { explainRanks, lamda, lamdaPlusPlus } from '@leantune/lamda';
import { lora } from '@leantune/lora';
import * as tf from '@tensorflow/tfjs';

export interface Task {
  /** What `finetune` takes. */
  readonly model: tf.LayersModel;
  /** Where adapters sit. */
  readonly targets: SiteFilter;
  /** What trains whole beside them: a new head. */
  readonly trainable?: SiteFilter;
  readonly steps: number;
  readonly seeds: readonly number[];
  /** Of a step's batch. */
  loss(step: number, seed: number): tf.Scalar;
  /** Mean loss on what was not learnt from. */
  validate(): number;
  /** Called after training, while the adapter is on. */
  show?(method: string): Promise<void>;
}

export interface Result {
  readonly method: string;
  readonly losses: readonly number[];
  /** Numbers moved by the adapter over the run. */
  readonly updates: number;
  readonly keptBytes: number;
}

const RANK = 8;

export async function compare(task: Task): Promise<readonly Result[]> {
  const { model, targets, steps, seeds } = task;
  const svd = await decompose(model, { rank: 2 * RANK, targets });
  console.log(`\n${explainRanks(svd, { averageRank: RANK })}\n`);
  const freezing = { steps, freezeFraction: 0.15 };
  const methods: { readonly [method: string]: { readonly make: (seed: number) => Technique; readonly rate: number } } = {
    LoRA: { make: (seed) => lora({ r: RANK, lora_alpha: 2 * RANK, targets, seed }), rate: 2e-3 },
    LaMDA: { make: () => lamda({ rank: RANK, targets, svd, ...freezing }), rate: 1e-2 },
    'LaMDA++': { make: () => lamdaPlusPlus({ averageRank: RANK, targets, svd, ...freezing }), rate: 1e-2 },
  };
  const results: Result[] = [];
  for (const [method, { make, rate }] of Object.entries(methods)) {
    const runs: Run[] = [];
    for (const seed of seeds) runs.push(await train(task, make(seed), rate, seed, seed === seeds[0] ? method : undefined));
    const [first] = runs as [Run];
    results.push({ method, losses: runs.map(({ loss }) => loss), updates: first.updates, keptBytes: first.keptBytes });
  }
  print(results);
  return results;
}

interface Run {
  readonly loss: number;
  readonly updates: number;
  readonly keptBytes: number;
}

async function train(task: Task, technique: Technique, rate: number, seed: number, shown: string | undefined): Promise<Run> {
  const { model, trainable, steps, loss, validate, show } = task;
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
  const reached = validate();
  if (shown !== undefined) await show?.(shown);
  optimizer.dispose();
  tuned.detach();
  model.setWeights(before); // the head, which trained whole
  tf.dispose(before);
  return { loss: reached, updates, keptBytes: memory.keptBytes };
}

function print(results: readonly Result[]): void {
  const [base] = results as [Result];
  const mean = (losses: readonly number[]) => losses.reduce((sum, x) => sum + x, 0) / losses.length;
  for (const { method, losses, updates, keptBytes } of results) {
    const each = losses.length > 1 ? ` (${losses.map((x) => x.toFixed(3)).join(', ')})` : '';
    console.log(
      `${method.padEnd(8)} validation loss ${mean(losses).toFixed(3)}${each}  updates ${updates.toLocaleString('en')} (1/${(base.updates / updates).toFixed(1)})  kept ${(keptBytes / 1e6).toFixed(1)} MB`,
    );
  }
}
