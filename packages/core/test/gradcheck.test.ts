import * as tf from '@tensorflow/tfjs';
import { beforeAll, describe, expect, test } from 'vitest';
import { gradcheck } from '../src/autograd/gradcheck.ts';
import { FinetuneError } from '../src/errors.ts';

beforeAll(async () => {
  await tf.setBackend('cpu');
});

const random = (shape: number[], seed: number): tf.Tensor => tf.randomNormal(shape, 0, 1, 'float32', seed);

/** x² with the gradient k · x; right for k = 2. */
const squareWith = (k: number): ((x: tf.Tensor) => tf.Tensor) =>
  tf.customGrad((x, save) => {
    (save as tf.GradSaveFunc)([x as tf.Tensor]);
    return { value: (x as tf.Tensor).square(), gradFunc: (dy: tf.Tensor, [saved]: tf.Tensor[]) => dy.mul(saved!).mul(k) };
  });

describe('right gradients pass, to far below the tolerance', () => {
  const smooth: { [name: string]: [(...xs: tf.Tensor[]) => tf.Tensor, number[][]] } = {
    'matMul, tanh': [
      (a, b) => tf.tanh(tf.matMul(a as tf.Tensor2D, b as tf.Tensor2D)),
      [
        [3, 4],
        [4, 2],
      ],
    ],
    'softmax cross entropy': [
      (x) =>
        tf
          .logSoftmax(x)
          .mul([
            [1, 0, 0],
            [0, 1, 0],
          ])
          .sum(),
      [[2, 3]],
    ],
    'conv2d, mean': [
      (x, w) =>
        tf
          .conv2d(x as tf.Tensor4D, w as tf.Tensor4D, 1, 'same')
          .sigmoid()
          .mean(),
      [
        [1, 4, 4, 2],
        [3, 3, 2, 2],
      ],
    ],
    'a large input along directions': [
      (x, w) => tf.matMul(x as tf.Tensor2D, w as tf.Tensor2D).sigmoid(),
      [
        [20, 30],
        [30, 10],
      ],
    ],
    'an input of large numbers': [(x) => tf.mul(x, 1000).square().mean(), [[5]]],
  };
  test.each(Object.entries(smooth))('%s', async (_name, [f, shapes]) => {
    const xs = shapes.map((shape, i) => random(shape, i + 1));
    const before = tf.memory().numTensors;
    const report = await gradcheck(f, xs, { assert: true });
    expect(report.ok).toBe(true);
    expect(report.maxError).toBeLessThan(2e-4);
    expect(tf.memory().numTensors).toBe(before);
  });
});

test('ReLU passes where no step crosses its kink', async () => {
  const x = tf.tensor1d([-2, -1, 1, 3]);
  expect(await gradcheck((t) => tf.relu(t), [x])).toMatchObject({ ok: true });
});

test('gradients from elsewhere are held against the same differences', async () => {
  const x = random([4], 1);
  const f = (t: tf.Tensor): tf.Tensor => t.square().sum();
  expect((await gradcheck(f, [x], { analytic: [x.mul(2)] })).ok).toBe(true);
  expect(await gradcheck(f, [x], { analytic: [x.mul(2.1)] })).toMatchObject({ ok: false, worst: { input: 0 } });
});

test('an input that f does not read has the gradient zero', async () => {
  const report = await gradcheck((a) => a.square(), [random([3], 1), random([3], 2)]);
  expect(report.ok).toBe(true);
});

describe.each(['full', 'directions'] as const)('in mode %s', (mode) => {
  test('a gradient that is 1 % off fails, and the worst place is named', async () => {
    const xs = [random([3], 1), random([4], 2)];
    const report = await gradcheck((a, b) => a.square().sum().add(squareWith(2.02)(b).sum()), xs, { mode });
    expect(report.ok).toBe(false);
    expect(report.worst.input).toBe(1);
    expect(report.maxError).toBeGreaterThan(5e-3);
    expect(report.worst.analytic / report.worst.numeric).toBeCloseTo(1.01, 3);
  });

  test('one wrong element among many fails', async () => {
    const x = random([100], 1);
    const mask = tf.oneHot(tf.scalar(17, 'int32'), 100).toFloat();
    const f = (t: tf.Tensor): tf.Tensor => squareWith(4)(t.mul(mask)).add(t.mul(tf.sub(1, mask)).square());
    const report = await gradcheck(f, [x], { mode });
    expect(report.ok).toBe(false);
    if (mode === 'full') expect(report.worst.index).toBe(17);
  });
});

test('variables are moved by assign, and put back bit for bit', async () => {
  const v = tf.variable(random([4], 3), true, 'gradcheck/v');
  const before = v.dataSync().slice();
  const { numTensors } = tf.memory();
  expect((await gradcheck(() => v.exp().sum(), [v])).ok).toBe(true);
  const error = await gradcheck(() => squareWith(3)(v), [v], { assert: true }).catch((e: unknown) => e);
  expect(FinetuneError.is(error) && error.code).toBe('no-gradient');
  expect((error as Error).message).toMatch(
    /^\[gradcheck\] the gradient of input 0 \("gradcheck\/v"\) at \d is .*; finite differences give /,
  );
  expect(v.dataSync()).toEqual(before);
  expect(tf.memory().numTensors).toBe(numTensors);
});

test('variables are put back when f throws half way', async () => {
  const v = tf.variable(tf.tensor1d([1, 2]));
  let runs = 0;
  const f = (): tf.Tensor => {
    if (++runs > 6) throw new Error('stop');
    return v.square();
  };
  await expect(gradcheck(f, [v])).rejects.toThrow('stop');
  expect([...v.dataSync()]).toEqual([1, 2]);
});

test('equal seeds give equal reports', async () => {
  const f = (x: tf.Tensor): tf.Tensor => x.sin();
  const run = (seed: number): ReturnType<typeof gradcheck> => gradcheck(f, [random([70], 1)], { seed });
  expect(await run(5)).toEqual(await run(5));
  expect((await run(6)).maxError).not.toBe((await run(5)).maxError);
});

test('what cannot be checked is an error that says why', async () => {
  await expect(gradcheck((x) => x, [])).rejects.toThrow('[gradcheck] got no inputs; expected float32 tensors.');
  await expect(gradcheck((x) => x.toFloat(), [tf.tensor1d([1], 'int32')])).rejects.toThrow('input 0 of dtype int32');
  await expect(gradcheck((x) => tf.dropout(x, 0.5), [random([20], 1)])).rejects.toMatchObject({ code: 'bad-loss' });
});
