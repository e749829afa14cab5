/** Einsum nodes as dense sites: what Keras's MultiHeadAttention and EinsumDense become in a GraphModel. */
import { finetune } from '@leantune/core';
import { einsumGraph, squaredError } from '@leantune/testing';
import * as tf from '@tensorflow/tfjs';
import { beforeAll, expect, test } from 'vitest';
import { denseEinsum } from '../src/models/dense-einsum.ts';

beforeAll(async () => {
  await tf.setBackend('cpu');
});

const close = { rel: 1e-5, because: 'sums in another order' };

test.each([
  ['abc,cd->abd', [7, 5], 'abc,cd->abd', [7, 5]],
  ['abc, cde -> abde', [7, 2, 3], 'abc,cd->abd', [7, 6]],
  ['abcd,cde->abe', [2, 3, 5], 'abcd,cde->abe', [2, 3, 5]],
])('%s is a dense layer, of a kernel %j', (equation, shape, narrow, matrix) => {
  const found = denseEinsum(equation)!;
  expect(found.narrow).toBe(narrow);
  expect(found.kernelShape(shape)).toEqual(matrix);
});

test.each(['abc,adc->abd', 'ab,cb->ac', 'acbe,aecd->abcd', 'abc->acb', 'ab,bc->ca', '...x,xy->...y', 'aab,bc->aac', 'ab,cd->abcd'])(
  '%s is none',
  (equation) => expect(denseEinsum(equation)).toBeUndefined(),
);

test('their kernels train, with the gradients that stock tfjs has of the same in matrices', async () => {
  const tiny = await einsumGraph();
  const kernels = Object.values(tiny.weights()).filter(({ rank }) => rank === 3);
  const inMatrices = (...[query, output]: tf.Tensor[]) => {
    const heads = tf.tanh(tf.matMul(tiny.x[0]!.reshape([-1, 6]), query!.reshape([6, 6])));
    return squaredError(tiny.y, [
      tf.softmax(
        tf
          .matMul(heads, output!.reshape([6, 3]))
          .reshape([4, 5, 3])
          .mean(1),
      ),
    ]);
  };
  const wanted = tf.valueAndGrads(inMatrices)(kernels.map((kernel) => tf.tensor(kernel.dataSync(), kernel.shape)));
  const tuned = finetune(tiny.model);
  const { value, grads } = tuned.valueAndGrads(tiny.loss);
  expect(value).toBeClose(wanted.value, close);
  expect(Object.keys(grads)).toEqual(['query/kernel', 'output/kernel']);
  for (const [i, g] of Object.values(grads).entries()) expect(g).toBeClose(wanted.grads[i]!, close);
  tuned.dispose();
  tiny.dispose();
});
