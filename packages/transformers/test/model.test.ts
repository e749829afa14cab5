/** What a tfjs user does with a model from a checkpoint: predict, fit, save, load, and fine-tune parts of it. */
import { join } from 'node:path';
import { useBackend } from '@leantune/backends';
import { finetune, measure, valueAndGrads } from '@leantune/core';
import * as tf from '@tensorflow/tfjs';
import { afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { fromPretrained, lossModel, meanLoss } from '../src/index.ts';
import { fixtures } from './fixture.ts';

const load = (name: string, options = {}) => fromPretrained(join(fixtures, name), options);
const tokens = (seed: number, shape = [4, 8]) => tf.tidy(() => tf.randomUniform(shape, 3, 19, 'float32', seed).floor().toInt());

beforeAll(() => useBackend('cpu'));
let before: number;
beforeEach(() => {
  before = tf.memory().numTensors;
});
afterEach(() => expect(tf.memory().numTensors).toBe(before));

test('sites have the names of the checkpoint, are found by their last part, and say what they are', async () => {
  const model = await load('llama');
  const tuned = finetune(model, [], { trainable: ['q_proj', 'v_proj'] });
  expect(tuned.variables.map(({ name }) => name.replace(/_\d+$/, ''))).toEqual([
    'model.layers.0.self_attn.q_proj/kernel',
    'model.layers.0.self_attn.v_proj/kernel',
    'model.layers.1.self_attn.q_proj/kernel',
    'model.layers.1.self_attn.v_proj/kernel',
  ]);
  tuned.dispose();
  const kinds = new Map<string, string>();
  const seen = finetune(model, [
    {
      name: 'look',
      options: {},
      attach(view) {
        for (const site of view.sites()) kinds.set(site.name, `${site.kind} [${site.kernel?.shape ?? ''}]`);
        return { detach() {} };
      },
    },
  ]);
  seen.dispose();
  expect(kinds.get('model.layers.1.mlp.down_proj')).toBe('dense [12,8]');
  expect(kinds.get('model.embed_tokens')).toBe('embedding [19,8]');
  expect(kinds.get('model.norm')).toBe('layerNorm []');
  expect(kinds.get('model.layers.0.self_attn')).toBe('other []');
  model.dispose();
});

test.each(['llama3', 'gpt2', 'qwen3'])('%s learns a text by heart through model.fit, on tensors that fit frees', async (name) => {
  const model = await load(name);
  const trainer = lossModel(model);
  const tuned = finetune(trainer);
  trainer.compile({ optimizer: tuned.optimizer(tf.train.adam(0.01)), loss: meanLoss });
  const ids = tokens(1);
  const none = tf.zeros([4, 2]);
  const { history } = await trainer.fit([ids, ids], none, { epochs: 30, batchSize: 4, verbose: 0 });
  const [first, last] = [history['loss']![0] as number, history['loss']!.at(-1) as number];
  expect(last).toBeLessThan(first / 2);
  const logits = tf.tidy(() => (model.predict(ids) as tf.Tensor).argMax(-1).slice([0, 0], [-1, 7]));
  const right = tf.tidy(
    () =>
      logits
        .equal(ids.slice([0, 1], [-1, 7]))
        .sum()
        .dataSync()[0]!,
  );
  expect(right).toBeGreaterThan(14); // of 28; by chance 1.5
  tf.dispose([ids, none, logits]);
  tuned.dispose();
  trainer.optimizer.dispose();
  model.dispose();
  trainer.dispose();
});

test("tfjs's own fit, without finetune, gives the same gradients", async () => {
  const model = await load('qwen2');
  const trainer = lossModel(model);
  const ids = tokens(2);
  const loss = () => meanLoss(ids, trainer.apply([ids, ids], { training: true }) as tf.Tensor);
  const stock = tf.variableGrads(loss);
  const ours = valueAndGrads(loss);
  expect(Object.keys(ours.grads).length).toBe(model.weights.length);
  for (const [name, grad] of Object.entries(stock.grads)) {
    const [a, b] = [grad.dataSync(), ours.grads[name]!.dataSync()];
    for (let i = 0; i < a.length; i++) expect(b[i]!).toBeCloseTo(a[i]!, 5);
  }
  tf.dispose([ids, stock.value, stock.grads, ours.value, ours.grads] as tf.TensorContainer);
  model.dispose();
  trainer.dispose();
});

test.each(['llama3', 'gpt2', 'bert-sequence', 'roberta-token', 'deit', 'mistral'])('%s is saved and loaded by tfjs', async (name) => {
  const model = await load(name);
  let saved: tf.io.ModelArtifacts | undefined;
  await model.save(
    tf.io.withSaveHandler(async (artifacts) => {
      saved = artifacts;
      return { modelArtifactsInfo: tf.io.getModelArtifactsInfoForJSON(artifacts) };
    }),
  );
  const again = await tf.loadLayersModel(tf.io.fromMemory(saved!));
  const inputs = model.inputs.map(({ shape }) => (shape.length === 2 ? tokens(3) : tf.randomNormal([2, ...(shape.slice(1) as number[])])));
  if (inputs[1]) tf.dispose(inputs.splice(1, 1, tf.ones([4, 8], 'int32')));
  const [a, b] = [model.predict(inputs) as tf.Tensor, again.predict(inputs) as tf.Tensor];
  expect([...b.dataSync()]).toEqual([...a.dataSync()]);
  const weights = again.weights.map((w) => w.read());
  model.dispose();
  again.dispose();
  tf.dispose([a, b, ...inputs, ...weights]); // tfjs leaves the weights of a layer that was applied twice
});

describe('gradient checkpointing finds its segments, and changes no gradient', () => {
  test.each([
    ['a decoder', 'llama', {}, false],
    ['a decoder with a mask', 'llama', { inputs: ['input_ids', 'attention_mask'] }, false],
    ['a decoder that ends in losses', 'llama', { inputs: ['input_ids', 'attention_mask'] }, true],
    ['an encoder with a mask', 'bert-sequence', {}, false],
    ['an encoder with a mask and types', 'bert-sequence', { inputs: ['input_ids', 'attention_mask', 'token_type_ids'] }, false],
  ] as const)('of %s', async (_, name, options, losses) => {
    const base = await load(name, options);
    const model = losses ? lossModel(base) : base;
    const ids = tokens(4);
    const mask = tf.tidy(() =>
      tf.cast(tf.greater(tf.range(8, 0, -1, 'int32'), tf.tensor2d([[0], [3], [1], [0]], [4, 1], 'int32')), 'int32'),
    );
    const types = tf.zerosLike(ids);
    const known: { readonly [input: string]: tf.Tensor } = { input_ids: ids, attention_mask: mask, token_type_ids: types, labels: ids };
    const x = model.inputNames.map((input) => known[input]!);
    const step = (checkpoint: boolean) => {
      const tuned = finetune(model, [], { checkpoint });
      const loss = () => tf.mean(tf.square(model.apply(x, { training: true }) as tf.Tensor)) as tf.Scalar;
      const { result, memory } = measure(() => tuned.valueAndGrads(() => tf.tidy(loss)));
      const grads = Object.values(result.grads).map((g) => [...g.dataSync()]);
      tf.dispose([result.value, result.grads]);
      tuned.dispose();
      return { grads, kept: memory.keptBytes };
    };
    const [recomputed, kept] = [step(true), step(false)];
    expect(recomputed.grads).toEqual(kept.grads);
    expect(recomputed.kept).toBeLessThan(kept.kept);
    tf.dispose([ids, mask, types]);
    if (losses) model.dispose();
    base.dispose();
  });
});

describe('masks', () => {
  test('padding changes nothing for the other tokens, and documents in one row do not see each other', async () => {
    const model = await load('llama', { inputs: ['input_ids', 'attention_mask'] });
    tf.tidy(() => {
      const [a, b] = [tokens(5, [1, 4]), tokens(6, [1, 3])];
      const alone = [a, b].map((x) => model.predict([x, tf.onesLike(x)]) as tf.Tensor);
      const packed = tf.concat([a, b, tf.zeros([1, 2], 'int32')], 1);
      const mask = tf.tensor2d([[1, 1, 1, 1, 2, 2, 2, 0, 0]], [1, 9], 'int32');
      const out = tf.slice(model.predict([packed, mask]) as tf.Tensor, [0, 0, 0], [-1, 7, -1]);
      expect(tf.max(tf.abs(tf.sub(out, tf.concat(alone, 1)))).dataSync()[0]!).toBeLessThan(1e-5);
    });
    model.dispose();
  });
});

test('what waits for backward is what the blocks read: no scores, no logits', async () => {
  const model = await load('llama');
  const trainer = lossModel(model);
  const ids = tokens(7, [2, 16]);
  const { result, memory } = await measure(() =>
    valueAndGrads(() => meanLoss(ids, trainer.apply([ids, ids], { training: true }) as tf.Tensor)),
  );
  // RealDiv and Maximum are the mean over tokens
  expect([...new Set(memory.kept.map(({ kernel }) => kernel))].sort()).toEqual([
    'Attention',
    'BatchMatMul',
    'LinearCrossEntropy',
    'Maximum',
    'RealDiv',
    'RmsNorm',
    'SwiGlu',
  ]);
  tf.dispose([ids, result.value, result.grads] as tf.TensorContainer);
  model.dispose();
  trainer.dispose();
});
