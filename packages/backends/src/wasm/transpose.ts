/**
 * Transpose. Axes that stay neighbours move as one, and then most transposes swap two: [b, r, c] -> [b, c, r], which tfjs
 * does element by element. If none moves but axes of size 1, it is a reshape.
 */
import * as tf from '@tensorflow/tfjs-core';
import { input, type Kernels, offset, type Stock, type WasmKernel } from './backend.ts';
import { share } from './identity.ts';
import { native } from './native.ts';

/** Sizes of the axes that move as one, in their order before, and the places they go to. Axes of size 1 go nowhere. */
function merge(shape: readonly number[], perm: readonly number[]): { sizes: number[]; order: number[] } {
  const kept = shape.map((_, axis) => axis).filter((axis) => shape[axis] !== 1);
  const moved = perm.filter((axis) => shape[axis] !== 1).map((axis) => kept.indexOf(axis));
  const groups = moved.reduce<number[][]>((made, axis) => {
    const last = made.at(-1);
    if (last?.at(-1) === axis - 1) last.push(axis);
    else made.push([axis]);
    return made;
  }, []);
  const before = [...groups].sort((a, b) => (a[0] as number) - (b[0] as number));
  return {
    sizes: before.map((group) => tf.util.sizeFromShape(group.map((axis) => shape[kept[axis] as number] as number))),
    order: groups.map((group) => before.indexOf(group)),
  };
}

export const transposes = (stock: Stock): Kernels => {
  const transpose: WasmKernel = (inputs, attrs, backend) => {
    const x = input(inputs, 'x');
    const perm = attrs.perm as number[];
    const shape = perm.map((axis) => x.shape[axis] as number);
    const { sizes, order } = merge(x.shape, perm);
    if (order.length < 2 && x.dtype !== 'string') return share(backend, x, shape);
    const swaps = ['1,0', '0,2,1'].includes(order.join());
    if (!swaps || (x.dtype !== 'float32' && x.dtype !== 'int32')) return stock(tf.Transpose)(inputs, attrs, backend);
    const out = backend.makeOutput(shape, x.dtype);
    const [rows, columns] = sizes.slice(-2) as [number, number];
    native(backend).transpose(offset(backend, x), offset(backend, out), sizes.length === 3 ? (sizes[0] as number) : 1, rows, columns);
    return out;
  };
  return { [tf.Transpose]: transpose };
};
