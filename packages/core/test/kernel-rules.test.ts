/** Gradient rules of kernels that another package brings. */
import * as tf from '@tensorflow/tfjs';
import { expect, test } from 'vitest';
import { FinetuneError, finetune, type GradientRule, gradients, registerGradientRule } from '../src/index.ts';

/** A kernel of our own, y = x², z = 3x, with one rule for both outputs. */
const rule: GradientRule = {
  keep: ({ inputs, outputs }) => ({ x: inputs['x']!, half: outputs[1]! }),
  backward: ([dy, dz], { x }) => ({ x: tf.add(tf.mul(tf.mul(dy!, x!), 2), tf.mul(dz ?? tf.zerosLike(dy!), 3)) }),
};
tf.registerKernel({
  kernelName: 'SquareAndTriple',
  backendName: 'cpu',
  kernelFunc: ({ inputs }) => tf.tidy(() => [tf.square(inputs['x'] as tf.Tensor), tf.mul(inputs['x'] as tf.Tensor, 3)]),
});
const both = (x: tf.Tensor) => tf.engine().runKernel('SquareAndTriple', { x }) as tf.Tensor[];

test('a registered rule differentiates its kernel, keep rules see what it keeps by role, and a technique may bring another', async () => {
  await tf.setBackend('cpu');
  registerGradientRule('SquareAndTriple', rule);
  registerGradientRule('SquareAndTriple', rule); // the same again is no conflict
  const before = tf.memory().numTensors;
  const x = tf.tidy(() => tf.variable(tf.tensor1d([1, 2, 3]), true, 'x'));
  const loss = () => tf.sum(both(tf.mul(x, 1))[0]!) as tf.Scalar;
  const { value, grads } = gradients(loss, [x]);
  expect([...grads[0]!.dataSync()]).toEqual([2, 4, 6]);
  tf.dispose([value, grads[0]!]);

  const seen: string[] = [];
  const look = finetune(
    { x },
    {
      name: 'look',
      options: {},
      attach: () => ({ keep: ({ kernel, role }) => void seen.push(`${kernel} ${role}`) as undefined, detach() {} }),
    },
    { trainable: 'x' },
  );
  const optimizer = tf.train.sgd(0);
  look.minimize(loss, optimizer).dispose();
  expect(seen.filter((value) => value.startsWith('Square'))).toEqual(['SquareAndTriple inputs.x', 'SquareAndTriple half']);
  look.dispose();

  const zero: GradientRule = { keep: () => ({}), backward: ([dy]) => ({ x: tf.zerosLike(dy!) }) };
  const own = finetune(
    { x },
    { name: 'own', options: {}, attach: () => ({ gradients: { SquareAndTriple: zero }, detach() {} }) },
    { trainable: 'x' },
  );
  const result = own.valueAndGrads(loss);
  expect([...Object.values(result.grads)[0]!.dataSync()]).toEqual([0, 0, 0]);
  tf.dispose(result as unknown as tf.TensorContainer);
  own.dispose();
  optimizer.dispose();
  x.dispose();
  expect(tf.memory().numTensors).toBe(before);
});

test('a kernel with a rule of its own is differentiated by it inside of a GELU too', () => {
  let asked = 0;
  const still: GradientRule = { keep: () => ({ asked: tf.scalar(++asked) }), backward: ([dy]) => ({ x: tf.zerosLike(dy!) }) };
  registerGradientRule('Erf', still);
  const x = tf.tensor1d([-1, 0.5, 2]);
  const gate = (v: tf.Tensor) => tf.mul(0.5, tf.add(1, tf.erf(tf.div(v, Math.SQRT2))));
  const { value, grads } = gradients(() => tf.sum(tf.tidy(() => tf.mul(x, gate(x)))), [x]);
  expect(asked).toBe(1);
  const expected = tf.tidy(() => gate(x).dataSync());
  grads[0]!.dataSync().forEach((g, i) => expect(g).toBeCloseTo(expected[i]!, 6));
  tf.dispose([x, value, grads[0]!]);
});

test('a second rule for a kernel is a conflict', () => {
  registerGradientRule('OfTwo', rule);
  const second = () => registerGradientRule('OfTwo', { ...rule });
  expect(second).toThrow('[core] got a second gradient rule for kernel OfTwo; expected one. Name your kernel otherwise.');
  try {
    second();
  } catch (error) {
    expect(FinetuneError.is(error) && error.code).toBe('conflict');
  }
});
