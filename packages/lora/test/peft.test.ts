/** Files and arithmetic of real peft: fixtures by scripts/peft_fixtures.py. */
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { finetune } from '@leantune/core';
import { adaptersOf } from '@leantune/core/low-rank';
import { floatsOf, readSafetensors } from '@leantune/core/safetensors';
import '@leantune/testing';
import * as tf from '@tensorflow/tfjs';
import { beforeAll, describe, expect, test } from 'vitest';
import { exportPeft, importPeft, lora, type PeftConfig, type PeftFiles } from '../src/index.ts';
import { isTarget } from '../src/target-modules.ts';

interface Numbers {
  readonly shape: number[];
  readonly data: number[];
}

interface Case {
  readonly base: { readonly [name: string]: Numbers };
  readonly x: Numbers;
  readonly plain: Numbers;
  readonly files: { readonly config: string; readonly weights: string };
  readonly y: Numbers;
  readonly after: { readonly config: string; readonly weights: string };
  readonly yAfter: Numbers;
}

const { cases, rate, modules, targets } = JSON.parse(readFileSync(join(import.meta.dirname, 'fixtures/peft.json'), 'utf8')) as {
  readonly cases: { readonly [name: string]: Case };
  readonly rate: number;
  readonly modules: readonly string[];
  readonly targets: readonly { readonly config: PeftConfig; readonly modules: readonly string[] }[];
};

/** Set to a folder to get what `peft_fixtures.py check` reads. */
const out = process.env['PEFT_OUT'];

const filesOf = ({ config, weights }: Case['files']): PeftFiles => ({ config, weights: new Uint8Array(Buffer.from(weights, 'base64')) });

async function read(weights: Uint8Array): Promise<{ [name: string]: { shape: readonly number[]; data: Float32Array } }> {
  const tensors: { [name: string]: { shape: readonly number[]; data: Float32Array } } = {};
  for await (const tensor of readSafetensors([weights])) tensors[tensor.name] = { shape: tensor.shape, data: floatsOf(tensor) };
  return tensors;
}

/** [out, in, …] of torch to […, in, out]. */
function tensorOf({ shape, data }: Numbers, isTable: boolean): tf.Tensor {
  const t = tf.tensor(data, shape);
  return shape.length === 1 || isTable ? t : tf.transpose(t, [...shape.map((_, i) => i).slice(2), 1, 0]);
}

function modelOf({ base, x }: Case) {
  const text = 'emb.weight' in base;
  const layers = text
    ? [
        tf.layers.embedding({ inputDim: 11, outputDim: 6, inputLength: 4, name: 'emb' }),
        tf.layers.globalAveragePooling1d({}),
        tf.layers.dense({ units: 3, name: 'fc' }),
      ]
    : [
        tf.layers.conv2d({ inputShape: [5, 5, 2], filters: 4, kernelSize: 3, padding: 'same', activation: 'relu', name: 'conv' }),
        tf.layers.conv2d({ filters: 6, kernelSize: 1, activation: 'tanh', name: 'point' }),
        tf.layers.globalAveragePooling2d({}),
        tf.layers.dense({ units: 5, activation: 'tanh', name: 'fc1' }),
        tf.layers.dense({ units: 4, activation: 'tanh', name: 'fc2' }),
        tf.layers.dense({ units: 3, name: 'head' }),
      ];
  const model = tf.sequential({ layers });
  for (const layer of model.layers) {
    const parts = ['weight', 'bias'].flatMap((part) => base[`${layer.name}.${part}`] ?? []);
    if (parts.length > 0) layer.setWeights(parts.map((part) => tensorOf(part, layer.name === 'emb')));
  }
  const input = text ? tf.tensor(x.data, x.shape) : tf.transpose(tf.tensor(x.data, x.shape), [0, 2, 3, 1]);
  return { model, predict: () => model.apply(input, { training: true }) as tf.Tensor };
}

const bound = { rel: 1e-5, because: 'float32 in another order' };

beforeAll(async () => {
  await tf.setBackend('cpu');
});

describe.each(Object.entries(cases))('an adapter of peft, %s', (name, one) => {
  test('computes what it computes in peft, also without, merged, and merged for a while', async () => {
    const { model, predict } = modelOf(one);
    expect(predict()).toBeClose(one.plain.data, bound);
    const tuned = finetune(model, await importPeft(filesOf(one.files)));
    expect(predict()).toBeClose(one.y.data, bound);
    if (!one.files.config.includes('"head"')) tuned.disabled(() => expect(predict()).toBeClose(one.plain.data, bound));
    const before = model.getWeights().map((w) => w.clone());
    adaptersOf(model).merge();
    expect(predict()).toBeClose(one.y.data, bound);
    adaptersOf(model).unmerge();
    for (const [i, w] of model.getWeights().entries()) expect(w).toBeBitEqual(before[i]!);
    tuned.merge();
    expect(predict()).toBeClose(one.y.data, bound);
  });

  test('has, after a step of gradient descent, the weights it has in peft', async () => {
    const { model, predict } = modelOf(one);
    const tuned = finetune(model, await importPeft(filesOf(one.files)));
    const optimizer = tuned.optimizer(tf.train.sgd(rate));
    tuned.minimize(() => predict().square().mean() as tf.Scalar, optimizer).dispose();
    const [ours, theirs] = [await read((await exportPeft(model)).weights), await read(filesOf(one.after).weights)];
    expect(Object.keys(ours).sort()).toEqual(Object.keys(theirs).sort());
    for (const key in theirs) expect(ours[key]!.data, key).toBeClose(theirs[key]!.data, { rel: 2e-5, because: 'float32 in another order' });
    expect(predict()).toBeClose(one.yAfter.data, { rel: 2e-5, because: 'float32 in another order' });
    if (out) await write(join(out, name), model, predict());
    tuned.dispose();
  });

  test('leaves in the file it came in: names, shapes, values, and the fields of the config', async () => {
    const { model } = modelOf(one);
    const tuned = finetune(model, await importPeft(filesOf(one.files)));
    const files = await exportPeft(model);
    const [ours, theirs] = [await read(files.weights), await read(filesOf(one.files).weights)];
    expect(Object.keys(ours).sort()).toEqual(Object.keys(theirs).sort());
    for (const key in theirs) expect(ours[key]).toEqual(theirs[key]);
    const [config, given] = [JSON.parse(files.config), JSON.parse(one.files.config)];
    for (const field of ['r', 'lora_alpha', 'lora_dropout', 'use_rslora', 'use_dora', 'rank_pattern', 'alpha_pattern', 'peft_type', 'bias'])
      expect(config[field], field).toEqual(given[field]);
    expect(config.target_modules.sort()).toEqual(given.target_modules.sort());
    tuned.dispose();
  });
});

async function write(folder: string, model: object, y: tf.Tensor): Promise<void> {
  const { config, weights } = await exportPeft(model);
  mkdirSync(folder, { recursive: true });
  writeFileSync(join(folder, 'adapter_config.json'), config);
  writeFileSync(join(folder, 'adapter_model.safetensors'), weights);
  writeFileSync(join(folder, 'output.json'), JSON.stringify(Array.from(y.dataSync())));
}

test.each([
  ['conv', ['conv', 'point', 'fc1']],
  ['embedding', ['emb', 'fc']],
])('what is no LoRA, such as a trained PiSSA, leaves as the LoRA with the same product: %s', async (name, modules) => {
  const { model, predict } = modelOf(cases[name]!);
  const tuned = finetune(model, lora({ r: 2, init_lora_weights: 'pissa', target_modules: modules }));
  const optimizer = tuned.optimizer(tf.train.sgd(rate));
  for (let i = 0; i < 3; i++) tuned.minimize(() => predict().square().mean() as tf.Scalar, optimizer).dispose();
  const files = await exportPeft(model);
  expect(JSON.parse(files.config)).toMatchObject({ r: 4, lora_alpha: 4 }); // that of the beginning is taken away beside
  const other = modelOf(cases[name]!);
  const plain = other.predict().sub(predict()).abs().max().dataSync()[0];
  expect(plain).toBeGreaterThan(1e-3);
  finetune(other.model, await importPeft(files));
  expect(other.predict()).toBeClose(predict(), bound);
  if (out) await write(join(out, `${name}@product`), model, predict());
  tuned.dispose();
});

test.each(targets)('$config selects the modules that peft selects', ({ config, modules: expected }) => {
  expect(modules.filter((module) => isTarget(config, module))).toEqual(expected);
});

test('a file that does not fit is refused with every fault, and nothing has changed', async () => {
  const linear = cases['linear']!;
  const { model } = modelOf(cases['conv']!);
  const before = [model.getWeights().map((w) => Array.from(w.dataSync())), tf.memory().numTensors];
  const config = JSON.stringify({ ...JSON.parse(linear.files.config), target_modules: ['fc1', 'conv'], modules_to_save: null });
  const technique = await importPeft({ ...filesOf(linear.files), config });
  expect(() => finetune(model, technique)).toThrow(
    [
      '[importPeft] the adapter does not fit this layers model:',
      '- "conv.lora_A.weight" [3,2,3,3] is missing',
      '- "conv.lora_B.weight" [4,3,1,1] is missing',
      '- "fc2.lora_A.weight" [2,5] belongs to nothing that is adapted',
      '- "fc2.lora_B.weight" [4,2] belongs to nothing that is adapted',
      '- "head.bias" [3] belongs to nothing that is adapted',
      '- "head.weight" [3,4] belongs to nothing that is adapted',
    ].join('\n'),
  );
  expect([model.getWeights().map((w) => Array.from(w.dataSync())), tf.memory().numTensors]).toEqual(before);
});

test('files that are cut short, and adapters of another kind, are refused', async () => {
  const { config, weights } = filesOf(cases['conv']!.files);
  for (const end of [4, -4])
    await expect(importPeft({ config, weights: weights.slice(0, end) })).rejects.toThrow('adapter_model.safetensors');
  await expect(importPeft({ config: '{ "peft_type": "IA3" }', weights })).rejects.toThrow(
    '[importPeft] got an adapter of type IA3; expected LORA. Convert it in Python.',
  );
});

test('a config of peft whose fields are damaged is refused with all of them, and one whose ranks the weights have not when attached', async () => {
  const { config, weights } = filesOf(cases['conv']!.files);
  const damaged = { ...JSON.parse(config), r: '4', rank_pattern: { '(': 2 }, target_modules: 5, use_dora: 'no' };
  await expect(importPeft({ config: JSON.stringify(damaged), weights })).rejects.toThrow(
    'adapter_config.json has r = "4" (expected a number), target_modules = 5 (expected a name or a list of names), use_dora = "no" (expected true or false)',
  );
  await expect(importPeft({ config: JSON.stringify({ ...JSON.parse(config), rank_pattern: { '(': 2 } }), weights })).rejects.toThrow(
    'the pattern "(" is none',
  );
  for (const text of ['{', 'null', '[]'])
    await expect(importPeft({ config: text, weights })).rejects.toThrow('[importPeft] adapter_config.json');
  const technique = await importPeft({ config: JSON.stringify({ ...JSON.parse(config), r: 2 ** 31, rank_pattern: {} }), weights });
  const { model } = modelOf(cases['conv']!);
  expect(() => finetune(model, technique)).toThrow('gives ranks that no tensor has');
});
