/** The tape alone gives the gradients of stock tfjs, bit for bit, on every tiny model. */
import { finetune } from '@leantune/core';
import * as tf from '@tensorflow/tfjs';
import { beforeAll, expect, test } from 'vitest';
import { tinyModels } from '../src/models/index.ts';
import '../src/matchers.ts';

beforeAll(async () => {
  await tf.setBackend('cpu');
});

test.each(Object.entries(tinyModels))('loss and gradients of %s are those of tf.variableGrads, to the bit', async (_name, make) => {
  const tiny = await make(7);
  const tuned = finetune(tiny.model as never);
  const ours = tuned.valueAndGrads(() => tiny.loss());
  const stock = tf.variableGrads(() => tiny.loss(), [...tuned.variables]);
  expect(Object.keys(ours.grads).sort()).toEqual(Object.keys(stock.grads).sort());
  expect(ours.value).toBeBitEqual(stock.value);
  for (const name in stock.grads) expect(ours.grads[name], name).toBeBitEqual(stock.grads[name]!);
  tf.dispose([ours.value, ours.grads, stock.value, stock.grads]);
  tuned.dispose();
  tiny.dispose();
});
