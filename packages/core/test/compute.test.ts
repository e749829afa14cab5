/** A technique may compute kernels in another way, in forward and in backward, and is told of steps that were skipped. */
import * as tf from '@tensorflow/tfjs';
import { beforeAll, expect, it } from 'vitest';
import { type Attachment, checkpoint, finetune, type Technique } from '../src/index.ts';

beforeAll(async () => {
  await tf.setBackend('cpu');
});

const technique = (attachment: Partial<Attachment>): Technique => ({
  name: 'test',
  options: null,
  attach: () => ({ detach() {}, ...attachment }),
});

/** y = Σ x·w of small whole numbers. */
function product() {
  const w = tf.variable(tf.tensor2d([1, 2, 3, 4], [2, 2]), true);
  const x = tf.tensor2d([1, -1, 2, 1], [2, 2]);
  return { w, loss: () => tf.tidy(() => tf.sum(tf.matMul(x, w)) as tf.Scalar), x };
}

it('computes kernels of forward and backward, and nothing outside of a step', () => {
  const { w, loss } = product();
  const asked: string[] = [];
  const tuned = finetune(
    { w },
    technique({
      compute(call, run) {
        asked.push(`${call.kernel} ${call.layer === undefined ? 'back' : 'forth'}`);
        const y = run(call);
        return call.kernel === 'BatchMatMul' ? tf.mul(y as tf.Tensor, 10) : y;
      },
    }),
  );
  const plain = loss().dataSync()[0]!;
  expect(asked).toEqual([]);
  const { value, grads } = tuned.valueAndGrads(loss);
  expect(value.dataSync()[0]).toBe(10 * plain);
  expect(Array.from(grads[w.name]!.dataSync())).toEqual([30, 30, 0, 0]); // 10 · xᵀ 1
  expect(asked.filter((kernel) => kernel.startsWith('BatchMatMul'))).toEqual(['BatchMatMul forth', 'BatchMatMul back']);
  expect(asked.some((kernel) => kernel.startsWith('Multiply'))).toBe(false); // what a rule runs itself is not asked
  tuned.dispose();
});

it('nests like middleware, the first outermost, also where a checkpoint runs again', () => {
  const { w, loss, x } = product();
  const order: string[] = [];
  const named = (name: string) =>
    technique({
      compute(call, run) {
        if (call.kernel === 'BatchMatMul' && call.layer !== undefined) order.push(name);
        return run(call);
      },
    });
  const tuned = finetune({ w }, [named('a'), named('b')]);
  tf.dispose(Object.values(tuned.valueAndGrads(loss)));
  expect(order).toEqual(['a', 'b']);
  order.length = 0;
  tf.dispose(Object.values(tuned.valueAndGrads(() => checkpoint((given: tf.Tensor) => tf.sum(tf.matMul(given, w)), x) as tf.Scalar)));
  expect(order).toEqual(['a', 'b', 'a', 'b']);
  tuned.dispose();
});

it('an error in a rule leaves the engine as it was', () => {
  const { w, loss } = product();
  const tuned = finetune(
    { w },
    technique({
      compute(call, run) {
        if (call.layer === undefined) throw new Error('no');
        return run(call);
      },
    }),
  );
  const { numTensors } = tf.memory();
  expect(() => tuned.valueAndGrads(loss)).toThrow('no');
  expect(tf.memory().numTensors).toBe(numTensors);
  expect(Object.hasOwn(tf.engine(), 'runKernelFunc')).toBe(false);
  tuned.dispose();
});

it('skips all batches of a group of which one is skipped, and says so once', () => {
  const { w, loss } = product();
  const told: string[] = [];
  const answers: ('skip' | undefined)[] = [undefined, 'skip', undefined, undefined, undefined, undefined];
  const tuned = finetune(
    { w },
    technique({
      step: {
        onGradients: (gradients) => answers.shift() ?? gradients,
        afterStep: (step) => void told.push(`step ${step}`),
        afterSkip: () => void told.push('skip'),
      },
    }),
  );
  const before = Array.from(w.dataSync());
  const optimizer = tuned.optimizer(tf.train.sgd(1), { accumulate: 3 });
  const { numTensors } = tf.memory();
  for (let i = 0; i < 3; i++) tf.dispose(tuned.minimize(loss, optimizer));
  expect(told).toEqual(['skip']);
  expect(Array.from(w.dataSync())).toEqual(before);
  expect(tf.memory().numTensors).toBe(numTensors);
  for (let i = 0; i < 3; i++) tf.dispose(tuned.minimize(loss, optimizer));
  expect(told).toEqual(['skip', 'step 1']);
  expect(Array.from(w.dataSync())).toEqual([-2, -1, 3, 4]);
  tuned.dispose();
});
