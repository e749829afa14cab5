/** The product over axes, in the shape that was asked for: tfjs's loses the axes of `keepDims` where it computes on the CPU. */
import * as tf from '@tensorflow/tfjs-core';
import { input, type Kernels, type Stock, viewAs } from '../backend.ts';

export const prods = (stock: Stock): Kernels => ({
  [tf.Prod]: (inputs, attrs, backend) => {
    const y = stock(tf.Prod)(inputs, attrs, backend) as tf.TensorInfo;
    if (!attrs['keepDims']) return y;
    const { shape } = input(inputs, 'x');
    const axes = tf.util.parseAxisParam(attrs['axis'], shape);
    return viewAs(
      y,
      shape.map((size, axis) => (axes.includes(axis) ? 1 : size)),
    );
  },
});
