/** `tf.train.sgd` in place. */
import { finetune } from '@leantune/core';
import { describeOn } from '@leantune/testing';
import * as tf from '@tensorflow/tfjs';
import { beforeAll, expect, test, vi } from 'vitest';
import { useBackend } from '../../src/index.ts';

await describeOn('tensorflow', () => {
  beforeAll(() => useBackend('tensorflow').then(() => undefined));

  test('a step of tf.train.sgd moves weights where they lie, and no clone of them', () => {
    const weight = tf.variable(tf.tensor1d([1, 2, 3]));
    const clone = weight.clone();
    const tuned = finetune({ weight }, [], { trainable: ['weight'] });
    const before = tf.memory().numTensors;
    const assign = vi.spyOn(tf.Variable.prototype, 'assign');
    const optimizer = tf.train.sgd(0.5);
    for (let i = 0; i < 2; i++) tuned.minimize(() => tf.sum(tf.square(weight)), optimizer).dispose();
    expect(assign).toHaveBeenCalledTimes(1); // the first step finds a clone on the buffer, and moves off it
    assign.mockRestore();
    expect([...weight.dataSync()]).toEqual([0, 0, 0]);
    expect([...clone.dataSync()]).toEqual([1, 2, 3]);
    expect(tf.memory().numTensors).toBe(before + 1); // the optimizer's learning rate
    tuned.dispose();
    tf.dispose([weight, clone]);
    optimizer.dispose();
  });
});
