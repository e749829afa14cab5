/** The step in place against its equations in double precision. */

import { adamW } from '@leantune/core';
import { describeOn } from '@leantune/testing';
import * as tf from '@tensorflow/tfjs';
import { beforeEach, expect, test } from 'vitest';
import torch from '../../../core/test/fixtures/adamw.json' with { type: 'json' };
import { useBackend } from '../../src/index.ts';
import { adamWStep } from '../../src/tensorflow/index.ts';
import { distance, random } from '../compare.ts';

const [rate, beta1, beta2, epsilon, decay] = [0.01, 0.9, 0.999, 1e-8, 0.1];

/** As torch.optim.AdamW computes it, in double precision. */
function reference(w: number[], gradients: number[][]): number[] {
  const [m, v] = [w.map(() => 0), w.map(() => 0)];
  gradients.forEach((g, i) => {
    const t = i + 1;
    w = w.map((x, j) => {
      m[j] = beta1 * m[j]! + (1 - beta1) * g[j]!;
      v[j] = beta2 * v[j]! + (1 - beta2) * g[j]! ** 2;
      const denominator = Math.sqrt(v[j]!) / Math.sqrt(1 - beta2 ** t) + epsilon;
      return x * (1 - rate * decay) - ((rate / (1 - beta1 ** t)) * m[j]!) / denominator;
    });
  });
  return w;
}

function steps(w: tf.Variable, gradients: number[][]): void {
  const [m, v] = [tf.variable(tf.zerosLike(w)), tf.variable(tf.zerosLike(w))];
  gradients.forEach((values, i) => {
    const correction = Math.sqrt(1 - beta2 ** (i + 1));
    const alpha = (rate * correction) / (1 - beta1 ** (i + 1));
    const g = tf.tensor(values, w.shape);
    adamWStep(w, m, v, g, { alpha, epsilon: epsilon * correction, beta1, beta2, shrink: 1 - rate * decay });
    g.dispose();
  });
  tf.dispose([m, v]);
}

await describeOn('tensorflow', () => {
  beforeEach(() => useBackend('tensorflow').then(() => undefined));

  test.each([[[]], [[7]], [[5, 3]], [[3, 3, 2, 4]]])('five steps of a weight of shape %j are those of the equations', (shape) => {
    const before = tf.memory().numTensors;
    const start = random([tf.util.sizeFromShape(shape)]).data;
    const gradients = Array.from({ length: 5 }, (_, i) => random([start.length], i + 2).data);
    const w = tf.tidy(() => tf.variable(tf.tensor(start, shape)));
    tf.tidy(() => steps(w, gradients));
    expect(distance(w.dataSync(), reference(start, gradients))).toBeLessThan(2e-6);
    w.dispose();
    tf.disposeVariables();
    expect(tf.memory().numTensors).toBe(before);
  });

  test.each(torch.adamw)(
    'adamW of core takes the path of torch.optim.AdamW through it: $options',
    ({ options, start, gradients, path }) => {
      const before = tf.memory().numTensors;
      const variables = start.map((w) => tf.tidy(() => tf.variable(tf.tensor(w as number[]))));
      const data = variables.map(({ dataId }) => dataId);
      const optimizer = adamW(options);
      for (const [i, g] of gradients.entries()) {
        tf.tidy(() => optimizer.applyGradients(variables.map(({ name }, j) => ({ name, tensor: tf.tensor(g[j] as number[]) }))));
        for (const [j, w] of variables.entries()) expect(distance(w.dataSync(), [path[i]![j]!].flat(9) as number[])).toBeLessThan(2e-6);
      }
      expect(variables.map(({ dataId }) => dataId)).toEqual(data); // in place
      tf.dispose(variables);
      optimizer.dispose();
      expect(tf.memory().numTensors).toBe(before);
    },
  );

  test('clones and views keep the values they had', () => {
    const x = tf.tensor([1, 2, 3, 4]);
    const w = tf.variable(x); // shares its data with x
    const [clone, view] = [tf.clone(w), tf.reshape(w, [2, 2])];
    tf.tidy(() => steps(w, [[1, 1, 1, 1]]));
    for (const old of [x, clone, view]) expect([...old.dataSync()]).toEqual([1, 2, 3, 4]);
    expect(w.dataSync()[0]).toBeLessThan(1);
    tf.dispose([x, w, clone, view]);
    tf.disposeVariables();
  });

  test('a step that fails changes nothing', () => {
    const [w, m, v] = [tf.variable(tf.tensor([1, 2])), tf.variable(tf.tensor([3, 4])), tf.variable(tf.tensor([5, 6]))];
    const before = tf.memory().numTensors;
    tf.tidy(() => {
      const step = { alpha: 1, epsilon, beta1, beta2, shrink: 0.5 };
      expect(() => adamWStep(w, m, v, tf.ones([3]), step)).toThrow(/\[adamWStep\] got a gradient of shape \[3\]/);
    });
    expect([w, m, v].map((x) => [...x.dataSync()])).toEqual([
      [1, 2],
      [3, 4],
      [5, 6],
    ]);
    expect(tf.memory().numTensors).toBe(before);
    tf.dispose([w, m, v]);
  });
});
