/** Numbers in the patterns that the tape finds are those that ops read, whatever becomes of the variable that they stand in. */
import { available } from '@leantune/testing';
import * as tf from '@tensorflow/tfjs';
import { beforeAll, describe, expect, test } from 'vitest';
import { adamW, gradients } from '../src/index.ts';

/** How far our gradient is from tfjs's. */
function off(f: (x: tf.Tensor) => tf.Tensor): number {
  return tf.tidy(() => {
    const x = tf.randomNormal([4, 6], 0, 1, 'float32', 1);
    const loss = (v: tf.Tensor) => tf.sum(tf.tidy(() => f(v)));
    const { grads } = gradients(() => loss(x), [x]);
    return tf.max(tf.abs(tf.sub(grads[0]!, tf.grad(loss)(x)))).dataSync()[0]!;
  });
}

const backends = await available(['cpu', 'wasm', 'tensorflow', 'webgpu']);

describe.each(backends)('on %s', (backend) => {
  beforeAll(async () => {
    await tf.setBackend(backend);
  });

  test('a slope that an optimizer moves, read through a reshape', () => {
    const slope = tf.tidy(() => tf.variable(tf.scalar(0.7)));
    const direct = (x: tf.Tensor) => tf.mul(x, tf.sigmoid(tf.mul(slope, x)));
    const reshaped = (x: tf.Tensor) => tf.mul(x, tf.sigmoid(tf.mul(tf.reshape(slope, [1]), x)));
    const optimizer = adamW({ learningRate: 0.5 });
    expect(off(direct)).toBeLessThan(1e-6);
    for (let step = 0; step < 2; step++) {
      const gradient = tf.scalar(1);
      optimizer.applyGradients({ [slope.name]: gradient }); // in place, where the backend can
      gradient.dispose();
      for (const f of [reshaped, direct]) expect(off(f)).toBeLessThan(1e-6);
    }
    optimizer.dispose();
    slope.dispose();
  });
});

describe('what is assigned between the ops of a pattern', () => {
  beforeAll(async () => {
    await tf.setBackend('cpu');
  });

  test('a number', () => {
    const [slope, first, then] = [tf.variable(tf.scalar(1.5), false), tf.scalar(1.5), tf.scalar(3)];
    const f = (x: tf.Tensor) => {
      slope.assign(first);
      const gate = tf.sigmoid(tf.mul(slope, x));
      slope.assign(then);
      return tf.mul(x, gate);
    };
    expect(off(f)).toBe(0);
    tf.dispose([slope, first, then]);
  });

  test('x', () => {
    const [first, then] = [1, 2].map((seed) => tf.randomNormal([4, 6], 0, 1, 'float32', seed)) as [tf.Tensor, tf.Tensor];
    const x = tf.variable(first);
    const loss = () => {
      x.assign(first);
      const y = tf.tidy(() => {
        const [half, erf] = [tf.mul(x, 0.5), tf.erf(tf.div(x, Math.SQRT2))];
        x.assign(then);
        return tf.mul(half, tf.add(1, erf));
      });
      return tf.sum(y) as tf.Scalar;
    };
    const { value, grads } = gradients(loss, [x]);
    const stock = tf.variableGrads(loss, [x]);
    const expected = stock.grads[x.name]!.dataSync();
    grads[0]!.dataSync().forEach((g, i) => expect(g).toBeCloseTo(expected[i]!, 6));
    tf.dispose([first, then, x, value, grads[0], stock.value, stock.grads] as never);
  });
});
