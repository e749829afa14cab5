import * as tf from '@tensorflow/tfjs';
import { describe, expect, test } from 'vitest';
import { constant, cosine, join, linear, type Schedule, setLearningRate, warmup, warmupCosine } from '../src/optimizers/schedules.ts';

const at = (schedule: Schedule, steps: number[]) => steps.map(schedule);

describe('schedules', () => {
  test('constant never changes', () => {
    expect(at(constant(0.1), [0, 1, 1e6])).toEqual([0.1, 0.1, 0.1]);
  });

  test('linear starts at from, reaches to after steps, and stays there', () => {
    expect(at(linear({ from: 1, to: 0, steps: 4 }), [0, 1, 2, 4, 5, 1e6])).toEqual([1, 0.75, 0.5, 0, 0, 0]);
  });

  test('cosine is half a period from peak to end, and stays there', () => {
    const [start, quarter, middle, last, beyond] = at(cosine({ peak: 3, end: 1, steps: 8 }), [0, 2, 4, 8, 9]);
    expect([start, last, beyond]).toEqual([3, 1, 1]);
    expect(middle).toBeCloseTo(2, 12);
    expect(quarter).toBeCloseTo(2 + Math.SQRT1_2, 12);
    expect(cosine({ peak: 1, steps: 1 })(1)).toBe(0);
  });

  test('warmup rises from 0 to what the next schedule starts with, and hands over with its steps counted from 0', () => {
    const seen: number[] = [];
    const then: Schedule = (step) => {
      seen.push(step);
      return 2;
    };
    expect(at(warmup(4, then), [0, 1, 4, 6])).toEqual([0, 0.5, 2, 2]);
    expect(seen).toEqual([0, 0, 2]); // once for its first rate, then for steps 4 and 6
  });

  test('warmupCosine peaks after warmupSteps and ends after steps', () => {
    const schedule = warmupCosine({ peak: 1, warmupSteps: 10, steps: 30, end: 0.2 });
    const [first, middle, peak, down, last, beyond] = at(schedule, [0, 5, 10, 20, 30, 31]);
    expect([first, middle, peak, last, beyond]).toEqual([0, 0.5, 1, 0.2, 0.2]);
    expect(down).toBeCloseTo(0.6, 12);
  });

  test('join switches at each boundary', () => {
    const schedule = join([constant(1), linear({ from: 0, to: 1, steps: 2 }), constant(3)], [2, 5]);
    expect(at(schedule, [0, 1, 2, 3, 4, 5, 6])).toEqual([1, 1, 0, 0.5, 1, 3, 3]);
    expect(at(join([constant(7)], []), [0, 9])).toEqual([7, 7]);
  });

  test('bad numbers are refused, all in one message', () => {
    expect(() => linear({ from: -1, to: Number.NaN, steps: 0 })).toThrowErrorMatchingInlineSnapshot(
      `[FinetuneError: [linear] got from = -1; expected a finite rate >= 0, to = NaN; expected a finite rate >= 0, steps = 0; expected a whole number >= 1.]`,
    );
    expect(() => cosine({ peak: 1, steps: 0 })).toThrow('steps = 0; expected a whole number >= 1');
    expect(() => warmup(0, constant(1))).toThrow('steps = 0');
    expect(() => warmupCosine({ peak: 1, warmupSteps: 10, steps: 10 })).toThrow('steps - warmupSteps = 0');
    expect(() => constant(Infinity)).toThrow('rate = Infinity');
    for (const boundaries of [[], [2, 2], [0], [1.5]]) expect(() => join([constant(1), constant(2)], boundaries)).toThrow('[join]');
  });
});

describe('setLearningRate', () => {
  const optimizers: { [name: string]: (rate: number) => tf.Optimizer } = {
    sgd: (rate) => tf.train.sgd(rate),
    momentum: (rate) => tf.train.momentum(rate, 0.9),
    adam: (rate) => tf.train.adam(rate),
    adamax: (rate) => tf.train.adamax(rate),
    adagrad: (rate) => tf.train.adagrad(rate),
    rmsprop: (rate) => tf.train.rmsprop(rate),
    adadelta: (rate) => tf.train.adadelta(rate),
  };

  test.each(Object.entries(optimizers))('%s then steps as one made with that rate', async (_, make) => {
    const run = async (optimizer: tf.Optimizer) => {
      const w = tf.variable(tf.tensor1d([1, -2, 3]));
      for (let i = 0; i < 3; i++) optimizer.minimize(() => tf.sum(tf.square(w)), false, [w]);
      return [...(await w.data())];
    };
    const changed = make(0.5);
    const { numTensors } = tf.memory();
    setLearningRate(changed, 0.01);
    expect(tf.memory().numTensors).toBe(numTensors);
    expect(await run(changed)).toEqual(await run(make(0.01)));
    expect(await run(make(0.5))).not.toEqual(await run(make(0.01)));
  });

  test('bad rates and optimizers without a rate are refused', () => {
    const adam = tf.train.adam(0.1);
    expect(() => setLearningRate(adam, -1)).toThrow('rate = -1; expected a finite rate >= 0');
    adam.dispose();
    const without = { getClassName: () => 'Mine' } as tf.Optimizer;
    expect(() => setLearningRate(without, 1)).toThrowErrorMatchingInlineSnapshot(
      `[FinetuneError: [setLearningRate] Mine has no learningRate to set; use an optimizer of tf.train, or adamW.]`,
    );
  });
});
