import * as tf from '@tensorflow/tfjs';
import { beforeAll, expect, test } from 'vitest';
import { checkpoint } from '../src/autograd/checkpoint.ts';
import { FinetuneError, valueAndGrads } from '../src/index.ts';
import { measure } from '../src/memory/measure.ts';

const normal = (shape: number[], seed: number, sd = 1) => tf.randomNormal(shape, 0, sd, 'float32', seed);

/** A deep net of residual blocks; `wrap` decides how a block is run. */
function deepNet(depth: number, wrap: (block: (h: tf.Tensor) => tf.Tensor, h: tf.Tensor) => tf.Tensor) {
  const weights = Array.from({ length: depth }, (_, i) => tf.tidy(() => tf.variable(normal([16, 16], i + 1, 0.3))));
  const x = normal([64, 16], 99);
  const loss = () => {
    const y = weights.reduce<tf.Tensor>((h, w) => tf.tidy(() => wrap((z) => z.matMul(w).elu().mul(z.sigmoid()).add(z), h)), x);
    return y.square().mean() as tf.Scalar;
  };
  return { weights, loss, dispose: () => tf.dispose([weights, x]) };
}

const equal = (a: tf.NamedTensorMap, b: tf.NamedTensorMap) => {
  const values = (grads: tf.NamedTensorMap) => Object.values(grads).map((g) => Array.from(g.dataSync()));
  expect(values(a)).toEqual(values(b));
};

beforeAll(async () => {
  await tf.setBackend('cpu');
});

test('gradients are bit for bit those without it, also nested, and nothing leaks', () => {
  const before = tf.memory().numTensors;
  const nets = [
    (block: (h: tf.Tensor) => tf.Tensor, h: tf.Tensor) => block(h),
    checkpoint,
    (block: (h: tf.Tensor) => tf.Tensor, h: tf.Tensor) => checkpoint((z: tf.Tensor) => checkpoint(block, z), h),
  ];
  const [plain, once, twice] = nets.map((wrap) => {
    const net = deepNet(6, wrap as never);
    const result = valueAndGrads(net.loss, net.weights);
    net.dispose();
    return result;
  });
  equal(plain!.grads, once!.grads);
  equal(plain!.grads, twice!.grads);
  tf.dispose([plain, once, twice] as never);
  expect(tf.memory().numTensors).toBe(before);
});

test('forward keeps only the input of each block, and the peak falls', () => {
  const bytes = 64 * 16 * 4;
  const memory = [(block: (h: tf.Tensor) => tf.Tensor, h: tf.Tensor) => block(h), checkpoint].map((wrap) => {
    const net = deepNet(12, wrap as never);
    const { result, memory } = measure(() => valueAndGrads(net.loss, net.weights));
    tf.dispose(result as never);
    net.dispose();
    return memory;
  });
  const [plain, checkpointed] = memory as [(typeof memory)[0], (typeof memory)[0]];
  expect(checkpointed.keptBytes).toBeLessThanOrEqual((12 + 1 + 4) * bytes); // inputs of the blocks, of the square, and one block anew
  expect(plain.keptBytes).toBeGreaterThanOrEqual(12 * 3 * bytes);
  expect(checkpointed.peakAboveWeights).toBeLessThan(plain.peakAboveWeights / 2);
});

test('random numbers are the same when it runs again', () => {
  const w = tf.variable(normal([16, 16], 1));
  const x = normal([8, 16], 2);
  const masks: number[][] = [];
  const f = (h: tf.Tensor) => {
    const mask = tf.randomUniform(h.shape).greater(0.5).toFloat(); // seeded from Math.random
    masks.push(Array.from(mask.dataSync()));
    return h.matMul(w).mul(mask);
  };
  const { value, grads } = valueAndGrads(() => checkpoint(f, x).sum() as tf.Scalar, [w]);
  expect(masks).toHaveLength(2);
  expect(masks[1]).toEqual(masks[0]);
  tf.dispose([w, x, value, grads] as never);
});

test('what f moves in forward is not moved twice', () => {
  const w = tf.variable(tf.scalar(2));
  const runs = tf.variable(tf.scalar(0), false);
  const f = (x: tf.Tensor) => {
    runs.assign(runs.add(1));
    return x.mul(w).square();
  };
  const x = tf.scalar(3);
  const { value, grads } = valueAndGrads(() => checkpoint(f, x) as tf.Scalar, [w]);
  expect(runs.dataSync()[0]).toBe(1);
  expect(grads[w.name]!.dataSync()[0]).toBe(36);
  tf.dispose([w, runs, x, value, grads] as never);
});

/** The same loss with and without checkpoint: value, gradient of w, and where `v` ends. */
function compared(loss: (run: typeof checkpoint, w: tf.Variable, v: tf.Variable, x: tf.Tensor) => tf.Tensor): void {
  const [plain, checkpointed] = [((f: (x: tf.Tensor) => tf.Tensor, x: tf.Tensor) => f(x)) as typeof checkpoint, checkpoint].map((run) => {
    const before = tf.memory().numTensors;
    const [w, v] = tf.tidy(() => [tf.variable(normal([4, 4], 1)), tf.variable(normal([4], 2), false)] as const);
    const x = normal([6, 4], 3);
    const { value, grads } = valueAndGrads(() => loss(run, w, v, x).sum() as tf.Scalar, [w]);
    const result = [value, grads[w.name]!, w, v].map((t) => Array.from(t.dataSync()));
    tf.dispose([w, v, x, value, grads] as never);
    expect(tf.memory().numTensors).toBe(before);
    return result;
  });
  expect(checkpointed).toEqual(plain);
}

test('a variable that f reads may be assigned later in the loss, be it trained or not', () => {
  compared((run, w, v, x) => {
    const y = run((h: tf.Tensor) => h.matMul(w).tanh().mul(v), x);
    v.assign(v.mul(0.5));
    return y;
  });
  compared((run, w, _, x) => {
    const y = run((h: tf.Tensor) => h.matMul(w).tanh(), x);
    w.assign(w.mul(0.5));
    return y;
  });
});

test('f may assign a variable twice, and run twice', () => {
  compared((run, w, v, x) => {
    const block = (h: tf.Tensor) => {
      v.assign(v.add(1));
      const y = h.matMul(w).tanh().mul(v);
      v.assign(v.mul(2));
      return y.add(v);
    };
    return run((h) => run(block, run(block, h)), run(block, x));
  });
});

test('f may assign a variable before it reads it', () => {
  compared((run, w, v, x) => {
    const y = run((h: tf.Tensor) => {
      v.assign(tf.tidy(() => w.mean(0)));
      return h.matMul(w).mul(v);
    }, x);
    v.assign(v.mul(0.5));
    return y;
  });
});

test('the same tensor may be passed twice', () => {
  const w = tf.variable(tf.tensor1d([2, 3]));
  const { value, grads } = valueAndGrads(
    () =>
      tf.tidy(() => {
        const h = w.square();
        return checkpoint((a: tf.Tensor, b: tf.Tensor) => a.mul(b), h, h).sum() as tf.Scalar;
      }),
    [w],
  );
  expect(Array.from(grads[w.name]!.dataSync())).toEqual([32, 108]); // 4 w³
  tf.dispose([w, value, grads] as never);
});

test('outside of a recording it is the function itself', () => {
  const x = tf.scalar(3);
  expect(checkpoint((a: tf.Tensor) => a.square(), x).dataSync()[0]).toBe(9);
  x.dispose();
});

test('a differentiable tensor that f reads from outside is refused, with what to do', () => {
  const w = tf.variable(tf.tensor1d([2, 3]));
  const run = () =>
    valueAndGrads(() => {
      const h = w.square();
      return checkpoint((a: tf.Tensor) => a.mul(h), w.exp()).sum() as tf.Scalar;
    }, [w]);
  expect(run).toThrow(FinetuneError);
  expect(run).toThrow('[checkpoint] f reads 1 differentiable tensor(s) of shape [2] from outside. Pass them to f as arguments.');
  w.dispose();
});

test('a tensor that f reads from outside must live until backward; if not, the error says so', () => {
  const w = tf.variable(tf.tensor1d([2, 3]));
  const run = (early: boolean) =>
    valueAndGrads(() => {
      const mask = tf.tensor1d([1, 0]);
      const y = checkpoint((h: tf.Tensor) => h.mul(mask).add(tf.scalar(1)), w.square()).sum() as tf.Scalar;
      if (early) mask.dispose();
      else tf.keep(mask);
      return y;
    }, [w]);
  expect(() => run(true)).toThrow('[checkpoint] f read tensors of shape [2] from outside, which are disposed when backward runs it again.');
  const { grads } = run(false);
  expect(Array.from(grads[w.name]!.dataSync())).toEqual([4, 0]);
});
