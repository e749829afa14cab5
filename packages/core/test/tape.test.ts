import * as tf from '@tensorflow/tfjs';
import { beforeAll, describe, expect, test } from 'vitest';
import { FinetuneError, gradients, valueAndGrads } from '../src/index.ts';
import { type Probe, probes } from '../src/memory/probe.ts';
import type { Codec, GradientRule, KeepRule } from '../src/technique.ts';

const normal = (shape: number[], seed: number) => tf.randomNormal(shape, 0, 1, 'float32', seed);
const close = (a: tf.Tensor, b: tf.Tensor) => expect(Array.from(a.dataSync())).toEqual(Array.from(b.dataSync()));
const keysOfEngine = () => Object.getOwnPropertyNames(tf.engine()).sort();

/** Watches what waits: bytes now, the most at once, and the rows of what was ever held. */
function watch<T>(f: () => T) {
  const sizes = new Map<object, number>();
  const seen = { now: 0, most: 0, rows: [] as string[] };
  const probe: Probe = {
    hold(token, bytes, kernel, layer) {
      sizes.set(token, bytes);
      seen.now += bytes;
      seen.most = Math.max(seen.most, seen.now);
      seen.rows.push(`${layer}/${kernel}`);
    },
    drop: (token) => {
      seen.now -= sizes.get(token)!;
    },
    gradient: () => {},
    encoding: (encode) => encode(),
    label: () => {},
  };
  probes.add(probe);
  try {
    return {
      ...seen,
      result: f(),
      get most() {
        return seen.most;
      },
      get now() {
        return seen.now;
      },
      get rows() {
        return seen.rows;
      },
    };
  } finally {
    probes.delete(probe);
  }
}

beforeAll(async () => {
  await tf.setBackend('cpu');
});

describe('valueAndGrads', () => {
  test('keeps nothing where a gradient, or what a value is to wait as, fails', () => {
    const [x, filter] = [tf.variable(normal([1, 6, 6, 2], 1)), tf.variable(normal([3, 3, 2, 2], 2))];
    const loss = () => tf.mean(tf.square(tf.conv2d(x as tf.Tensor4D, filter as tf.Tensor4D, 1, 'same', 'NHWC', 2))) as tf.Scalar;
    const before = tf.memory().numTensors;
    expect(() => valueAndGrads(loss, [x, filter])).toThrow('dilation rates greater than 1 are not yet supported');
    expect(tf.memory().numTensors).toBe(before);
    let encoded = 0;
    const keep: KeepRule = () => ({
      name: 'fails',
      encode: (t) => {
        if (++encoded === 2) throw new Error('no room');
        const copy = tf.keep(t.clone());
        return { bytes: 4 * t.size, decode: () => copy.clone(), dispose: () => copy.dispose() };
      },
    });
    const product = () => tf.mul(tf.add(x, 1), tf.add(x, 2)).sum() as tf.Scalar;
    expect(() => valueAndGrads(product, [x], { keep: [keep] })).toThrow('no room');
    expect([encoded, tf.memory().numTensors]).toEqual([2, before]);
    tf.dispose([x, filter]);
  });

  test('returns what tf.variableGrads returns, bit for bit, and leaks nothing', () => {
    const w = tf.variable(normal([4, 3], 1));
    const b = tf.variable(normal([3], 2));
    const x = normal([5, 4], 3);
    const loss = () => tf.softmax(x.matMul(w).add(b).relu()).square().mean() as tf.Scalar;
    const before = tf.memory();
    const ours = valueAndGrads(loss, [w, b]);
    const stock = tf.variableGrads(loss, [w, b]);
    close(ours.value, stock.value);
    for (const name of Object.keys(stock.grads)) close(ours.grads[name]!, stock.grads[name]!);
    tf.dispose([ours, stock] as never);
    expect(tf.memory().numTensors).toBe(before.numTensors);
    expect(tf.memory().numBytes).toBe(before.numBytes);
    tf.dispose([w, b, x]);
  });

  test('without a list it differentiates all trainable variables of the engine', () => {
    const w = tf.variable(tf.scalar(3));
    const frozen = tf.variable(tf.scalar(2), false);
    const { grads } = valueAndGrads(() => w.mul(frozen).square() as tf.Scalar);
    expect(Object.keys(grads)).toEqual([w.name]);
    expect(grads[w.name]!.dataSync()[0]).toBe(24);
    tf.dispose([w, frozen, grads] as never);
  });

  test('a head on frozen layers keeps only its own input', () => {
    const frozen = [1, 2, 3, 4].map((seed) => tf.variable(normal([64, 64], seed), false));
    const head = tf.variable(normal([64, 2], 9));
    const x = normal([32, 64], 10);
    const features = () => frozen.reduce<tf.Tensor>((h, w) => h.matMul(w).tanh(), x);
    const { most, result } = watch(() => valueAndGrads(() => tf.tidy(() => features().matMul(head).mean() as tf.Scalar), [head]));
    expect(most).toBe(32 * 64 * 4);
    tf.dispose([frozen, head, x, result] as never);
  });

  test('variables that do not train are not differentiated, and their kernels keep no input', () => {
    const [w, v] = [tf.variable(normal([8, 8], 1)), tf.variable(normal([8, 8], 2))];
    const x = normal([16, 8], 3);
    const { most, result } = watch(() => valueAndGrads(() => x.matMul(w).matMul(v).sum() as tf.Scalar, [w]));
    expect(most).toBe(16 * 8 * 4); // x for dw; v is a variable, and dv is not wanted
    expect(Object.keys(result.grads)).toEqual([w.name]);
    tf.dispose([w, v, x, result] as never);
  });

  test('one buffer waits once, however many kernels read it and in whatever shape', () => {
    const w = tf.variable(normal([6, 4], 1));
    const { most, result } = watch(() =>
      valueAndGrads(() => {
        const y = w.exp(); // y waits for its own gradient, for both sides of the products, and reshaped
        return y
          .mul(y)
          .add(y.reshape([24]).square().reshape([6, 4]))
          .sum() as tf.Scalar;
      }, [w]),
    );
    expect(most).toBe(24 * 4);
    tf.dispose([w, result] as never);
  });

  test('values wait no longer than until they are read: nothing waits at the end', () => {
    const w = tf.variable(normal([6, 4], 1));
    const seen = watch(() => valueAndGrads(() => w.exp().tanh().sum() as tf.Scalar, [w]));
    expect(seen.most).toBe(2 * 24 * 4);
    expect(seen.now).toBe(0);
    tf.dispose([w, seen.result] as never);
  });

  test('what does not lead to the loss is dropped before backward', () => {
    const w = tf.variable(normal([8], 1));
    const seen = watch(() =>
      valueAndGrads(() => {
        tf.keep(w.exp().mean()).dispose(); // a metric
        return w.sum() as tf.Scalar;
      }, [w]),
    );
    expect(seen.now).toBe(0);
    tf.dispose([w, seen.result] as never);
  });
});

describe('a value that is formed again in backward is the one that forward saw', () => {
  /** Variables of `f`: one to differentiate and one that f may assign. Runs with both ways of computing gradients. */
  function same(f: (w: tf.Variable, other: tf.Variable) => tf.Tensor, shapes: [number[], number[]]): void {
    const [first, second] = shapes.map((shape, i) => normal(shape, i + 1)) as [tf.Tensor, tf.Tensor];
    const before = tf.memory().numTensors;
    const run = (grads: typeof valueAndGrads) => {
      const [w, other] = [tf.variable(first), tf.variable(second, false)];
      const { value, grads: all } = grads(() => f(w, other).sum() as tf.Scalar, [w]);
      const result = [value.dataSync()[0], ...all[w.name]!.dataSync()];
      tf.dispose([w, other, value, all] as never);
      return result;
    };
    expect(run(valueAndGrads)).toEqual(run(tf.variableGrads as typeof valueAndGrads));
    expect(tf.memory().numTensors).toBe(before);
    tf.dispose([first, second]);
  }
  const assigned = (v: tf.Variable, value: tf.Tensor) => v.assign(value as never);

  test('though the mean of a square of differences is assigned after the difference, or after the square', () => {
    const early = (w: tf.Variable, mean: tf.Variable) => {
      const d = w.sub(mean);
      assigned(mean, mean.mul(50));
      return d.square();
    };
    const late = (w: tf.Variable, mean: tf.Variable) => {
      const y = w.sub(mean).square();
      assigned(mean, mean.mul(50));
      return y;
    };
    const own = (w: tf.Variable, mean: tf.Variable) => {
      const d = w.sub(mean);
      assigned(w, w.mul(3));
      return d.square();
    };
    for (const f of [early, late, own])
      same(f, [
        [6, 4],
        [1, 4],
      ]);
  });

  test('though what was tiled is assigned after the tile, or after the product', () => {
    const early = (w: tf.Variable, row: tf.Variable) => {
      const rows = row.tile([6, 1]);
      assigned(row, row.mul(50));
      return w.mul(rows);
    };
    const late = (w: tf.Variable, row: tf.Variable) => {
      const y = w.mul(row.tile([6, 1]));
      assigned(row, row.mul(50));
      return y;
    };
    for (const f of [early, late])
      same(f, [
        [6, 4],
        [1, 4],
      ]);
  });

  test('though the weight that was transposed is assigned after the transpose, or after the product', () => {
    const early = (w: tf.Variable, kernel: tf.Variable) => {
      const flipped = kernel.transpose();
      assigned(kernel, kernel.mul(50));
      return w.matMul(flipped).square();
    };
    const late = (w: tf.Variable, kernel: tf.Variable) => {
      const y = w.matMul(kernel.transpose());
      assigned(kernel, kernel.mul(50));
      return y.square();
    };
    for (const f of [early, late])
      same(f, [
        [3, 4],
        [2, 4],
      ]);
    same(
      (w, x) => {
        const flipped = w.transpose();
        assigned(w, w.mul(3)); // the trained weight itself
        return x.mul(w.sum()).matMul(flipped);
      },
      [
        [3, 4],
        [2, 4],
      ],
    );
  });
});

describe('gradients of whatever shape and origin', () => {
  test('a custom gradient around a raw fused kernel keeps its own gradient', () => {
    const [a, b] = [tf.variable(normal([1, 2, 3], 1)), tf.variable(normal([1, 3, 2], 2))];
    for (const saves of [1, 2, 3]) {
      const op = tf.customGrad((x, y, save) => {
        const [p, q] = [x as tf.Tensor, y as tf.Tensor];
        const attrs = { transposeA: false, transposeB: false, activation: 'linear' };
        const value = tf.engine().runKernel('_FusedMatMul', { a: p, b: q }, attrs) as tf.Tensor;
        (save as tf.GradSaveFunc)([p, q, value].slice(0, saves));
        return { value, gradFunc: (_: tf.Tensor, [saved]: tf.Tensor[]) => [saved!.mul(42), tf.fill([1, 3, 2], 43)] };
      });
      const { value, grads } = valueAndGrads(() => op(a, b).sum() as tf.Scalar, [a, b]);
      close(grads[a.name]!, a.mul(42));
      expect(grads[b.name]!.dataSync()[0]).toBe(43);
      tf.dispose([value, grads] as never);
    }
    tf.dispose([a, b]);
  });

  test.each([-1, 0, 1, 2, -2, -3])('stacking along axis %i', (axis) => {
    const x = normal([2, 3], 1);
    const f = () => tf.stack([x, x.square()], axis).square().sum();
    const { value, grads } = gradients(f, [x]);
    x.dataSync().forEach((v, i) => expect(grads[0]!.dataSync()[i]!).toBeCloseTo(2 * v + 4 * v ** 3, 4));
    tf.dispose([x, value, grads[0]!]);
  });

  test.each([
    ['a sum over rows', (e) => e.sum(0).add(1)],
    ['a sum of all', (e) => e.sum().add(1)],
    ['a mean of columns', (e) => e.mean(1).add(1)],
    ['a sum behind an activation', (e) => e.mul(2).relu().sum(1)],
    ['a square of a sum', (e) => e.square().sum(0).square()],
  ] as [string, (e: tf.Tensor) => tf.Tensor][])('a tensor without elements has an empty gradient through %s', (_, f) => {
    const e = tf.variable(tf.zeros([0, 3]));
    const { value, grads } = valueAndGrads(() => f(e).sum() as tf.Scalar, [e]);
    expect(grads[e.name]!.shape).toEqual([0, 3]);
    tf.dispose([e, value, grads] as never);
  });

  test('a kernel registered with outputsToSave [false, true] gets its second output', () => {
    const kernel = { kernelName: 'TwoAndFive', backendName: 'cpu' };
    tf.registerKernel({
      ...kernel,
      kernelFunc({ inputs, backend }) {
        const { x } = inputs as { x: tf.TensorInfo };
        const cpu = backend as unknown as {
          readSync(id: object): Float32Array;
          makeTensorInfo(shape: number[], dtype: string, values: Float32Array): tf.TensorInfo;
        };
        return [2, 5].map((factor) =>
          cpu.makeTensorInfo(
            x.shape,
            'float32',
            cpu.readSync(x.dataId).map((v) => v * factor),
          ),
        );
      },
    });
    tf.registerGradient({
      kernelName: kernel.kernelName,
      inputsToSave: [],
      outputsToSave: [false, true],
      gradFunc: (dy, [second]) => ({ x: () => tf.mul((dy as tf.Tensor[])[0]!, second!) }),
    });
    const w = tf.variable(tf.tensor1d([1, -2, 3]));
    const loss = () => (tf.engine().runKernel('TwoAndFive', { x: w }) as unknown as tf.Tensor[])[0]!.sum() as tf.Scalar;
    const { value, grads } = valueAndGrads(loss, [w]);
    expect(Array.from(grads[w.name]!.dataSync())).toEqual([5, -10, 15]);
    tf.unregisterGradient(kernel.kernelName);
    tf.unregisterKernel(kernel.kernelName, 'cpu');
    tf.dispose([w, value, grads] as never);
  });
});

describe('gradients that tfjs 4.22 lacks or has wrong', () => {
  test('comparisons stop the gradient, so masks may be computed inside', () => {
    const x = tf.tensor1d([-1, 2, 3]);
    const { value, grads } = gradients(() => x.mul(x.greater(0).toFloat()).sum(), [x]);
    expect(Array.from(grads[0]!.dataSync())).toEqual([0, 1, 1]);
    tf.dispose([x, value, grads[0]!]);
  });

  test.each(['ij,jk->ik', 'ij,jk->ki', 'bij,bjk->bik', 'bhqd,bhkd->bhqk', 'ij,ij->', 'ij,j->i', 'i,j->ij'])(
    'einsum %s agrees with finite differences',
    (equation) => {
      const size: { [label: string]: number } = { i: 2, j: 3, k: 4, b: 2, h: 2, q: 3, d: 2 };
      const [left] = equation.split('->') as [string];
      const xs = left.split(',').map((labels, n) =>
        normal(
          [...labels].map((l) => size[l]!),
          n + 1,
        ),
      );
      const f = () =>
        tf
          .einsum(equation, ...xs)
          .square()
          .sum();
      const { value, grads } = gradients(f, xs);
      xs.forEach((x, n) => {
        const flat = x.dataSync();
        for (let i = 0; i < x.size; i++) {
          const at = (delta: number) => {
            const moved = tf.tensor(
              Float32Array.from(flat, (v, j) => (j === i ? v + delta : v)),
              x.shape,
            );
            return tf.tidy(
              () =>
                tf
                  .einsum(equation, ...xs.map((other, m) => (m === n ? moved : other)))
                  .square()
                  .sum()
                  .dataSync()[0]!,
            );
          };
          expect(grads[n]!.dataSync()[i]!).toBeCloseTo((at(1e-2) - at(-1e-2)) / 2e-2, 2);
        }
      });
      tf.dispose([value, grads as tf.Tensor[], xs]);
    },
  );

  test('batchNorm without scale or offset can be differentiated', () => {
    const x = normal([4, 2, 2, 3], 1);
    const [mean, variance] = [normal([3], 2), tf.tensor1d([1, 2, 3])];
    const ours = gradients(
      () =>
        tf
          .batchNorm(x as tf.Tensor4D, mean as tf.Tensor1D, variance)
          .square()
          .sum(),
      [x, mean, variance],
    );
    const composed = gradients(() => x.sub(mean).mul(variance.add(0.001).rsqrt()).square().sum(), [x, mean, variance]);
    ours.grads.forEach((g, i) => g!.dataSync().forEach((v, j) => expect(v).toBeCloseTo(composed.grads[i]!.dataSync()[j]!, 3)));
    tf.dispose([x, mean, variance, ours, composed] as never);
  });

  test('cumsum along any axis has a gradient of the right shape', () => {
    const x = normal([3, 4], 1);
    const { value, grads } = gradients(
      () =>
        tf
          .cumsum(x, 0)
          .mul(tf.tensor2d([[1], [10], [100]]))
          .sum(),
      [x],
    );
    expect(Array.from(grads[0]!.dataSync())).toEqual([111, 111, 111, 111, 110, 110, 110, 110, 100, 100, 100, 100]);
    tf.dispose([x, value, grads[0]!]);
  });

  test('second derivatives of tanh, sigmoid and exp work', () => {
    const x = tf.scalar(0.5);
    for (const [f, expected] of [
      [tf.tanh, -2 * Math.tanh(0.5) * (1 - Math.tanh(0.5) ** 2)],
      [tf.exp, Math.exp(0.5)],
    ] as const) {
      const d = () => gradients(() => f(x), [x]).grads[0]!;
      const { value, grads } = gradients(d, [x]);
      expect(grads[0]!.dataSync()[0]).toBeCloseTo(expected, 5);
      tf.dispose([value, grads[0]!]);
    }
    x.dispose();
  });
});

describe('errors leave the engine as it was', () => {
  const w = () => tf.variable(tf.tensor1d([1, 2, 3]));
  const code = (f: () => unknown) => {
    const before = [keysOfEngine(), tf.engine().state.gradientDepth, tf.engine().state.kernelDepth, tf.memory().numTensors];
    let caught: unknown;
    try {
      f();
    } catch (error) {
      caught = error;
    }
    expect([keysOfEngine(), tf.engine().state.gradientDepth, tf.engine().state.kernelDepth, tf.memory().numTensors]).toEqual(before);
    return FinetuneError.is(caught) ? `${caught.code}: ${caught.message}` : String(caught);
  };

  test('an async loss', () => {
    const v = w();
    expect(code(() => valueAndGrads((async () => v.sum().dispose()) as never, [v]))).toMatch(/^bad-loss: .*returned a Promise/);
    v.dispose();
  });

  test('a loss that is no scalar, no tensor, or throws', () => {
    const v = w();
    expect(code(() => valueAndGrads(() => v.square() as never, [v]))).toMatch(/^bad-loss: .*rank-1/);
    expect(code(() => valueAndGrads(() => 3 as never, [v]))).toMatch(/^bad-loss: .*must be a tensor/);
    expect(
      code(() =>
        valueAndGrads(() => {
          v.exp().square();
          throw new Error('mine');
        }, [v]),
      ),
    ).toMatch(/mine/);
    v.dispose();
  });

  test("a tensor of the user's that a bad loss returns is not disposed", () => {
    const v = w();
    const [constant, vector, dy] = [tf.scalar(1), tf.tensor1d([1, 2]), tf.ones([3])];
    expect(code(() => valueAndGrads(() => constant, [v]))).toMatch(/^not-reached/);
    expect(code(() => valueAndGrads(() => vector as never, [v]))).toMatch(/^bad-loss/);
    expect(code(() => gradients(() => vector, [v], dy))).toMatch(/shape of dy/);
    expect([v, constant, vector].map((t) => t.isDisposed)).toEqual([false, false, false]);
    tf.dispose([v, constant, vector, dy]);
  });

  test('a custom gradient that throws after it saved', () => {
    const v = w();
    const op = tf.customGrad((x, save) => {
      (save as tf.GradSaveFunc)([x as tf.Tensor, tf.square(x as tf.Tensor)]);
      throw new Error('mine');
    });
    const seen = watch(() => code(() => valueAndGrads(() => op(v).sum() as tf.Scalar, [v])));
    expect(seen.result).toMatch(/mine/);
    expect(seen.now).toBe(0);
    v.dispose();
  });

  test('a gradient rule that leaves out a wanted input, or gives another shape, by the name of its kernel', () => {
    const v = w();
    const under = (kernel: string, f: () => tf.Tensor, backward: GradientRule['backward']) =>
      code(() => valueAndGrads(() => f().sum() as tf.Scalar, [v], { gradients: [{ [kernel]: { keep: () => ({}), backward } }] }));
    expect(
      under(
        'Multiply',
        () => v.mul(2),
        () => ({}),
      ),
    ).toMatch(/^no-gradient: .*op Multiply. .* 'a' is wanted, but its rule gave none/);
    for (const kernel of ['Exp', 'Relu', 'Sum']) {
      const wrong = under(
        kernel,
        () => v.exp().relu(),
        () => ({ x: tf.ones([1]) }),
      );
      expect(wrong).toMatch(
        new RegExp(`op ${kernel}. The gradient of input 'x' has shape '1', which does not match the shape of the input '3'`),
      );
    }
    v.dispose();
  });

  test('variables that f does not reach, are disposed, or do not train', () => {
    const [v, other, gone] = [w(), w(), w()];
    gone.dispose();
    expect(code(() => valueAndGrads(() => v.sum() as tf.Scalar, [other]))).toMatch(/^not-reached/);
    expect(code(() => valueAndGrads(() => v.sum() as tf.Scalar, [v, gone]))).toMatch(new RegExp(`^disposed: .*${gone.name}`));
    other.trainable = false;
    expect(code(() => valueAndGrads(() => v.sum() as tf.Scalar, [other]))).toMatch(/^not-reached: .*trainable/);
    tf.dispose([v, other]);
  });

  test('a kernel without a gradient, only if backward reaches it', () => {
    const v = w();
    expect(code(() => valueAndGrads(() => tf.topk(v, 2).values.sum() as tf.Scalar, [v]))).toMatch(/^no-gradient: .*TopK/);
    const { value, grads } = valueAndGrads(() => {
      tf.topk(v, 2);
      return v.sum() as tf.Scalar;
    }, [v]);
    tf.dispose([v, value, grads] as never);
  });
});

describe('techniques', () => {
  const halves: Codec = {
    name: 'copy',
    encode(x) {
      const values = x.dataSync().slice();
      const { shape } = x;
      return { bytes: 2 * x.size, decode: () => tf.tensor(values, shape), dispose: count };
    },
  };
  let disposed = 0;
  const count = () => {
    disposed += 1;
  };

  test('a codec sees each buffer once, never a variable, unrecorded; its values go after their last reader', () => {
    disposed = 0;
    const v = tf.variable(normal([6], 1));
    const seen: string[] = [];
    const keep: KeepRule[] = [
      ({ kernel, role, tensor }) => {
        seen.push(`${kernel} ${role} ${tensor instanceof tf.Variable}`);
        return halves;
      },
    ];
    const loss = () => {
      const y = v.exp();
      return y.mul(y).add(v.square()).sum() as tf.Scalar;
    };
    const { most, result } = watch(() => valueAndGrads(loss, [v], { keep }));
    const plain = valueAndGrads(loss, [v]);
    close(result.grads[v.name]!, plain.grads[v.name]!);
    expect(seen).toEqual(['Exp outputs.0 false']);
    expect(most).toBe(6 * 2);
    expect(disposed).toBe(1);
    tf.dispose([v, result, plain] as never);
  });

  test('a gradient rule replaces that of a kernel, with what it chooses to keep', () => {
    const x = tf.variable(tf.tensor1d([-1, 2]));
    const rule: GradientRule = {
      keep: ({ inputs }) => ({ sign: tf.sign(inputs['x']!) }),
      backward: ([dy], { sign }) => ({ x: dy!.mul(sign!).mul(10) }),
    };
    const { value, grads } = valueAndGrads(() => tf.relu(x).sum() as tf.Scalar, [x], { gradients: [{ Relu: rule }] });
    expect(Array.from(grads[x.name]!.dataSync())).toEqual([-10, 10]);
    tf.dispose([x, value, grads] as never);
  });
});

test('the gradient of a squared difference sums over what was broadcast', () => {
  const [a, b] = [tf.variable(tf.tensor2d([1, 2, 4, 8], [2, 2])), tf.variable(tf.tensor2d([3, 5], [2, 1]))];
  const { value, grads } = valueAndGrads(() => tf.sum(tf.squaredDifference(a, b)) as tf.Scalar, [a, b]);
  expect(Array.from(grads[a.name]!.dataSync())).toEqual([-4, -2, -2, 6]);
  expect(Array.from(grads[b.name]!.dataSync())).toEqual([6, -4]);
  tf.dispose([value, grads, a, b]);
});
