/** Weights whose values a kernel only moves wait as the weights they are: never coded, never counted as kept, and not copied. */
import { available } from '@leantune/testing';
import * as tf from '@tensorflow/tfjs';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { measure, valueAndGrads } from '../src/index.ts';
import type { KeepRule } from '../src/technique.ts';

const stock = tf.getKernel('Reshape', 'cpu');

/** Gives cpu a reshape that copies, as webgl's does where it packs a texture anew. */
function copyOnReshape(): void {
  tf.unregisterKernel('Reshape', 'cpu');
  tf.registerKernel({
    ...stock,
    kernelFunc: ({ inputs, attrs, backend }) => {
      const x = inputs['x']!;
      const cpu = backend as tf.KernelBackend;
      const shape = tf.util.inferFromImplicitShape(attrs!['shape'] as number[], tf.util.sizeFromShape(x.shape));
      return { dataId: cpu.write((cpu.readSync(x.dataId) as Float32Array).slice(), shape, x.dtype), shape, dtype: x.dtype };
    },
  });
}

const backends = (await available(['wasm', 'tensorflow', 'webgpu'])).map((name) => [name, name] as const);

describe.each([['cpu', 'cpu'], ['cpu, with a reshape that copies', 'cpu'], ...backends] as const)('on %s', (on, backend) => {
  let start = 0;
  beforeAll(async () => {
    await tf.setBackend(backend);
    if (on.endsWith('copies')) copyOnReshape();
  });
  afterAll(() => {
    tf.unregisterKernel('Reshape', 'cpu');
    tf.registerKernel(stock);
  });
  afterEach(() => expect(tf.memory().numTensors, 'tensors left behind').toBe(start));

  /** x is [5, 4]; a moved weight of 24 values is [4, 6]. */
  test.each<[string, number[], (w: tf.Tensor) => tf.Tensor]>([
    ['as it is', [4, 6], (w) => w],
    ['transposed', [6, 4], (w) => tf.transpose(w)],
    ['reshaped', [2, 2, 6], (w) => tf.reshape(w, [4, 6])],
    ['reshaped twice', [24], (w) => tf.reshape(tf.reshape(w, [2, 12]), [4, 6])],
    ['reshaped, then transposed', [24], (w) => tf.transpose(tf.reshape(w, [6, 4]))],
    ['transposed, then reshaped', [2, 6, 2], (w) => tf.reshape(tf.transpose(w, [0, 2, 1]), [4, 6])],
  ])('a weight that is read %s', (_, shape, moved) => {
    start = tf.memory().numTensors;
    const [x, w] = tf.tidy(() => [
      tf.variable(tf.randomNormal([5, 4], 0, 1, 'float32', 1)),
      tf.variable(tf.randomNormal(shape, 0, 1, 'float32', 2), false),
    ]);
    const loss = () => tf.tidy(() => tf.sum(tf.square(tf.matMul(x as tf.Tensor2D, moved(w) as tf.Tensor2D))) as tf.Scalar);
    const asked: string[] = [];
    const keep: KeepRule = ({ kernel, role, parametric }) => {
      asked.push(`${kernel} ${role} ${parametric ?? false}`);
      return undefined;
    };
    const { result, memory } = measure(() => valueAndGrads(loss, [x], { keep: [keep] }));
    expect(asked).toEqual(['Square inputs.x false']);
    expect(memory.keptBytes).toBe(5 * 6 * 4); // the product
    const plain = tf.variableGrads(loss, [x]);
    const [ours, theirs] = [result, plain].map(({ grads }) => Array.from(grads[x.name]!.dataSync()));
    ours!.forEach((value, i) => expect(value).toBeCloseTo(theirs![i]!, 4));
    tf.dispose([x, w, result, plain] as never);
  });

  test.each([
    ['before', true],
    ['after', false],
  ])('one that is assigned %s the product is read as the product saw it', (_, early) => {
    start = tf.memory().numTensors;
    const gradient = (grads: typeof valueAndGrads): number[] =>
      tf.tidy(() => {
        const [x, w] = [tf.variable(tf.ones([3, 4])), tf.variable(tf.range(0, 24), false)];
        const change = () => w.assign(tf.mul(w, 50));
        const loss = () => {
          const kernel = tf.reshape(w, [4, 6]) as tf.Tensor2D;
          if (early) change();
          const y = tf.matMul(x as tf.Tensor2D, kernel);
          if (!early) change();
          return tf.sum(y) as tf.Scalar;
        };
        const values = Array.from(grads(loss, [x]).grads[x.name]!.dataSync());
        tf.dispose([x, w]);
        return values;
      });
    expect(gradient(valueAndGrads)).toEqual(gradient(tf.variableGrads as typeof valueAndGrads));
  });
});
