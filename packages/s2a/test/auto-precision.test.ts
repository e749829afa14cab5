import { useBackend } from '@leantune/backends';
import { finetune, measure } from '@leantune/core';
import { attentionFunction } from '@leantune/testing';
import * as tf from '@tensorflow/tfjs';
import { beforeAll, describe, expect, test } from 'vitest';
import { allocate } from '../src/auto-precision.ts';
import { autoPrecision, biasTuning, fourBit, lowRankPrompt, s2a } from '../src/index.ts';

beforeAll(() => useBackend('cpu'));

describe('bits within a budget', () => {
  const costs = [
    { place: 'sensitive', elements: 800, cost: 1 },
    { place: 'robust', elements: 800, cost: 1e-6 },
  ];

  test('go first to the place whose rounding hurts most', () => {
    expect(allocate(costs, 200)).toEqual({ sensitive: 1, robust: 1 });
    expect(allocate(costs, 300)).toEqual({ sensitive: 2, robust: 1 });
    expect(allocate(costs, 500)).toEqual({ sensitive: 4, robust: 1 });
    expect(allocate(costs, 900)).toEqual({ sensitive: 8, robust: 1 });
    expect(allocate(costs, 1e6)).toEqual({ sensitive: 32, robust: 32 });
  });

  test('are the best of all assignments, for places of one size', () => {
    const all = [1, 2, 4, 8, 16, 32] as const;
    const three = [0.3, 0.02, 1].map((cost, i) => ({ place: `${i}`, elements: 80, cost }));
    const error = (bits: readonly number[]) => three.reduce((sum, { cost }, i) => sum + cost * 4 ** -bits[i]!, 0);
    const found = Object.values(allocate(three, 140)).map(Number);
    const others = all
      .flatMap((a) => all.flatMap((b) => all.map((c) => [a, b, c])))
      .filter((bits) => bits.reduce<number>((sum, b) => sum + b * 10, 0) <= 140);
    expect(error(found)).toBeLessThanOrEqual(Math.min(...others.map(error)) * 1.000001);
  });

  test('cannot be fewer than one a value, and the error says how many bytes that takes', () => {
    expect(() => allocate(costs, 199)).toThrow(
      '[autoPrecision] got a budget of 199 bytes, below the 200 that 1 bit a value takes. Raise it, or use a smaller batch.',
    );
    expect(() => autoPrecision({ budget: 0 })).toThrow('[autoPrecision] got budget 0; expected bytes above 0. 1e6 is a megabyte.');
  });
});

test('a calibrated model keeps what its plan says, and its file holds the plan', () => {
  const tiny = attentionFunction(2);
  const auto = autoPrecision({ budget: 400 });
  const tuned = finetune(tiny.model, auto);
  const plan = auto.calibrate(tuned, () => tiny.loss());
  expect(Object.keys(plan).length).toBeGreaterThan(1);
  expect(auto.options).toEqual({ budget: 400, plan });
  const step = () => {
    const { value, grads } = tuned.valueAndGrads(() => tiny.loss());
    tf.dispose([value, grads]);
  };
  const [first, second] = [measure(step).memory.keptBytes, measure(step).memory.keptBytes];
  expect(second).toBe(first); // places have the same names in every pass
  tuned.dispose();
  tiny.dispose();
});

test('s2a() is the three modules and fourBit, each of which can be left out', () => {
  const names = (techniques: readonly { readonly name: string }[]) => techniques.map(({ name }) => name);
  expect(names(s2a())).toEqual(['biasTuning', 'lowRankPrompt', 'liteSideBranch', 'fourBit']);
  expect(names(s2a({ side: false, prompt: false }))).toEqual([biasTuning(), fourBit()].map(({ name }) => name));
});

test('a prompt of several positions is one row a token, and longer inputs are refused', () => {
  const kernel = tf.variable(tf.eye(3));
  const tuned = finetune({ kernel }, lowRankPrompt({ rank: 2, positions: 2 }));
  const [a, b] = tuned.variables as [tf.Variable, tf.Variable];
  a.assign(tf.tensor2d([1, 0, 0, 1], [2, 2]));
  b.assign(tf.tensor2d([1, 2, 3, 4, 5, 6], [2, 3]));
  const out = tf.tidy(() => Array.from(tf.matMul(tf.zeros([4, 3]), kernel as tf.Tensor as tf.Tensor2D).dataSync()));
  expect(out).toEqual([1, 2, 3, 4, 5, 6, 1, 2, 3, 4, 5, 6]); // two examples of two tokens
  expect(() => tf.tidy(() => tf.matMul(tf.zeros([3, 3]), kernel as tf.Tensor as tf.Tensor2D))).toThrow(
    '[lowRankPrompt] got [3,3] at "kernel"',
  );
  tuned.dispose();
  kernel.dispose();
});
