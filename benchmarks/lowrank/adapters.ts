/**
 * What a step costs with LoRA, LaMDA and LaMDA++ on real checkpoints: bytes, numbers that are updated, time.
 *
 *   npx tsx --conditions=@leantune/source benchmarks/lowrank/adapters.ts [--model minilm|stories15M] [--rank 8] [--freeze 0.15] [--turns 5] [--write]
 *
 * All linear layers of all blocks are adapted. Bytes are those of forward and backward above the weights, exact and the same in every
 * run. "Updates" are summed over a run of 1000 steps. LaMDA is measured as it begins, with all of B training, and as it is once B is
 * frozen: after `--freeze` of the run, for which lamda's default is 0.3. A time is processor time, the median of turns in which every
 * method makes one step after the other; next to LoRA's it says something.
 * peft is measured on the same models, batches and targets by `npm run bench -- minilm --only 'torch cpu: lora'`, at rank 8.
 */
import { writeFileSync } from 'node:fs';
import { parseArgs } from 'node:util';
import { miniLMCheckpoint, storiesCheckpoint } from '@leantune/assets';
import { useBackend } from '@leantune/backends';
import { adamW, finetune, measure, type Technique } from '@leantune/core';
import { decompose } from '@leantune/core/low-rank';
import { explainRanks, lamda, lamdaPlusPlus, updatesOf } from '@leantune/lamda';
import { lora } from '@leantune/lora';
import { fromPretrained, lossModel, meanLoss } from '@leantune/transformers';
import * as tf from '@tensorflow/tfjs-core';
import type { LayersModel } from '@tensorflow/tfjs-layers';

const { values } = parseArgs({
  options: {
    model: { type: 'string', default: 'minilm' },
    rank: { type: 'string', default: '8' },
    turns: { type: 'string', default: '5' },
    freeze: { type: 'string', default: '0.15' },
    write: { type: 'boolean', default: false },
  },
});
const [rank, turns] = [Number(values.rank), Number(values.turns)];
const STEPS = 1000;

interface Subject {
  readonly model: LayersModel;
  readonly targets: RegExp;
  loss(): tf.Scalar;
}

const ids = (rows: number, tokens: number, size: number) =>
  tf.tensor2d(
    Int32Array.from({ length: rows * tokens }, (_, i) => 1 + ((i * 7919) % (size - 1))),
    [rows, tokens],
    'int32',
  );

const subjects: { readonly [name: string]: () => Promise<Subject> } = {
  async minilm() {
    const model = await fromPretrained(await miniLMCheckpoint(), { task: 'sequence-classification', labels: 20, variant: 'fp16' });
    const [tokens, mask] = [ids(8, 128, 30_000), tf.ones([8, 128], 'int32')];
    const labels = tf.oneHot(tf.range(0, 8, 1, 'int32'), 20);
    const loss = () => tf.losses.softmaxCrossEntropy(labels, model.apply([tokens, mask], { training: true }) as tf.Tensor) as tf.Scalar;
    return { model, targets: /encoder\.layer\.\d+\..*(query|key|value|dense)$/, loss };
  },
  async stories15M() {
    const model = lossModel(await fromPretrained(await storiesCheckpoint()));
    const tokens = ids(4, 256, 32_000);
    const none = tf.zeros([1]);
    const loss = () => meanLoss(none, model.apply([tokens, tokens], { training: true }) as tf.Tensor);
    return { model, targets: /layers\.\d+\..*_proj$/, loss };
  },
};

interface Row {
  readonly method: string;
  readonly trainable: number;
  readonly updatesPerRun: number;
  readonly keptBytes: number;
  readonly peakAboveWeights: number;
  readonly milliseconds: number;
}

const median = (xs: readonly number[]): number => [...xs].sort((a, b) => a - b)[xs.length >> 1]!;

function measureBytes({ model, loss }: Subject, technique: Technique) {
  const tuned = finetune(model, technique);
  const run = () => {
    const { value, grads } = tuned.valueAndGrads(loss);
    tf.dispose([value, grads]);
  };
  run();
  const { memory } = measure(run, { model });
  const { trainable } = tuned.summary();
  tuned.dispose();
  return { trainable, keptBytes: memory.keptBytes, peakAboveWeights: memory.peakAboveWeights };
}

function milliseconds({ model, loss }: Subject, technique: Technique): number {
  const tuned = finetune(model, technique);
  const optimizer = tuned.optimizer(adamW({ learningRate: 1e-4 }));
  const step = () => {
    const start = process.cpuUsage();
    const value = tuned.minimize(loss, optimizer);
    value.dataSync();
    value.dispose();
    const { user, system } = process.cpuUsage(start);
    return (user + system) / 1000;
  };
  step();
  const time = step();
  optimizer.dispose();
  tuned.dispose();
  return time;
}

await useBackend('wasm');
const subject = await subjects[values.model]!();
const { targets } = subject;
const start = performance.now();
const svd = await decompose(subject.model, { rank: 2 * rank, targets });
const svdMilliseconds = Math.round(performance.now() - start);
const { ranks } = explainRanks(svd, { averageRank: rank });
const shapes = [...svd].map(([site, { u, v }]) => ({ site, dIn: u.rows, dOut: v.rows }));
const sum = (f: (shape: (typeof shapes)[number]) => number) => shapes.reduce((total, shape) => total + f(shape), 0);
const freezing = { steps: STEPS, freezeFraction: Number(values.freeze) };

const methods: { readonly [method: string]: { readonly make: () => Technique; readonly updates: number } } = {
  lora: { make: () => lora({ r: rank, lora_alpha: rank, targets }), updates: STEPS * sum(({ dIn, dOut }) => rank * (dIn + dOut)) },
  'lamda, step 0': { make: () => lamda({ rank, targets, svd }), updates: sum(({ dOut }) => updatesOf(rank, dOut, STEPS, freezing)) },
  'lamda, B frozen': {
    make: () => lamda({ rank, targets, svd, freezeFraction: 0 }),
    updates: sum(({ dOut }) => updatesOf(rank, dOut, STEPS, freezing)),
  },
  'lamda++, step 0': {
    make: () => lamdaPlusPlus({ averageRank: rank, targets, svd }),
    updates: sum(({ site, dOut }) => updatesOf(ranks[site]!, dOut, STEPS, freezing)),
  },
  'lamda++, B frozen': {
    make: () => lamdaPlusPlus({ averageRank: rank, targets, svd, freezeFraction: 0 }),
    updates: sum(({ site, dOut }) => updatesOf(ranks[site]!, dOut, STEPS, freezing)),
  },
};

const bytes = Object.entries(methods).map(([method, { make }]) => [method, measureBytes(subject, make())] as const);
const times = new Map(bytes.map(([method]) => [method, [] as number[]]));
for (let turn = 0; turn < turns; turn++)
  for (const [method, { make }] of Object.entries(methods)) times.get(method)!.push(milliseconds(subject, make()));
const rows = bytes.map(
  ([method, figures]): Row => ({
    method,
    ...figures,
    updatesPerRun: methods[method]!.updates,
    milliseconds: turns > 0 ? median(times.get(method)!) : Number.NaN,
  }),
);
const [base] = rows as [Row];
console.log(`${values.model}, rank ${rank}, ${shapes.length} layers, SVDs in ${svdMilliseconds} ms`);
for (const row of rows) {
  const ratio = (key: 'keptBytes' | 'peakAboveWeights' | 'milliseconds') => (row[key] / base[key]).toFixed(3);
  console.log(
    `${row.method.padEnd(18)} trainable ${row.trainable}  updates 1/${(base.updatesPerRun / row.updatesPerRun).toFixed(1)}  kept ${(row.keptBytes / 1e6).toFixed(2)} MB (${ratio('keptBytes')})  peak ${(row.peakAboveWeights / 1e6).toFixed(2)} MB (${ratio('peakAboveWeights')})  step ${row.milliseconds.toFixed(0)} ms (${ratio('milliseconds')})`,
  );
}
if (values.write) {
  const file = new URL(`./results/${values.model}${rank === 8 ? '' : `-rank${rank}`}.json`, import.meta.url);
  writeFileSync(
    file,
    `${JSON.stringify({ model: values.model, rank, freezeFraction: freezing.freezeFraction, backend: 'wasm', tfjs: tf.version_core, svdMilliseconds, ranks, rows }, null, 2)}\n`,
  );
}
