/** Ops of our own that stand for TensorFlow's in a step: held to float64, and those that round as TensorFlow does to its own, bit for bit. */
import { describeOn } from '@leantune/testing';
import * as tf from '@tensorflow/tfjs';
import { beforeAll, expect, test } from 'vitest';
import { useBackend } from '../../src/index.ts';
import { distance, random as values } from '../compare.ts';

const random = (shape: readonly number[], seed: number): tf.Tensor => tf.tensor(values([...shape], seed).data, [...shape]);
type Pair = (a: tf.Tensor, b: tf.Tensor) => tf.Tensor;
const binary = { add: tf.add, sub: tf.sub, mul: tf.mul, div: tf.div };
const plain: { readonly [op: string]: (a: number, b: number) => number } = {
  add: (a, b) => a + b,
  sub: (a, b) => a - b,
  mul: (a, b) => a * b,
  div: (a, b) => a / b,
};

/** The ops that TensorFlow was asked for while `f` ran. */
function opsOf(f: () => void): string[] {
  const { binding } = tf.backend() as unknown as { readonly binding: { executeOp(...given: unknown[]): unknown } };
  const names: string[] = [];
  const backend = tf.backend() as unknown as { binding: object };
  const executeOp = (...given: unknown[]) => {
    names.push(String(given[0]));
    return binding.executeOp(...given);
  };
  backend.binding = Object.create(binding, { executeOp: { value: executeOp } });
  try {
    f();
  } finally {
    backend.binding = binding;
  }
  return names;
}

await describeOn('tensorflow', () => {
  beforeAll(() => useBackend('tensorflow').then(() => undefined));

  const operands = [
    [
      [3, 5, 7],
      [3, 5, 7],
    ],
    [[3, 5, 7], [7]],
    [
      [3, 5, 7],
      [1, 1, 7],
    ],
    [
      [3, 5, 7],
      [3, 5, 1],
    ],
    [[3, 5, 7], []],
    [[3, 5, 1], [1]],
    [
      [1, 1],
      [1, 1],
    ],
    [[7], [7]],
    [[70, 300], [300]],
    [
      [70, 300],
      [70, 1],
    ],
  ] as const;
  test.each([
    [
      [2, 3, 5, 7],
      [2, 1, 1, 7],
    ],
    [
      [2, 3, 40, 70],
      [2, 3, 1, 70],
    ],
  ] as const)('%j with one row for each block of rows, %j, either way round, rounds as float32 does', (m, n) => {
    tf.tidy(() => {
      const [a, b] = [random(m, 1), random(n, 2)];
      const [x, y] = [a, tf.tile(b, [1, m[1] / n[1], m[2], 1])].map((t) => t.dataSync<'float32'>()) as [Float32Array, Float32Array];
      for (const op of ['add', 'sub', 'mul', 'div'] as const) {
        expect(binary[op](a, b).dataSync()).toEqual(x.map((v, i) => Math.fround(plain[op]!(v, y[i]!))));
        expect(binary[op](b, a).dataSync()).toEqual(x.map((v, i) => Math.fround(plain[op]!(y[i]!, v))));
      }
      expect(opsOf(() => tf.add(b, a))).toEqual(['LeantuneBlockBinary']);
    });
  });

  test.each([
    [
      [2, 3, 0],
      [2, 1, 0],
    ],
    [
      [2, 0, 4],
      [2, 1, 4],
    ],
    [
      [0, 3, 4],
      [0, 1, 4],
    ],
  ] as const)('%j without elements, and %j, make nothing', (m, n) => {
    tf.tidy(() => {
      for (const op of ['add', 'sub', 'mul', 'div'] as const)
        for (const y of [binary[op](tf.zeros([...m]), tf.ones([...n])), binary[op](tf.ones([...n]), tf.zeros([...m]))]) {
          expect(y.shape).toEqual([...m]);
          expect(y.dataSync()).toEqual(new Float32Array(0));
        }
    });
  });

  test.each([
    [
      [2, 3, 5, 7],
      [0, 2, 1, 3],
    ],
    [
      [16, 64, 6, 32],
      [0, 2, 1, 3],
    ],
    [
      [3, 4, 2],
      [1, 0, 2],
    ],
    [
      [2, 3, 4, 5, 6],
      [0, 2, 1, 3, 4],
    ],
    [
      [2, 3, 4, 5],
      [0, 1, 3, 2],
    ],
    [
      [2, 3, 4],
      [2, 1, 0],
    ],
  ] as const)('%j transposed by %j is moved as it is', (shape, perm) => {
    tf.tidy(() => {
      const x = random(shape, 1);
      const ordered = tf.buffer(perm.map((axis) => shape[axis]!) as never, 'float32');
      const given = x.bufferSync();
      for (let i = 0; i < x.size; i++) {
        const at = given.indexToLoc(i);
        ordered.set(given.values[i] as number, ...perm.map((axis) => at[axis]!));
      }
      const swap = perm.findIndex((axis, i) => axis !== i) < perm.length - 2 && perm.at(-1) === perm.length - 1;
      let y: tf.Tensor | undefined;
      const ops = opsOf(() => {
        y = tf.transpose(x, [...perm]);
      });
      expect(y!.dataSync()).toEqual(ordered.values);
      expect(ops.includes('LeantuneSwapAxes')).toBe(swap);
    });
  });

  test('a square rounds as float32 does', () => {
    tf.tidy(() => {
      const x = random([5, 33], 1);
      expect(tf.square(x).dataSync()).toEqual(x.dataSync<'float32'>().map((v) => Math.fround(v * v)));
    });
  });

  for (const op of ['add', 'sub', 'mul', 'div'] as const)
    test.each(operands)(`${op} of %j and %j, and the other way round, rounds as float32 does`, (m, n) => {
      tf.tidy(() => {
        const [a, b] = [random(m, 1), random(n, 2)];
        const [x, y] = [a, tf.broadcastTo(b, a.shape)].map((t) => t.dataSync<'float32'>()) as [Float32Array, Float32Array];
        let [forth, back] = [a, a];
        const ran = opsOf(() => {
          forth = (binary[op] as Pair)(a, b);
          back = (binary[op] as Pair)(b, a);
        });
        expect(ran[0]).toBe('LeantuneBinary');
        expect(forth.shape).toEqual(m);
        expect(back.shape).toEqual(m);
        expect(forth.dataSync()).toEqual(x.map((v, i) => plain[op]!(v, y[i]!)));
        expect(back.dataSync()).toEqual(x.map((v, i) => plain[op]!(y[i]!, v)));
      });
    });

  test('what is broadcast in another way, or is not float32, stays with TensorFlow', () => {
    tf.tidy(() => {
      const ran = opsOf(() => {
        tf.add(random([3, 1, 7], 1), random([1, 5, 7], 2));
        tf.add(random([3, 5, 7], 1), random([3, 1, 1], 2));
        tf.mul(tf.tensor1d([1, 2], 'int32'), tf.tensor1d([3, 4], 'int32'));
        tf.add(random([0, 3], 1), random([3], 2));
      });
      expect(ran.filter((name) => name.startsWith('Leantune'))).toEqual([]);
    });
  });

  test('relu and relu6 keep NaN and infinities as they are', () => {
    tf.tidy(() => {
      const x = tf.tensor1d([Number.NaN, -Infinity, Infinity, -1, -0, 0, 3, 6, 7, ...new Array(20).fill(-2)]);
      expect([...tf.relu(x).dataSync()].slice(0, 9)).toEqual([Number.NaN, 0, Infinity, 0, 0, 0, 3, 6, 7].map((v, i) => (i === 4 ? -0 : v)));
      expect([...tf.relu6(x).dataSync()].slice(0, 9)).toEqual([Number.NaN, 0, 6, 0, 0, 0, 3, 6, 6].map((v, i) => (i === 4 ? -0 : v)));
    });
  });

  test.each([[[3, 5]], [[40, 3]], [[7, 5, 4]], [[2, 2, 3, 2, 5]], [[9, 1, 1, 320]], [[64, 24]], [[2000, 24]], [[4097, 33]], [[5, 1]]])(
    '%j: sums over the last axis and over the others, to float64',
    (shape) => {
      tf.tidy(() => {
        const x = random(shape, 1);
        const [n, data] = [shape.at(-1)!, x.dataSync<'float32'>()];
        const [rows, columns] = [new Float64Array(x.size / n), new Float64Array(n)];
        for (const [i, v] of data.entries()) {
          rows[Math.floor(i / n)]! += v;
          columns[i % n]! += v;
        }
        const leading = shape.slice(0, -1).map((_, i) => i);
        const compare = (y: tf.Tensor, to: Float64Array, by: number, expected: readonly number[]) => {
          expect(y.shape).toEqual(expected);
          const largest = Math.sqrt(x.size / to.length) / by; // of a sum of so many terms
          to.forEach((v, i) => expect(Math.abs(y.dataSync()[i]! - v / by)).toBeLessThan(2e-6 * largest));
        };
        compare(tf.sum(x, -1), rows, 1, shape.slice(0, -1));
        compare(tf.sum(x, -1, true), rows, 1, [...shape.slice(0, -1), 1]);
        compare(tf.mean(x, -1), rows, n, shape.slice(0, -1));
        compare(tf.sum(x, leading), columns, 1, [n]);
        compare(tf.mean(x, leading, true), columns, x.size / n, [...leading.map(() => 1), n]);
      });
    },
  );

  test('the gradient of erf is 2 / √π exp(-x²), and no tensor stays behind', () => {
    const before = tf.memory().numTensors;
    tf.tidy(() => {
      const [x, dy] = [random([13, 7], 1), random([13, 7], 2)];
      const dx = tf.engine().runKernel('ErfGrad', { dy, x }) as tf.Tensor;
      const expected = x.dataSync<'float32'>().map((v, i) => dy.dataSync()[i]! * (2 / Math.sqrt(Math.PI)) * Math.exp(-v * v));
      expect(distance(dx.dataSync(), expected)).toBeLessThan(1e-6);
    });
    expect(tf.memory().numTensors).toBe(before);
  });

  test('a step of descent writes to nothing that others hold', () => {
    const weight = tf.variable(tf.tidy(() => tf.add(random([1000], 1), 0)));
    const given = new Float32Array(1000).fill(2);
    const shared = tf.variable(tf.tensor1d(given)); // TensorFlow sees the array that JavaScript gave
    const gradient = tf.ones([1000]);
    const step = (variable: tf.Variable) => {
      const { kernelFunc } = tf.getKernel('SgdUpdate', 'tensorflow');
      kernelFunc({ inputs: { variable, gradient }, attrs: { rate: 0.5 }, backend: tf.backend() });
    };
    const start = weight.dataSync<'float32'>().slice();
    const ran = opsOf(() => {
      step(weight);
      step(shared);
    });
    expect(ran).toEqual(['LeantuneDescend', 'LeantuneDescend']);
    expect(weight.dataSync()).toEqual(start.map((v) => v - 0.5));
    expect(shared.dataSync()).toEqual(new Float32Array(1000).fill(1.5));
    expect(given).toEqual(new Float32Array(1000).fill(2));
    tf.dispose([weight, shared, gradient]);
  });

  test('a step of descent of many weights is by TensorFlow’s op, which writes where they lie', () => {
    const size = 2 ** 18;
    const weight = tf.variable(tf.tidy(() => tf.add(random([size], 1), 0)));
    const gradient = tf.ones([size]);
    const start = weight.dataSync<'float32'>().slice();
    const { kernelFunc } = tf.getKernel('SgdUpdate', 'tensorflow');
    const ran = opsOf(() => void kernelFunc({ inputs: { variable: weight, gradient }, attrs: { rate: 0.5 }, backend: tf.backend() }));
    expect(ran).toContain('ResourceApplyGradientDescent');
    expect(weight.dataSync()).toEqual(start.map((v) => v - 0.5));
    tf.dispose([weight, gradient]);
  });
});
