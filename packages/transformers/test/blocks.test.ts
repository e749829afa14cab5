/** Each block against the same formula in plain ops, differentiated by tfjs itself: values and the gradient of every input. */
import { useBackend } from '@leantune/backends';
import { finetune, measure, valueAndGrads } from '@leantune/core';
import { available } from '@leantune/testing';
import * as tf from '@tensorflow/tfjs';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { parts } from '../src/blocks/attention-scores.ts';
import { attention, gelu, layerNorm, linearCrossEntropy, rmsNorm, rope, swiglu } from '../src/index.ts';
import { farthest } from './fixture.ts';

const random = (shape: number[], seed: number, scale = 1) => tf.randomNormal(shape, 0, scale, 'float32', seed);
const last = (x: tf.Tensor) => tf.mean(x, -1, true);

interface Case {
  readonly inputs: readonly number[][];
  readonly block: (...x: tf.Tensor[]) => tf.Tensor;
  readonly plain: (...x: tf.Tensor[]) => tf.Tensor;
}

/** Attention as it is mostly written: scores, softmax, product. */
function plainAttention(q: tf.Tensor, k: tf.Tensor, v: tf.Tensor, hidden: tf.Tensor, heads: number, kvHeads: number): tf.Tensor {
  const split = (x: tf.Tensor, n: number) => tf.transpose(tf.reshape(x, [x.shape[0]!, x.shape[1]!, n, -1]), [0, 2, 1, 3]);
  const repeat = (x: tf.Tensor) =>
    tf.gather(
      x,
      tf.tensor1d(
        Array.from({ length: heads }, (_, head) => Math.floor((head * kvHeads) / heads)),
        'int32',
      ),
      1,
    );
  const scores = tf.add(tf.mul(tf.matMul(split(q, heads), repeat(split(k, kvHeads)), false, true), 0.4), hidden);
  const out = tf.transpose(tf.matMul(tf.softmax(scores), repeat(split(v, kvHeads))), [0, 2, 1, 3]);
  return tf.reshape(out, q.shape);
}

const far = (f: (i: number, j: number) => boolean, rows: number, keys: number) =>
  tf.tensor2d(
    Array.from({ length: rows * keys }, (_, at) => (f(Math.floor(at / keys), at % keys) ? 0 : -1e9)),
    [rows, keys],
  );
const attend = { heads: 4, kvHeads: 2, scale: 0.4 };
const maskValues = [1, 1, 1, 2, 2, 0];

const cases: { readonly [name: string]: Case } = {
  rmsNorm: {
    inputs: [[2, 3, 5], [5]],
    block: (x, w) => rmsNorm(x!, w!, 1e-5),
    plain: (x, w) => tf.mul(tf.mul(x!, tf.rsqrt(tf.add(last(tf.square(x!)), 1e-5))), w!),
  },
  layerNorm: {
    inputs: [[2, 3, 5], [5], [5]],
    block: (x, w, b) => layerNorm(x!, w!, b!, 1e-5),
    plain: (x, w, b) => {
      const centered = tf.sub(x!, last(x!));
      return tf.add(tf.mul(tf.mul(centered, tf.rsqrt(tf.add(last(tf.square(centered)), 1e-5))), w!), b!);
    },
  },
  gelu: { inputs: [[4, 6]], block: (x) => gelu(x!), plain: (x) => tf.mul(tf.mul(x!, 0.5), tf.add(tf.erf(tf.mul(x!, Math.SQRT1_2)), 1)) },
  'gelu by tanh': {
    inputs: [[4, 6]],
    block: (x) => gelu(x!, true),
    plain: (x) => {
      const u = tf.mul(tf.add(x!, tf.mul(tf.mul(x!, tf.square(x!)), 0.044715)), Math.sqrt(2 / Math.PI));
      return tf.mul(tf.mul(x!, 0.5), tf.add(tf.tanh(u), 1));
    },
  },
  swiglu: {
    inputs: [
      [4, 6],
      [4, 6],
    ],
    block: (g, u) => swiglu(g!, u!),
    plain: (g, u) => tf.mul(tf.mul(g!, tf.sigmoid(g!)), u!),
  },
  rope: {
    inputs: [[2, 3, 8]],
    block: (x) => rope(x!, { heads: 2, frequencies: [1, 0.1], magnitude: 1, offset: 5 }),
    plain: (x) => {
      // as a rotation matrix per position and head: rows (x_i, x_{i+2})
      const rows = Array.from({ length: 3 }, (_, t) => {
        const [a, b] = [(5 + t) * 1, (5 + t) * 0.1] as const;
        const [c, s, e, f] = [Math.cos(a), Math.sin(a), Math.cos(b), Math.sin(b)];
        return [
          [c, 0, s, 0],
          [0, e, 0, f],
          [-s, 0, c, 0],
          [0, -f, 0, e],
        ];
      });
      const heads = tf.transpose(tf.reshape(x!, [2, 3, 2, 4]), [1, 0, 2, 3]); // [T, n, heads, d]
      const turned = tf.matMul(tf.reshape(heads, [3, 4, 4]), tf.tensor3d(rows));
      return tf.reshape(tf.transpose(tf.reshape(turned, [3, 2, 2, 4]), [1, 0, 2, 3]), [2, 3, 8]);
    },
  },
  attention: {
    inputs: [
      [2, 6, 12],
      [2, 6, 6],
      [2, 6, 6],
    ],
    block: (q, k, v) => attention(q!, k!, v!, undefined, { ...attend, causal: false, window: 0 }),
    plain: (q, k, v) => plainAttention(q!, k!, v!, tf.scalar(0), 4, 2),
  },
  'causal attention': {
    inputs: [
      [2, 6, 12],
      [2, 6, 6],
      [2, 6, 6],
    ],
    block: (q, k, v) => attention(q!, k!, v!, undefined, { ...attend, causal: true, window: 0 }),
    plain: (q, k, v) =>
      plainAttention(
        q!,
        k!,
        v!,
        far((i, j) => j <= i, 6, 6),
        4,
        2,
      ),
  },
  'causal attention with more keys than queries': {
    inputs: [
      [2, 2, 12],
      [2, 6, 6],
      [2, 6, 6],
    ],
    block: (q, k, v) => attention(q!, k!, v!, undefined, { ...attend, causal: true, window: 0 }),
    plain: (q, k, v) =>
      plainAttention(
        q!,
        k!,
        v!,
        far((i, j) => j <= i + 4, 2, 6),
        4,
        2,
      ),
  },
  'attention in a window': {
    inputs: [
      [2, 6, 12],
      [2, 6, 6],
      [2, 6, 6],
    ],
    block: (q, k, v) => attention(q!, k!, v!, undefined, { ...attend, causal: true, window: 2 }),
    plain: (q, k, v) =>
      plainAttention(
        q!,
        k!,
        v!,
        far((i, j) => j <= i && j > i - 2, 6, 6),
        4,
        2,
      ),
  },
  'causal attention of documents and padding': {
    inputs: [
      [2, 6, 12],
      [2, 6, 6],
      [2, 6, 6],
    ],
    block: (q, k, v) =>
      attention(q!, k!, v!, tf.tensor2d([maskValues, maskValues], [2, 6], 'int32'), { ...attend, causal: true, window: 0 }),
    plain: (q, k, v) => {
      const sees = (i: number, j: number) => j <= i && maskValues[j] !== 0 && (maskValues[i] || 1) === maskValues[j];
      return plainAttention(q!, k!, v!, far(sees, 6, 6), 4, 2);
    },
  },
  linearCrossEntropy: {
    inputs: [
      [5, 4],
      [7, 4],
    ],
    block: (h, w) => linearCrossEntropy(h!, w!, tf.tensor1d([0, 6, -100, 3, 3], 'int32')),
    plain: (h, w) => {
      const rows = tf.logSoftmax(tf.matMul(h!, w!, false, true));
      const target = tf.mul(tf.oneHot(tf.tensor1d([0, 6, 0, 3, 3], 'int32'), 7), tf.tensor2d([[1], [1], [0], [1], [1]]));
      return tf.neg(tf.sum(tf.mul(rows, target), 1));
    },
  },
};

describe.each(await available(['cpu', 'wasm', 'webgpu']))('%s', (backend) => {
  let before: number;
  beforeEach(async () => {
    await useBackend(backend);
    before = tf.memory().numTensors;
  });
  afterEach(() => expect(tf.memory().numTensors).toBe(before));

  test.each(Object.keys(cases))('%s is its formula, and its gradient that of the formula', (name) => {
    const { inputs, block, plain } = cases[name]!;
    tf.tidy(() => {
      const x = inputs.map((shape, i) => tf.variable(random(shape, 10 + i)));
      const dy = random(plain(...x).shape, 3);
      const run = (f: Case['block']) => () => tf.sum(tf.mul(f(...x), dy)) as tf.Scalar;
      expect(farthest(block(...x).dataSync(), plain(...x).dataSync())).toBeLessThan(1e-5);
      const expected = tf.variableGrads(run(plain)).grads;
      for (const { grads } of [valueAndGrads(run(block)), tf.variableGrads(run(block))]) {
        expect(Object.keys(grads).sort()).toEqual(Object.keys(expected).sort());
        for (const [variable, grad] of Object.entries(grads))
          expect(farthest(grad.dataSync(), expected[variable]!.dataSync(), 1e-3)).toBeLessThan(2e-5);
      }
      for (const v of x) v.dispose();
    });
  });
});

test.each(await available(['wasm', 'webgpu']))(
  'on %s attention of many blocks of queries has the values and gradients of plain attention',
  async (backend) => {
    await useBackend(backend);
    const before = tf.memory().numTensors;
    tf.tidy(() => {
      const tokens = 700; // three blocks of at most 2 ** 18 scores, the last one short
      const x = [8, 4, 4].map((width, i) => tf.variable(random([1, tokens, width], i + 1)));
      const dy = random([1, tokens, 8], 4);
      const hidden = far((i, j) => j <= i, tokens, tokens);
      const options = { heads: 2, kvHeads: 1, scale: 0.4, causal: true, window: 0 };
      const run = (f: Case['block']) => valueAndGrads(() => tf.sum(tf.mul(f(...x), dy)) as tf.Scalar, x);
      const ours = run((q, k, v) => attention(q!, k!, v!, undefined, options));
      const plain = run((q, k, v) => plainAttention(q!, k!, v!, hidden, 2, 1));
      for (const [variable, grad] of Object.entries(plain.grads))
        expect(farthest(ours.grads[variable]!.dataSync(), grad.dataSync(), 1e-3)).toBeLessThan(5e-5);
      for (const v of x) v.dispose();
    });
    expect(tf.memory().numTensors).toBe(before);
  },
);

test.each(await available(['cpu', 'wasm', 'webgpu']))(
  'on %s a causal query before which all is padding sees that alone, and nothing later',
  async (backend) => {
    await useBackend(backend);
    tf.tidy(() => {
      const mask = tf.tensor2d([[0, 0, 1, 1]], [1, 4], 'int32');
      const x = random([1, 4, 2], 1);
      const o = attention(x, x, x, mask, { heads: 1, kvHeads: 1, scale: 1, causal: true, window: 0 });
      const rows = tf.unstack(tf.squeeze(x, [0]) as tf.Tensor2D);
      const expected = tf.stack([rows[0]!, tf.div(tf.add(rows[0]!, rows[1]!), 2), rows[2]!]);
      expect(farthest(tf.slice(o, [0, 0, 0], [1, 3, 2]).dataSync(), expected.dataSync())).toBeLessThan(1e-6);
    });
  },
);

test('attention of more queries than keys is refused where a query would be before the first key', async () => {
  await useBackend('cpu');
  tf.tidy(() => {
    const [q, k, mask] = [random([1, 6, 2], 1), random([1, 4, 2], 2), tf.ones([1, 4], 'int32')];
    const attrs = { heads: 1, kvHeads: 1, scale: 1, causal: false, window: 0 };
    const expected = '[attention] got 6 queries and 4 keys; expected no more queries than keys';
    expect(() => attention(q, k, k, undefined, { ...attrs, causal: true })).toThrow(expected);
    expect(() => attention(q, k, k, mask, attrs)).toThrow(expected);
    expect(attention(q, k, k, undefined, attrs).shape).toEqual([1, 6, 2]);
  });
});

test.each(await available(['wasm', 'webgpu']))(
  'on %s a block is registered as composed of ops too, and gives the same',
  async (backend) => {
    await useBackend(backend);
    tf.tidy(() => {
      const x = random([1, 5, 8], 1);
      const o = attention(x, x, x, undefined, { ...attend, kvHeads: 4, causal: true, window: 0 });
      const attrs = { ...attend, kvHeads: 4, causal: true, window: 0, masked: false };
      const [composed] = tf
        .engine()
        .runKernel('ComposedAttention', { q: x, k: x, v: x, mask: tf.scalar(0, 'int32') }, attrs) as unknown as [tf.Tensor];
      expect(farthest(o.dataSync(), composed.dataSync())).toBeLessThan(1e-6);
    });
  },
);

test.each((await available(['wasm', 'webgpu'])).map((backend) => [backend, backend === 'webgpu' ? 4 : 128] as const))(
  'on %s attention of 8 sequences of 512 tokens, where it is composed, goes by %i blocks',
  async (backend, blocks) => {
    await useBackend(backend);
    const x = { shape: [8, 512, 1024], size: 8 * 512 * 1024 } as tf.Tensor;
    const found = parts(x, x, { heads: 16, kvHeads: 16, scale: 1, causal: false, window: 0, masked: false });
    expect(found).toHaveLength(blocks);
    expect(found.reduce((rows, part) => rows + part.rows, 0)).toBe(512);
  },
);

describe('memory', () => {
  /** Bytes at the peak of one attention with its gradient, above q, k and v. */
  async function peakOf(length: number): Promise<{ peak: number; kept: number }> {
    const [heads, d] = [2, 16];
    const x = [1, 2, 3].map((seed) => tf.variable(random([1, length, heads * d], seed)));
    const options = { heads, kvHeads: heads, scale: 0.25, causal: true, window: 0 };
    const { result, memory } = await measure(() =>
      valueAndGrads(() => tf.sum(attention(x[0]!, x[1]!, x[2]!, undefined, options)) as tf.Scalar, x),
    );
    tf.dispose([x, result.value, result.grads] as tf.TensorContainer);
    return { peak: memory.peakBytes - memory.atPeak.weights, kept: Math.max(...memory.timeline.map(({ kept }) => kept), 0) };
  }

  test('attention over 4096 tokens takes memory in proportion to its length, on wasm, forward and backward', async () => {
    await useBackend('wasm');
    const [short, long] = [await peakOf(1024), await peakOf(4096)];
    const scores = 2 * 4096 * 4096 * 4; // what softmax alone would keep: 134 MB
    expect(long.peak).toBeLessThan(scores / 4);
    // The blocks of scores are of a fixed size; the rest is rows of q, k, v, o, their gradients, and the copies split by heads.
    const fixed = 4 * 2 ** 18 * 10;
    expect(long.peak - fixed).toBeLessThan(4 * Math.max(0, short.peak - fixed) + fixed);
    // y, and one number a row and head, beside q, k and v, which are variables here, and a mask of one number
    expect(long.kept).toBeLessThanOrEqual(4096 * (2 * 16 + 2) * 4 + 4);
  });
});

test('a technique sees what waits, by kernel and role, and may keep it its own way', async () => {
  await useBackend('cpu');
  const seen = new Set<string>();
  const w = tf.variable(random([4], 1), true, 'w');
  const tuned = finetune(
    { w },
    [
      {
        name: 'look',
        options: {},
        attach: () => ({
          keep: ({ kernel, role, tensor }) => {
            seen.add(`${kernel} ${role} [${tensor.shape}]`);
            return undefined;
          },
          detach() {},
        }),
      },
    ],
    { trainable: 'w' },
  );
  const x = random([3, 4], 2);
  const optimizer = tf.train.sgd(0.1);
  tuned.minimize(() => tf.sum(gelu(rmsNorm(x, w, 1e-6))) as tf.Scalar, optimizer).dispose();
  expect([...seen]).toEqual(['RmsNorm inputs.x [3,4]', 'Gelu inputs.x [3,4]']);
  tuned.dispose();
  tf.dispose([x, w]);
  optimizer.dispose();
});
