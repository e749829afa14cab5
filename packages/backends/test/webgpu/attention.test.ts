/** Attention as kernels, against its formula in float64: any shape, what is hidden, memory, dispatches, the same bits twice. */
import { describeOn } from '@leantune/testing';
import * as tf from '@tensorflow/tfjs';
import { beforeAll, expect, test } from 'vitest';
import { useBackend } from '../../src/index.ts';
import { attend, attendGradient } from '../../src/webgpu/attention/attention.ts';
import type { AttentionPlan } from '../../src/webgpu/attention/attention-plan.ts';
import { poolUse, trimPool, type WebGPUBackend } from '../../src/webgpu/index.ts';
import { type Case, caseOf, cases, expected, type Results, valuesOf } from '../attention-reference.ts';
import { distance, random } from '../compare.ts';

/** Small tiles of all that large ones have, which compile soon. For heads of up to 128 values; and, with sums of two blocks, of up to 32. */
const flat: AttentionPlan = { rows: 4, down: 2, across: 32, step: 8, compact: true };
const narrow: AttentionPlan = { rows: 4, down: 4, across: 4, step: 8, compact: true };
const tall: AttentionPlan = { ...narrow, rows: 8 };
const gpu = () => tf.backend() as WebGPUBackend;
const all = ['q', 'k', 'v'];

/** Runs both kernels, and checks that they leave their results alone. */
async function run(of: Case, { forward = flat, backward = flat, wanted = all } = {}): Promise<Results> {
  const { n, heads, kvHeads, keys, size, causal, window, mask = Array<number>(n * keys).fill(1) } = of;
  const tensors = Object.fromEntries(Object.entries(valuesOf(of)).map(([name, { data, shape }]) => [name, tf.tensor(data, shape)]));
  const inputs = { ...tensors, mask: tf.tensor(mask as number[], [n, keys], 'int32') } as { [name: string]: tf.Tensor };
  const attrs = { heads, kvHeads, scale: 1 / Math.sqrt(size), causal, window, masked: forward === flat, wanted }; // one of ones hides nothing
  const before = tf.memory().numDataBuffers;
  const own = (made: tf.TensorInfo[]) => made.map((x) => tf.engine().makeTensorFromTensorInfo(x));
  const [o, lse] = own(attend(gpu(), inputs, attrs, forward)) as [tf.Tensor, tf.Tensor];
  const gradients = own(attendGradient(gpu(), { ...inputs, y: o, y1: lse }, attrs, backward));
  expect(tf.memory().numDataBuffers).toBe(before + 2 + wanted.length);
  const data = await Promise.all([o, lse, ...gradients].map(async (x) => Array.from(await x.data())));
  tf.dispose([inputs, o, lse, gradients]);
  return Object.fromEntries(['o', 'lse', ...wanted.map((name) => `d${name}`)].map((name, i) => [name, data[i]!])) as unknown as Results;
}

async function expectRight(of: Case, forward: AttentionPlan, backward = forward): Promise<void> {
  const [got, truth] = [await run(of, { forward, backward }), expected(of)];
  for (const name of ['o', 'lse', 'dq', 'dk', 'dv'] as const) expect(distance(got[name], truth[name]), name).toBeLessThan(1e-5);
}

await describeOn('webgpu', () => {
  beforeAll(() => useBackend('webgpu').then(() => undefined));

  test.each(cases)('%s', (_, of) => expectRight(of, flat));

  test('sums of several blocks, heads of no multiple of four, nothing masked; forward eight rows a thread', async () => {
    for (const of of [caseOf(70, 70, 30, { causal: true, heads: 4 }), caseOf(9, 21, 21, { n: 2 })]) await expectRight(of, tall, narrow);
  });

  test.each([
    ['a query that is not a number', Number.NaN, 1],
    ['scores of minus infinity', Number.POSITIVE_INFINITY, -1],
    ['scores beyond float32', 1e25, -1e25],
  ])('%s shows in what comes of it, and nowhere else', async (_, ofQuery, ofKey) => {
    const x = (shape: number[], value: number) => tf.fill(shape, value);
    const inputs = {
      q: tf.concat([x([1, 1, 8], ofQuery), x([1, 2, 8], 1)], 1),
      k: x([1, 3, 8], ofKey),
      ...{ v: x([1, 3, 8], 1), mask: tf.scalar(0, 'int32'), dy: x([1, 3, 8], 1) },
    };
    const attrs = { heads: 1, kvHeads: 1, scale: 1, causal: true, window: 0, masked: false, wanted: all };
    const own = (made: tf.TensorInfo[]) => made.map((y) => tf.engine().makeTensorFromTensorInfo(y));
    const [y, y1] = own(attend(gpu(), inputs, attrs, narrow)) as [tf.Tensor, tf.Tensor];
    const [dq, dk, dv] = own(attendGradient(gpu(), { ...inputs, y, y1 }, attrs, narrow)) as [tf.Tensor, tf.Tensor, tf.Tensor];
    const finite = async (t: tf.Tensor) => Array.from(await tf.tidy(() => tf.min(tf.cast(tf.isFinite(t), 'int32'), -1)).data());
    expect(await finite(y)).toEqual([0, 1, 1]);
    expect(await finite(tf.reshape(y1, [3, 1]))).toEqual([0, 1, 1]);
    expect(await finite(dq)).toEqual([0, 1, 1]);
    for (const gradient of [dk, dv]) expect(await finite(gradient)).toContain(0);
    tf.dispose([inputs, y, y1, dq, dk, dv]);
  });

  test('the same bits twice, and of gradients only those that are wanted', async () => {
    const of = caseOf(33, 64, 8, { heads: 4, kvHeads: 2, causal: true });
    const all = await run(of);
    expect(await run(of)).toEqual(all);
    for (const [name, gradient] of [
      ['q', 'dq'],
      ['k', 'dk'],
      ['v', 'dv'],
    ] as const)
      expect((await run(of, { wanted: [name] }))[gradient]).toEqual(all[gradient]);
  });

  test('no matrix of scores is made: one kernel forward, three backward', async () => {
    const [tokens, size] = [1024, 8];
    const x = tf.tensor(random([1, tokens, size], 1).data, [1, tokens, size]);
    const inputs = { q: x, k: x, v: x, mask: tf.ones([1, tokens], 'int32'), dy: x };
    const attrs = { heads: 1, kvHeads: 1, scale: 1, causal: true, window: 0, masked: true, wanted: all };
    const step = async (): Promise<number[]> => {
      const counts: number[] = [];
      const count = () => counts.push(gpu().dispatchCountInPass);
      const [y, y1] = attend(gpu(), inputs, attrs, flat) as [tf.TensorInfo, tf.TensorInfo];
      count();
      const gradients = attendGradient(gpu(), { ...inputs, y, y1 }, attrs, flat);
      count();
      await gpu().read(gradients[0]!.dataId);
      for (const { dataId } of [y, y1, ...gradients]) gpu().disposeData(dataId);
      return counts;
    };
    await step(); // compiled by now
    await x.data();
    trimPool(gpu());
    const before = poolUse(gpu(), { resetPeak: true }).allocated;
    expect(await step()).toEqual([1, 4]);
    expect(poolUse(gpu()).peak - before).toBeLessThan((tokens * tokens * 4) / 8);
    tf.dispose(Object.values(inputs));
  });

  test('is what the kernel of that name runs, or the one composed of ops where it cannot', async () => {
    const attrs = { heads: 1, kvHeads: 1, scale: 1, causal: false, window: 0, masked: false };
    const x = tf.tensor(random([1, 4, 8], 1).data, [1, 4, 8]);
    const none = tf.zeros([1, 0, 8]);
    const mask = tf.scalar(0, 'int32');
    const attention = (q: tf.Tensor) => tf.engine().runKernel('Attention', { q, k: x, v: x, mask }, attrs) as unknown as tf.Tensor[];
    expect(() => attention(tf.ones([1, 4, 12]))).toThrow('got q float32 [1,4,12], k float32 [1,4,8]');
    expect(() => attention(none)).toThrow(
      '[Attention] got q float32 [1,0,8], k float32 [1,4,8], v float32 [1,4,8], mask int32 [] of 1 and 1 heads; expected',
    );
    const made: [string, tf.Tensor][] = [];
    tf.registerKernel({
      kernelName: 'ComposedAttention',
      backendName: 'webgpu',
      kernelFunc: ({ inputs }) => {
        made.push(['composed', inputs['q'] as tf.Tensor]);
        return [tf.zeros([1]), tf.zeros([1])];
      },
    });
    tf.dispose(attention(none));
    expect(made).toEqual([['composed', none]]);
    tf.unregisterKernel('ComposedAttention', 'webgpu');
    tf.dispose([x, none, mask]);
  });
});
