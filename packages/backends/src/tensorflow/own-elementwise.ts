/**
 * Sums, differences, products, quotients, activations, sums along an axis and swaps of two axes as ops of our own (native/tensorflow/training.cc), which
 * share work with the thread that asks for it: TensorFlow's hand it to others and wait, for longer than a short op takes. Whatever is not
 * float32, or is broadcast in another way, stays with tfjs-node's kernels. Sums are in another order; all else is rounded as TensorFlow's.
 */
import * as tf from '@tensorflow/tfjs-core';
import type { Kernel, KernelMap, StockKernel } from '../kernels.ts';
import { DType, type Handle, type TensorflowBackend } from './binding.ts';
import { ownNames } from './own-op.ts';
import { float, int, type Ops, withOps } from './raw.ts';

type TensorflowKernel = Kernel<TensorflowBackend, tf.TensorInfo>;

/** As in training.h. */
const binary = { [tf.Add]: 0, [tf.Sub]: 1, [tf.Multiply]: 2, [tf.RealDiv]: 3 } as const;
const commutes = (op: number): boolean => op === 0 || op === 2;
const given = { whole: 0, columns: 1, rows: 2, once: 3 } as const;

/** Along which axis `b` is given for `a`; undefined if it is broadcast in another way, or broadcasts a. */
function givenFor(a: readonly number[], b: readonly number[]): number | undefined {
  const rank = a.length;
  if (rank < b.length || a.includes(0)) return undefined;
  const size = tf.util.sizeFromShape([...b]);
  if (b.length === rank && b.every((n, i) => n === a[i])) return given.whole;
  if (size === 1) return given.once;
  if (size === a[rank - 1] && size === b.at(-1)) return given.columns;
  if (b.length === rank && b[rank - 1] === 1 && b.every((n, i) => n === a[i] || i === rank - 1)) return given.rows;
  return undefined;
}

/** Whether `b` has one row for each block of rows of `a`. */
function forBlocks(a: readonly number[], b: readonly number[]): boolean {
  if (a.includes(0)) return false;
  const shared = b.findIndex((n, i) => n !== a[i]);
  const last = a.length - 1;
  return b.length === a.length && shared > 0 && shared < last && b[last] === a[last] && b.slice(shared, last).every((n) => n === 1);
}

const combined =
  (op: number, stock: TensorflowKernel): TensorflowKernel =>
  (inputs, attrs, backend) => {
    let [a, b] = [inputs['a']!, inputs['b']!];
    if (a.dtype !== 'float32' || b.dtype !== 'float32') return stock(inputs, attrs, backend);
    if (ownNames().has('BlockBinary') && (forBlocks(a.shape, b.shape) || (commutes(op) && forBlocks(b.shape, a.shape)))) {
      const operands = forBlocks(a.shape, b.shape) ? [a, b] : [b, a];
      return withOps(backend, ({ run, leave }) => leave(run('LeantuneBlockBinary', { op: int(op) }, operands), 'float32'));
    }
    let of = givenFor(a.shape, b.shape);
    if (of === undefined && commutes(op)) {
      [a, b] = [b, a];
      of = givenFor(a.shape, b.shape);
    }
    if (of === undefined) return stock(inputs, attrs, backend);
    return withOps(backend, ({ run, leave }) => leave(run('LeantuneBinary', { op: int(op), given: int(of!) }, [a, b]), 'float32'));
  };

const squared =
  (stock: TensorflowKernel): TensorflowKernel =>
  (inputs, attrs, backend) => {
    const x = inputs['x']!;
    if (x.dtype !== 'float32' || x.shape.includes(0)) return stock(inputs, attrs, backend);
    const attributes = { op: int(binary[tf.Multiply]), given: int(given.whole) };
    return withOps(backend, ({ run, leave }) => leave(run('LeantuneBinary', attributes, [x, x]), 'float32'));
  };

/** Of two neighbours before the last axis, as where heads are split off and joined. */
const swapped =
  (stock: TensorflowKernel): TensorflowKernel =>
  (inputs, attrs, backend) => {
    const x = inputs['x']!;
    const perm = attrs['perm'] as readonly number[];
    const axis = perm.findIndex((from, to) => from !== to);
    const swap = perm.every((from, to) => from === (to === axis ? axis + 1 : to === axis + 1 ? axis : to));
    if (!swap || axis < 0 || axis + 2 >= perm.length || x.dtype !== 'float32' || x.shape.includes(0)) return stock(inputs, attrs, backend);
    return withOps(backend, ({ run, leave }) => leave(run('LeantuneSwapAxes', { axis: int(axis) }, [x]), 'float32'));
  };

const clipped =
  (high: number, stock: TensorflowKernel): TensorflowKernel =>
  (inputs, attrs, backend) => {
    const x = inputs['x']!;
    if (x.dtype !== 'float32') return stock(inputs, attrs, backend);
    return withOps(backend, ({ run, leave }) => leave(run('LeantuneClip', { low: float(0), high: float(high) }, [x]), 'float32'));
  };

/** Over the last axis. */
const summed =
  (stock: TensorflowKernel, finish: (ops: Ops, sums: Handle, count: number) => Handle): TensorflowKernel =>
  (inputs, attrs, backend) => {
    const x = inputs['x']!;
    const axes = tf.util.parseAxisParam(attrs['axis'], x.shape);
    const last = x.shape.length - 1;
    const size = tf.util.sizeFromShape(x.shape);
    if (x.dtype !== 'float32' || axes.length !== 1 || axes[0] !== last || last < 1 || size === 0) return stock(inputs, attrs, backend);
    return withOps(backend, (ops) => {
      const sums = finish(ops, ops.run('LeantuneRowSums', {}, [x]), x.shape[last]!);
      return ops.leave(attrs['keepDims'] ? ops.reshape(sums, DType.float, [...x.shape.slice(0, -1), 1]) : sums, 'float32');
    });
  };

const all = (stock: StockKernel<TensorflowBackend, tf.TensorInfo>): KernelMap<TensorflowBackend, tf.TensorInfo> => ({
  ...Object.fromEntries(Object.entries(binary).map(([kernel, op]) => [kernel, combined(op, stock(kernel))])),
  [tf.Square]: squared(stock(tf.Square)),
  ...(ownNames().has('SwapAxes') && { [tf.Transpose]: swapped(stock(tf.Transpose)) }),
  [tf.Relu]: clipped(Number.POSITIVE_INFINITY, stock(tf.Relu)),
  [tf.Relu6]: clipped(6, stock(tf.Relu6)),
  [tf.Sum]: summed(stock(tf.Sum), (_, sums) => sums),
  [tf.Mean]: summed(stock(tf.Mean), ({ run, constant }, sums, count) =>
    run('LeantuneBinary', { op: int(binary[tf.RealDiv]), given: int(given.once) }, [sums, constant(Float32Array.of(count), [])]),
  ),
});

/** Kernels in place of what goes `before` them, or of tfjs-node's. */
export const ownElementwise =
  (before: (stock: StockKernel<TensorflowBackend, tf.TensorInfo>) => KernelMap<TensorflowBackend, tf.TensorInfo>): typeof before =>
  (stock) => {
    const others = before(stock);
    const there = ['Binary', 'Clip', 'RowSums'].every((op) => ownNames().has(op));
    return there ? { ...others, ...all((kernel) => others[kernel] ?? stock(kernel)) } : others;
  };
