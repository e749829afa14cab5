/**
 * Arithmetic that tfjs-backend-wasm is slow at: adding or multiplying a row of few channels, for which it starts a vector
 * loop anew at every pixel, and Maximum and Minimum, which find each element's place under broadcasting anew; and a sum in place.
 */
import * as tf from '@tensorflow/tfjs-core';
import { assertFloat, input, type Kernels, offset, type Stock, type WasmKernel } from './backend.ts';
import { byStretches } from './broadcast.ts';
import { native } from './native.ts';

const size = (x: tf.TensorInfo): number => tf.util.sizeFromShape(x.shape);
const areFloats = (...xs: tf.TensorInfo[]): boolean => xs.every((x) => x.dtype === 'float32');
/** From here on tfjs's vector loop pays. */
const FEW = 128;

/** `b` is one row of the last axis of `a`, and has fewer than FEW elements. */
function isShortRow(a: tf.TensorInfo, b: tf.TensorInfo): boolean {
  const columns = b.shape.at(-1) ?? 1;
  return columns > 1 && columns < FEW && size(b) === columns && a.shape.at(-1) === columns && b.shape.length <= a.shape.length;
}

const rowKernels = { [tf.Add]: 'addRow', [tf.Sub]: 'subtractRow', [tf.Multiply]: 'multiplyRow' } as const;
const extremeKernels = { [tf.Maximum]: 'maximum', [tf.Minimum]: 'minimum' } as const;

const byRow =
  (kernel: keyof typeof rowKernels, stock: WasmKernel): WasmKernel =>
  (inputs, attrs, backend) => {
    let [a, b] = [input(inputs, 'a'), input(inputs, 'b')];
    if (kernel !== tf.Sub && size(a) < size(b)) [a, b] = [b, a];
    if (!isShortRow(a, b) || size(a) === size(b) || !areFloats(a, b)) return stock(inputs, attrs, backend);
    const out = backend.makeOutput(a.shape, 'float32');
    native(backend)[rowKernels[kernel]](offset(backend, a), offset(backend, b), offset(backend, out), size(a) / size(b), size(b));
    return out;
  };

const extreme =
  (kernel: keyof typeof extremeKernels, stock: WasmKernel): WasmKernel =>
  (inputs, attrs, backend) => {
    const [a, b] = [input(inputs, 'a'), input(inputs, 'b')];
    const run = native(backend)[extremeKernels[kernel]];
    return (areFloats(a, b) ? byStretches(backend, run, run, a, b, 'float32') : undefined) ?? stock(inputs, attrs, backend);
  };

/** sum ← sum + x, where it lies: what core gathers gradients with. */
const addTo: WasmKernel = (inputs, _, backend) => {
  assertFloat('AddTo', inputs);
  const [sum, x] = [input(inputs, 'sum'), input(inputs, 'x')];
  native(backend).addRow(offset(backend, sum), offset(backend, x), offset(backend, sum), 1, size(sum));
  return sum;
};

export const binaries = (stock: Stock): Kernels => ({
  AddTo: addTo,
  ...Object.fromEntries(([tf.Add, tf.Sub, tf.Multiply] as const).map((kernel) => [kernel, byRow(kernel, stock(kernel))])),
  ...Object.fromEntries(([tf.Maximum, tf.Minimum] as const).map((kernel) => [kernel, extreme(kernel, stock(kernel))])),
});
