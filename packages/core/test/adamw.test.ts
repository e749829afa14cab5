import * as tf from '@tensorflow/tfjs';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { type AdamW, adamW } from '../src/optimizers/adamw.ts';
import { linear, setLearningRate } from '../src/optimizers/schedules.ts';
import fixture from './fixtures/adamw.json' with { type: 'json' };

let before: number;
beforeEach(() => {
  before = tf.memory().numTensors;
});
afterEach(() => expect(tf.memory().numTensors).toBe(before));

type Nested = number | Nested[];
const flat = (x: Nested): number[] => [x].flat(9) as number[];
const variable = (values: Nested, name?: string): tf.Variable => tf.tidy(() => tf.variable(tf.tensor(values as number[]), true, name));
const step = (optimizer: tf.Optimizer, variables: tf.Variable[], gradients: Nested[]): void =>
  tf.tidy(() => optimizer.applyGradients(variables.map(({ name }, i) => ({ name, tensor: tf.tensor(gradients[i] as number[]) }))));
const values = async (variables: tf.Variable[]): Promise<number[][]> => Promise.all(variables.map(async (v) => [...(await v.data())]));

test.each(fixture.adamw)('the path equals that of torch.optim.AdamW: $options', async ({ options, start, gradients, path }) => {
  const variables = start.map((w) => variable(w as Nested));
  const optimizer = adamW(options);
  for (const [i, g] of gradients.entries()) {
    step(optimizer, variables, g as Nested[]);
    const expected = path[i]!.map((w) => flat(w as Nested));
    // Both round to float32 some ten times a step, in another order.
    for (const [j, got] of (await values(variables)).entries())
      for (const [k, x] of got.entries())
        expect(Math.abs(x - expected[j]![k]!)).toBeLessThanOrEqual((i + 1) * 10 * 2 ** -24 * Math.max(1, Math.abs(x)));
  }
  expect(optimizer.iterations).toBe(gradients.length);
  tf.dispose(variables);
  optimizer.dispose();
});

test('the decay filter spares variables by name, the others shrink by 1 - rate · decay', async () => {
  const variables = [variable([2], 'filter/kernel'), variable([2], 'filter/bias')];
  const optimizer = adamW({ learningRate: 0.1, weightDecay: 0.5, decay: (name) => !name.endsWith('bias') });
  step(optimizer, variables, [[0], [0]]);
  expect(await values(variables)).toEqual([[Math.fround(2 * 0.95)], [2]]);
  tf.dispose(variables);
  optimizer.dispose();
});

test('a schedule is asked for the number of finished steps, and setLearningRate replaces it', async () => {
  const w = variable([0]);
  const optimizer = adamW({ learningRate: linear({ from: 1, to: 0, steps: 2 }), weightDecay: 0, epsilon: 1e-12 });
  const moves: number[] = [];
  for (let i = 0, last = 0; i < 4; i++) {
    if (i === 3) setLearningRate(optimizer, 0.25);
    step(optimizer, [w], [[1]]); // with equal gradients every step moves by the rate
    const [now] = await w.data();
    moves.push(last - now!);
    last = now!;
  }
  for (const [i, rate] of [1, 0.5, 0, 0.25].entries()) expect(moves[i]).toBeCloseTo(rate, 5);
  expect(optimizer.getConfig()).toMatchObject({ learningRate: 0.25 });
  w.dispose();
  optimizer.dispose();
});

test('model.compile takes it, and fit lowers the loss', async () => {
  const model = tf.sequential({
    layers: [tf.layers.dense({ units: 1, inputShape: [3], kernelInitializer: tf.initializers.glorotNormal({ seed: 1 }) })],
  });
  const optimizer = adamW({ learningRate: 0.1 });
  model.compile({ optimizer, loss: 'meanSquaredError' });
  const x = tf.randomNormal([32, 3], 0, 1, 'float32', 3);
  const y = tf.tidy(() => tf.sum(x, 1, true));
  const { history } = await model.fit(x, y, { epochs: 20, verbose: 0, shuffle: false });
  const losses = history['loss'] as number[];
  expect(losses.at(-1)).toBeLessThan(losses[0]! / 10);
  expect(optimizer.iterations).toBe(20);
  tf.dispose([x, y]);
  model.dispose();
  optimizer.dispose();
});

test('a step needs four buffers of one variable, where tf.train.adam needs more than ten of every variable', async () => {
  const [count, size] = [6, 4000];
  const variables = Array.from({ length: count }, (_, i) => tf.tidy(() => tf.variable(tf.randomNormal([size], 0, 1, 'float32', i))));
  const gradients = Object.fromEntries(variables.map((v, i) => [v.name, tf.randomNormal([size], 0, 1, 'float32', 100 + i)]));
  const peakOf = async (optimizer: tf.Optimizer): Promise<number> => {
    optimizer.applyGradients(gradients); // makes the moments
    const bytes = tf.memory().numBytes;
    const { peakBytes } = await tf.profile(() => {
      optimizer.applyGradients(gradients);
      return {};
    });
    return (peakBytes - bytes) / (4 * size);
  };
  const [ours, stock] = [adamW(), tf.train.adam(1e-3)];
  expect(await peakOf(ours)).toBe(4);
  expect(await peakOf(stock)).toBeGreaterThan(10 * count);
  tf.dispose([variables, gradients]);
  ours.dispose();
  stock.dispose();
});

test('state moves to another optimizer, which then repeats the uninterrupted run bit for bit, whatever the variables are called', async () => {
  const gradients = fixture.adamw[0]!.gradients as Nested[][];
  const start = fixture.adamw[0]!.start as Nested[];
  const [whole, first, second] = [start, start, start].map((s) => s.map((w) => variable(w)));
  const [a, b, c] = [adamW(), adamW(), adamW()];
  for (const g of gradients) step(a, whole!, g);
  for (const g of gradients.slice(0, 5)) step(b, first!, g);
  const state = await b.getWeights();
  expect(state.map(({ tensor }) => tensor.shape)).toEqual([[], [2, 3], [3], [2, 3], [3]]);
  await c.setWeights(state);
  for (const [i, w] of second!.entries()) w.assign(first![i]!);
  for (const g of gradients.slice(5)) step(c, second!, g);
  expect(await values(second!)).toEqual(await values(whole!));
  expect(c.iterations).toBe(gradients.length);
  tf.dispose([whole!, first!, second!, state[0]!.tensor]);
  for (const optimizer of [a, b, c]) optimizer.dispose();
});

test('restored state that does not fit the next gradients is an error, and nothing moves', async () => {
  const [kernel, bias] = [variable([[1, 2]], 'fit/kernel'), variable([1, 2, 3], 'fit/bias')];
  const [a, b] = [adamW(), adamW()];
  step(a, [kernel], [[[1, 1]]]);
  const state = await a.getWeights();
  await b.setWeights(state);
  expect(() => step(b, [bias, kernel], [[1, 1, 1], [[1, 1]]])).toThrowErrorMatchingInlineSnapshot(
    `[FinetuneError: [adamW] the restored state does not fit: fit/bias [3] (saved: [1,2]), fit/kernel [1,2] (saved: none). Train what was trained when it was saved.]`,
  );
  expect(await values([bias])).toEqual([[1, 2, 3]]);
  expect(b.iterations).toBe(1);
  tf.dispose([kernel, bias, state[0]!.tensor]);
  a.dispose();
  b.dispose();
});

test('variables without a gradient stay, disposed ones are an error before anything moves', async () => {
  const [kernel, gone] = [variable([1], 'gone/kernel'), variable([1], 'gone/bias')];
  const optimizer = adamW();
  const gradient = tf.tensor1d([1]);
  optimizer.applyGradients([{ name: kernel.name, tensor: undefined as never }]);
  expect(await values([kernel])).toEqual([[1]]);
  gone.dispose();
  expect(() => optimizer.applyGradients({ 'gone/kernel': gradient, 'gone/bias': gradient })).toThrow('[adamW] got gradients for gone/bias');
  expect(await values([kernel])).toEqual([[1]]);
  tf.dispose([kernel, gradient]);
  optimizer.dispose();
});

test('options that make no sense are refused, all in one message', () => {
  for (const options of [{ beta1: 1 }, { beta2: -0.1 }, { epsilon: 0 }, { weightDecay: -1 }, { learningRate: Number.NaN }]) {
    const [[name, got]] = Object.entries(options) as [[string, number]];
    expect(() => adamW(options)).toThrow(`[adamW] got ${name} = ${got}; expected a`);
  }
  expect(() => adamW({ learningRate: -1, beta1: 2, epsilon: 0 })).toThrow(
    'got learningRate = -1; expected a finite rate >= 0, beta1 = 2; expected a number in [0, 1), epsilon = 0; expected a number > 0.',
  );
});

test('tfjs can make it again from its class name and config', () => {
  const config = adamW({ learningRate: 0.5, weightDecay: 0.1 }).getConfig();
  const [cls, fromConfig] = tf.serialization.SerializationMap.getMap().classNameMap['AdamW']!;
  const copy = fromConfig(cls, JSON.parse(JSON.stringify(config))) as unknown as AdamW;
  expect(copy.getClassName()).toBe('AdamW');
  expect(copy.getConfig()).toEqual(config);
});
