/** Attention as kernels of wasm, against its formula in float64: any shape, what is hidden, memory, of gradients those that are wanted. */
import * as tf from '@tensorflow/tfjs';
import { beforeAll, describe, expect, it } from 'vitest';
import { guardHeap, heapUse } from '../src/wasm/index.ts';
import { type Case, caseOf, cases, expected, type Results, valuesOf } from './attention-reference.ts';
import { distance, prepare } from './compare.ts';

const all = ['q', 'k', 'v'];
const kernel = (name: string, inputs: tf.NamedTensorMap, attrs: object) =>
  tf.engine().runKernel(name, inputs, attrs as tf.NamedAttrMap) as unknown as tf.Tensor[];

/** Runs both kernels, and checks that they leave their results alone. */
function run(of: Case, { wanted = all, masked = true } = {}): Results {
  const { n, heads, kvHeads, keys, size, causal, window, mask = Array<number>(n * keys).fill(1) } = of;
  const tensors = Object.fromEntries(Object.entries(valuesOf(of)).map(([name, { data, shape }]) => [name, tf.tensor(data, shape)]));
  const { dy, ...inputs } = { ...tensors, mask: tf.tensor(mask as number[], [n, keys], 'int32') } as { [name: string]: tf.Tensor };
  const attrs = { heads, kvHeads, scale: 1 / Math.sqrt(size), causal, window, masked, wanted };
  const before = tf.backend().numDataIds();
  const [y, y1] = kernel('Attention', inputs, attrs) as [tf.Tensor, tf.Tensor];
  const gradients = kernel('AttentionGrad', { ...inputs, y, y1, dy: dy! }, attrs);
  expect(tf.backend().numDataIds()).toBe(before + 2 + wanted.length);
  const data = [y, y1, ...gradients].map((x) => Array.from(x.dataSync()));
  tf.dispose([inputs, y, y1, gradients, dy!]);
  return Object.fromEntries(['o', 'lse', ...wanted.map((name) => `d${name}`)].map((name, i) => [name, data[i]!])) as unknown as Results;
}

function expectRight(of: Case, masked = of.mask !== undefined || of.queries <= of.keys): void {
  const [got, truth] = [run(of, { masked }), expected(of)];
  for (const name of ['o', 'lse', 'dq', 'dk', 'dv'] as const) expect(distance(got[name], truth[name]), name).toBeLessThan(1e-5);
}

describe('attention on wasm', () => {
  beforeAll(async () => {
    await prepare();
    await tf.setBackend('wasm');
  });

  it.each(cases)('%s', (_, of) => expectRight(of));

  it.each([
    ['more keys than a block of queries has scores in a cache for', caseOf(140, 1100, 8, { causal: true })],
    ['a window across blocks of queries', caseOf(150, 150, 20, { causal: true, window: 33, heads: 4 })],
    ['a few queries of many keys that many heads share', caseOf(3, 300, 16, { causal: true, heads: 10, kvHeads: 2, n: 2 })],
    ['more heads that share keys than a block has rows', caseOf(2, 9, 4, { causal: true, heads: 70, kvHeads: 1 })],
    ['heads that share keys, a window across blocks', caseOf(150, 200, 8, { causal: true, window: 33, heads: 6, kvHeads: 2 })],
    ['a window beyond what an integer holds', caseOf(9, 9, 4, { causal: true, window: 2 ** 32 + 1 })],
    ['heads of no multiple of four', caseOf(70, 70, 30, { n: 2, causal: true, heads: 4 })],
  ])('%s', (_, of) => {
    expectRight(of, false);
    expectRight(of, true);
  });

  it('gives the gradients that are wanted, the same bits as beside the others', () => {
    const of = caseOf(33, 64, 8, { heads: 4, kvHeads: 2, causal: true });
    const whole = run(of);
    for (const name of all) expect(run(of, { wanted: [name] })[`d${name}` as 'dq']).toEqual(whole[`d${name}` as 'dq']);
  });

  it.each([
    ['a query that is not a number', Number.NaN, 1],
    ['scores of minus infinity', Number.POSITIVE_INFINITY, -1],
    ['scores beyond float32', 1e25, -1e25],
  ])('%s shows in its own row', (_, ofQuery, ofKey) => {
    const x = (shape: number[], value: number) => tf.fill(shape, value);
    const q = tf.concat([x([1, 1, 8], ofQuery), x([1, 6, 8], 1)], 1);
    const inputs = { q, k: x([1, 7, 8], ofKey), v: x([1, 7, 8], 1), mask: tf.scalar(0, 'int32') };
    const attrs = { heads: 1, kvHeads: 1, scale: 1, causal: true, window: 0, masked: false, wanted: ['q'] };
    const [y, y1] = kernel('Attention', inputs, attrs) as [tf.Tensor, tf.Tensor];
    const [dq] = kernel('AttentionGrad', { ...inputs, y, y1, dy: x([1, 7, 8], 1) }, attrs) as [tf.Tensor];
    const finite = (t: tf.Tensor) => Array.from(tf.min(tf.cast(tf.isFinite(t), 'int32'), -1).dataSync());
    for (const t of [y, tf.reshape(y1, [7, 1]), dq]) expect(finite(t)).toEqual([0, 1, 1, 1, 1, 1, 1]);
  });

  it('makes no matrix of scores: its memory grows with the tokens, not with their square', () => {
    const [tokens, size] = [2048, 8];
    const x = tf.ones([1, tokens, size]);
    const inputs = { q: x, k: x, v: x, mask: tf.scalar(0, 'int32') };
    const attrs = { heads: 1, kvHeads: 1, scale: 1, causal: true, window: 0, masked: false, wanted: all };
    guardHeap(tf.backend(), heapUse(tf.backend()).used + (tokens * tokens * 4) / 16);
    try {
      const [y, y1] = kernel('Attention', inputs, attrs) as [tf.Tensor, tf.Tensor];
      tf.dispose([kernel('AttentionGrad', { ...inputs, y, y1, dy: x }, attrs), y, y1, x, inputs.mask]);
    } finally {
      guardHeap(tf.backend());
    }
  });

  it('leaves nothing behind where memory ends amid a kernel', () => {
    const of = caseOf(64, 64, 16);
    const { q, k, v, dy } = Object.fromEntries(
      Object.entries(valuesOf(of)).map(([name, { data, shape }]) => [name, tf.tensor(data, shape)]),
    ) as { [name in 'q' | 'k' | 'v' | 'dy']: tf.Tensor };
    const inputs = { q, k, v, mask: tf.scalar(0, 'int32') };
    const attrs = { heads: 2, kvHeads: 2, scale: 1, causal: false, window: 0, masked: false, wanted: all };
    const [y, y1] = kernel('Attention', inputs, attrs) as [tf.Tensor, tf.Tensor];
    const before = tf.backend().numDataIds();
    let refused = 0;
    try {
      for (let room = 0; room < 64; room += 4)
        for (const run of [() => kernel('Attention', inputs, attrs), () => kernel('AttentionGrad', { ...inputs, y, y1, dy }, attrs)]) {
          guardHeap(tf.backend(), heapUse(tf.backend()).used + 1 + room * 1024);
          try {
            tf.dispose(run());
          } catch (error) {
            expect(String(error)).toContain('a tensor asks for');
            refused++;
          }
          expect(tf.backend().numDataIds()).toBe(before);
        }
    } finally {
      guardHeap(tf.backend());
    }
    expect(refused).toBeGreaterThan(10);
    tf.dispose([q, k, v, dy, inputs.mask, y, y1]);
  });

  it('reads no tensor that does not fit, and leaves it to the kernel composed of ops', () => {
    const attrs = { heads: 1, kvHeads: 1, scale: 1, causal: true, window: 0, masked: false };
    const x = tf.ones([1, 4, 8]);
    const attend = (inputs: tf.NamedTensorMap, more: object = {}) =>
      kernel('Attention', { q: x, k: x, v: x, mask: tf.scalar(0, 'int32'), ...inputs }, { ...attrs, ...more });
    expect(() => attend({ q: tf.ones([1, 4, 12]) })).toThrow('[Attention] got q float32 [1,4,12], k float32 [1,4,8]');
    expect(() => attend({ q: tf.ones([1, 5, 8]) })).toThrow('got q float32 [1,5,8]'); // causal
    expect(() => attend({ v: tf.ones([1, 3, 8]) })).toThrow('v float32 [1,3,8]');
    expect(() => attend({ k: tf.zeros([1, 0, 8]), v: tf.zeros([1, 0, 8]) })).toThrow('none empty');
    expect(() => attend({ mask: tf.zeros([1, 3], 'int32') }, { masked: true })).toThrow('mask int32 [1,3]');
    expect(() => kernel('AttentionGrad', { q: x, k: x, v: x, mask: tf.scalar(0), y: x, y1: x, dy: x }, { ...attrs, wanted: all })).toThrow(
      'y1 float32 [1,4,8]',
    );
    const made: unknown[] = [];
    const kernelFunc: tf.KernelFunc = ({ inputs }) => {
      made.push(inputs['q']);
      return [tf.zeros([1]), tf.zeros([1])];
    };
    tf.registerKernel({ kernelName: 'ComposedAttention', backendName: 'wasm', kernelFunc });
    const q = tf.ones([1, 4, 12]);
    attend({ q });
    expect(made).toContain(q);
    tf.unregisterKernel('ComposedAttention', 'wasm');
  });
});
