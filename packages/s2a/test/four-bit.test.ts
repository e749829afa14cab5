/** What each operator keeps, to the byte, and how near its gradient is to the exact one. */
import { finetune, measure } from '@leantune/core';
import { available } from '@leantune/testing';
import * as tf from '@tensorflow/tfjs';
import { afterEach, beforeAll, describe, expect, test } from 'vitest';
import { biasTuning, type FourBitOptions, fourBit } from '../src/index.ts';

let start = 0;
afterEach(() => expect(tf.memory().numTensors, 'tensors left behind').toBe(start));

interface Outcome {
  /** Bytes that wait, by the kernel they wait for. */
  readonly kept: { readonly [kernel: string]: number };
  /** Relative L2 distance of the gradient from the exact one. */
  readonly off: number;
}

/** The gradient of Σ f(x) · random with respect to x, exact and with fourBit, on the backend in use. */
function compare(f: (x: tf.Tensor) => tf.Tensor, shape: number[], options: FourBitOptions = {}): Outcome {
  const initial = tf.randomNormal(shape, 0, 1, 'float32', 3);
  const x = tf.variable(initial);
  initial.dispose();
  const direction = tf.tidy(() => tf.randomNormal(f(x).shape, 0, 1, 'float32', 5));
  const run = (techniques: Parameters<typeof finetune>[1]) => {
    const tuned = finetune({ x }, techniques);
    // Parts of a pattern are gone before the next kernel, as in a layer.
    const step = () =>
      tuned.valueAndGrads(() =>
        tf.tidy(
          () =>
            tf.sum(
              tf.mul(
                tf.tidy(() => f(x)),
                direction,
              ),
            ) as tf.Scalar,
        ),
      );
    const { result, memory } = measure(() => {
      const { value, grads } = step();
      const [gradient] = Object.values(grads);
      const values = Float32Array.from(gradient!.dataSync());
      tf.dispose([value, grads]);
      return values;
    });
    tuned.dispose();
    return { gradient: result, memory };
  };
  const [exact, ours] = [run([]), run([fourBit(options)])];
  const sum = (values: Iterable<number>) => [...values].reduce((total, v) => total + v * v, 0);
  const off = Math.sqrt(sum(ours.gradient.map((g, i) => g - exact.gradient[i]!)) / sum(exact.gradient));
  tf.dispose([x, direction]);
  return { kept: Object.fromEntries(ours.memory.kept.map(({ kernel, bytes }) => [kernel, bytes])), off };
}

const words = (n: number, bits: number) => 4 * Math.ceil((n * bits) / 32);
const N = 1003; // odd: the last word is not full

describe.each(await available(['cpu', 'wasm', 'tensorflow', 'webgpu']))('on %s', (backend) => {
  beforeAll(async () => {
    await tf.setBackend(backend);
    start = tf.memory().numTensors;
  });

  test.each<[string, (x: tf.Tensor) => tf.Tensor]>([
    ['Relu', tf.relu],
    ['Relu6', tf.relu6],
    ['LeakyRelu', (x) => tf.leakyRelu(x, 0.3)],
    ['ClipByValue', (x) => tf.clipByValue(x, -0.5, 1)],
    ['Maximum', (x) => tf.maximum(x, 0.25)],
    ['Minimum', (x) => tf.minimum(6, x)],
  ])('%s waits as one bit a value, and its gradient is exact', (kernel, f) => {
    const { kept, off } = compare(f, [N]);
    expect(kept[kernel]).toBe(words(N, 1));
    expect(off).toBe(0);
  });

  test.each<[string, (x: tf.Tensor) => tf.Tensor]>([
    ['Elu', tf.elu],
    ['Selu', tf.selu],
    ['Sigmoid', tf.sigmoid],
    ['Tanh', tf.tanh],
    ['Softplus', tf.softplus],
    ['Gelu', (x) => tf.mul(tf.mul(x, 0.5), tf.add(1, tf.erf(tf.div(x, Math.SQRT2))))],
    ['Gelu', (x) => tf.mul(0.5, tf.mul(x, tf.add(1, tf.erf(tf.mul(x, Math.SQRT1_2)))))],
    [
      'Gelu',
      (x) => tf.mul(x, tf.mul(0.5, tf.add(1, tf.tanh(tf.mul(tf.sqrt(tf.div(2, Math.PI)), tf.add(x, tf.mul(0.044715, tf.pow(x, 3)))))))),
    ],
    ['Silu', (x) => tf.mul(x, tf.sigmoid(x))],
    ['Silu', (x) => tf.mul(tf.sigmoid(tf.mul(x, 1.702)), x)],
    ['Mish', (x) => tf.mul(x, tf.tanh(tf.softplus(x)))],
    ['HardSwish', (x) => tf.mul(x, tf.div(tf.relu6(tf.add(x, 3)), 6))],
  ])('%s waits as 4 bits a value, and its gradient is within 5.5 %%', (kernel, f) => {
    const { kept, off } = compare(f, [N]);
    expect(kept[kernel]).toBe(words(N, 4));
    expect(off).toBeLessThan(0.055); // 5 % on average over normal x; these are a thousand draws
    const fine = compare(f, [N], { bits: { activation: 8 } });
    expect(fine.kept[kernel]).toBe(words(N, 8));
    expect(fine.off).toBeLessThan(0.008);
  });

  test('a product that only resembles GELU keeps what it needs, and stays exact', () => {
    const { off, kept } = compare((x) => tf.mul(tf.mul(x, 0.4), tf.add(1, tf.erf(tf.div(x, Math.SQRT2)))), [N], {
      bits: { activation: 32 },
    });
    expect(kept).not.toHaveProperty('Gelu');
    expect(off).toBeLessThan(1e-6);
  });

  test('a gate that closes where SiLU opens is no SiLU', () => {
    const { off, kept } = compare((x) => tf.mul(x, tf.sigmoid(tf.mul(x, -2))), [N]);
    expect(kept).not.toHaveProperty('Silu');
    expect(off).toBeLessThan(0.055);
  });

  test('what the parts of a pattern made may be read elsewhere, and the gradient still has all its parts', () => {
    const f = (x: tf.Tensor) => {
      const gate = tf.sigmoid(x);
      return tf.add(tf.mul(x, gate), tf.mul(gate, 10));
    };
    expect(compare(f, [N]).off).toBeLessThan(0.055);
  });

  test('max pooling waits as the place in its window, and its gradient is exact', () => {
    const image = (x: tf.Tensor) => tf.reshape(x, [2, 7, 7, 3]);
    const { kept, off } = compare((x) => tf.maxPool(image(x) as tf.Tensor4D, 3, 2, 'same'), [294]);
    expect(kept['MaxPool']).toBe(words(2 * 4 * 4 * 3, 4));
    expect(off).toBeLessThan(1e-6); // windows overlap, and sum in another order
  });

  test('what dropout multiplies with waits as one bit a value, and its gradient is exact', () => {
    const [rows, width] = [17, 59]; // N values
    const layers = [tf.layers.dense({ inputShape: [3], units: width }), tf.layers.dropout({ rate: 0.25, seed: 3 })];
    const model = tf.sequential({ layers });
    const [x, direction] = [tf.ones([rows, 3]), tf.randomNormal([rows, width], 0, 1, 'float32', 5)];
    const loss = () => tf.tidy(() => tf.sum(tf.mul(model.apply(x, { training: true }) as tf.Tensor, direction)) as tf.Scalar);
    const [exact, ours] = [[biasTuning()], [biasTuning(), fourBit()]].map((techniques) => {
      const tuned = finetune(model, techniques);
      const { result, memory } = measure(() => tuned.valueAndGrads(loss));
      const [gradient] = Object.values(result.grads);
      const values = Array.from(gradient!.dataSync());
      tf.dispose([result.value, result.grads]);
      tuned.dispose();
      return { values, kept: memory.kept.filter(({ kernel, layer }) => kernel === 'Multiply' && layer !== '') };
    });
    expect(ours!.values).toEqual(exact!.values);
    expect(exact!.values.some((v) => v !== 0)).toBe(true);
    expect(exact!.kept.map(({ bytes }) => bytes)).toEqual([4 * N]);
    expect(ours!.kept.map(({ bytes }) => bytes)).toEqual([words(N, 1)]);
    model.dispose();
    tf.dispose([x, direction]);
  });

  test('softmax waits in rows, and is the operand of the product behind it at no cost', () => {
    const row = (bits: number) => 2 * 5 * (4 + words(96, bits));
    const alone = compare((x) => tf.softmax(x), [2, 5, 96]);
    expect(alone.kept['Softmax']).toBe(row(4));
    expect(alone.off).toBeLessThan(0.12);
    const both = (x: tf.Tensor) => {
      const p = tf.softmax(x);
      return tf.matMul(p, p, false, true);
    };
    const { kept, off } = compare(both, [2, 5, 96], { bits: 8 });
    expect(kept['Softmax']).toBe(row(8));
    expect(kept).not.toHaveProperty('BatchMatMul');
    expect(off).toBeLessThan(0.02);
  });

  test.each<[string, (x: tf.Tensor) => tf.Tensor, boolean]>([
    [
      'LayerNorm',
      (x) => {
        const { mean, variance } = tf.moments(x, -1, true);
        return tf.mul(tf.sub(x, mean), tf.rsqrt(tf.add(variance, 1e-6)));
      },
      true,
    ],
    [
      'LayerNorm',
      (x) => {
        const mean = tf.mean(x, -1, true);
        const inverse = tf.mul(tf.rsqrt(tf.add(tf.mean(tf.squaredDifference(x, mean), -1, true), 1e-6)), tf.ones([64]));
        return tf.add(tf.mul(x, inverse), tf.sub(tf.ones([64]), tf.mul(mean, inverse)));
      },
      true,
    ],
    ['RmsNorm', (x) => tf.mul(x, tf.rsqrt(tf.add(tf.mean(tf.square(x), -1, true), 1e-6))), false],
  ])('%s waits in rows with its statistics, however it is written', (kernel, f, centered) => {
    const [rows, width] = [9, 64];
    const { kept, off } = compare(f, [rows, width]);
    const statistics = rows * 4 * (centered ? 2 : 1);
    const least = rows * (4 + words(width, 4)) + statistics;
    // The mean waits for the parts too.
    const parts = (kept['Square'] ?? 0) + (kept['SquaredDifference'] ?? 0);
    expect([least, least + width * 4]).toContain(kept[kernel]! + parts); // and γ, in the form that has it
    expect(off).toBeLessThan(0.05);
  });

  test('rows rounded at random differ from step to step, and both readings of the paper run', () => {
    const f = (x: tf.Tensor) => tf.softmax(x);
    expect(compare(f, [2, 3, 64], { rounding: 'stochastic', seed: 4 }).off).toBeLessThan(0.25);
    expect(compare(tf.tanh, [N], { reading: 'interval' }).off).toBeLessThan(0.055);
  });
});
