/**
 * Every architecture, held to PyTorch: outputs, losses, and the gradient of every parameter, on tiny random checkpoints that
 * `fixtures/make.py` wrote with Hugging Face's own classes.
 */
import { join } from 'node:path';
import { useBackend } from '@leantune/backends';
import { valueAndGrads } from '@leantune/core';
import { available } from '@leantune/testing';
import * as tf from '@tensorflow/tfjs';
import { afterAll, describe, expect, test } from 'vitest';
import { fromPretrained, lossModel, meanLoss } from '../src/index.ts';
import { axes } from '../src/layers/stored.ts';
import { slotsOf } from '../src/weights.ts';
import { type Expected, farthest, fixtures, readExpected, tensorOf } from './fixture.ts';

const CLOSE = 1e-4;

const names = [
  'llama',
  'llama3',
  'llama-linear',
  'qwen2',
  'qwen2-yarn',
  'qwen3',
  'mistral',
  'gpt2',
  'bert',
  'bert-sequence',
  'bert-token',
  'distilbert-sequence',
  'distilbert-token',
  'roberta-sequence',
  'roberta-token',
  'vit',
  'deit',
];

/** The loss that make.py differentiated. */
function lossOf(model: tf.LayersModel, inputs: tf.Tensor[], expected: ReadonlyMap<string, Expected>): tf.Scalar {
  const labels = expected.get('in.labels');
  if (model.name.endsWith('_loss'))
    return meanLoss(tf.scalar(0), model.apply([...inputs, tensorOf(labels!)], { training: true }) as tf.Tensor);
  const out = model.apply(inputs, { training: true }) as tf.Tensor;
  if (!labels) return tf.sum(tf.mul(out, tensorOf(expected.get('in.probe')!)));
  const rows = tf.reshape(out, [-1, out.shape.at(-1)!]);
  const ids = tf.reshape(tensorOf(labels), [-1]);
  const counted = tf.cast(tf.greaterEqual(ids, 0), 'float32');
  const own = tf.sum(tf.mul(tf.logSoftmax(rows), tf.oneHot(tf.maximum(ids, 0).toInt() as tf.Tensor1D, rows.shape[1]!)), 1);
  return tf.neg(tf.div(tf.sum(tf.mul(own, counted)), tf.sum(counted))) as tf.Scalar;
}

describe.each(await available(['cpu', 'wasm', 'tensorflow', 'webgpu']))('%s', (backend) => {
  afterAll(() => tf.disposeVariables());

  test.each(names)('%s equals PyTorch in output, loss and every gradient', async (name) => {
    await useBackend(backend);
    const expected = await readExpected(name);
    const model = await fromPretrained(join(fixtures, name));
    const before = tf.memory().numTensors;
    tf.tidy(() => {
      const inputs = model.inputNames.map((input) => {
        const x = tensorOf(expected.get(`in.${input}`)!);
        return input === 'pixel_values' ? tf.transpose(x, [0, 2, 3, 1]) : x;
      });
      const out = model.predict(inputs) as tf.Tensor;
      expect(out.shape).toEqual(expected.get('out')!.shape);
      const mask = expected.get('in.attention_mask');
      expect(farthest(realOf(out, mask), realOf(tensorOf(expected.get('out')!), mask))).toBeLessThan(CLOSE);
      const trained = out.rank === 3 && expected.has('in.labels') && model.inputs.length === 1 ? lossModel(model) : model;
      const { value, grads } = valueAndGrads(() => lossOf(trained, inputs, expected));
      // A probe's terms nearly cancel (bert: to 0.05 of 65): the sum is held to a millionth of them.
      const probe = expected.get('in.probe');
      const terms = probe && tf.sum(tf.abs(tf.mul(out, tensorOf(probe)))).dataSync()[0]!;
      expect(farthest(value.dataSync(), expected.get('loss')!.values, terms && terms / 100)).toBeLessThan(CLOSE);
      // Softmax does not see a constant: the gradient of a key's bias is 0, and both have rounding there, small beside other gradients.
      const largest = Math.max(...[...expected].flatMap(([key, { values }]) => (key.startsWith('grad.') ? [...values] : [])).map(Math.abs));
      const floorOf = (parameter: string) => (/\b(key|k_lin)\.bias$/.test(parameter) ? largest / 100 : undefined);
      const far: [name: string, difference: number][] = [];
      for (const [parameter, { weight, layout }] of slotsOf(model)) {
        const grad = grads[(weight.read() as tf.Variable).name];
        const theirs = expected.get(`grad.${parameter}`);
        const ours = grad && axes[layout] ? tf.transpose(grad, inverse([...axes[layout]])) : grad;
        if (theirs || ours) far.push([parameter, farthest(ours?.dataSync() ?? [], theirs?.values ?? [], floorOf(parameter))]);
      }
      expect(far.filter(([, difference]) => !(difference < CLOSE))).toEqual([]);
      expect(far.length).toBe([...expected.keys()].filter((key) => key.startsWith('grad.')).length);
    });
    expect(tf.memory().numTensors).toBe(before);
    model.dispose();
  });
});

/** Hidden states of padding are nobody's. */
function realOf(out: tf.Tensor, mask: Expected | undefined): ArrayLike<number> {
  if (!mask || out.rank < 3) return out.dataSync();
  return tf.mul(out, tf.expandDims(tensorOf(mask), 2)).dataSync();
}

const inverse = (perm: number[]): number[] => perm.map((_, i) => perm.indexOf(i));
