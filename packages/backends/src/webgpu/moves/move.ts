/**
 * Kernels that only move values, for int32, whose bits tfjs's lose above 2^24, and for float32 of more axes than tfjs's take, or that can be
 * moved four at a time. What tfjs computes on the CPU (small tensors that are there), and the rest of float32, it still does.
 */
import * as tf from '@tensorflow/tfjs-core';
import { type Attrs, input, type Kernels, onCpu, type Stock, viewAs, type WebGPUBackend, type WebGPUKernel } from '../backend.ts';
import { dispatch } from '../recording/dispatch.ts';
import { entry, groupsFor } from '../recording/entry.ts';
import { type Axis, axesOf, readAlong, writeAlong } from './strided.ts';

/** Of axes that tfjs's kernels take at most. */
const MOST_AXES = 4;
const size = (shape: readonly number[]): number => tf.util.sizeFromShape([...shape]);
const offsetOf = (axes: readonly Axis[], begin: readonly number[]): number => begin.reduce((sum, at, i) => sum + at * axes[i]!.stride, 0);

/** Part of x, from `begin`. */
const part = (backend: WebGPUBackend, x: tf.TensorInfo, begin: readonly number[], sizes: readonly number[]): tf.TensorInfo => {
  const axes = axesOf(x.shape);
  const taken = axes.map(({ stride }, i) => ({ size: sizes[i]!, stride }));
  return readAlong(backend, x, taken, offsetOf(axes, begin));
};

function concatenate(backend: WebGPUBackend, tensors: readonly tf.TensorInfo[], axis: number): tf.TensorInfo {
  const shape = tf.backend_util.computeOutShape(
    tensors.map((x) => x.shape),
    axis,
  );
  const axes = axesOf(shape);
  let y: Parameters<typeof writeAlong>[4] = { shape, dtype: tensors[0]!.dtype };
  let along = 0;
  for (const x of tensors) {
    const within = axes.map(({ stride }, i) => ({ size: x.shape[i]!, stride }));
    if (size(x.shape) > 0) y = writeAlong(backend, x, within, along * axes[axis]!.stride, y);
    along += x.shape[axis]!;
  }
  return 'dataId' in y ? y : backend.makeTensorInfo(shape, y.dtype, new Int32Array(0));
}

function fill(backend: WebGPUBackend, shape: readonly number[], dtype: tf.DataType, value: number): tf.TensorInfo {
  const type = dtype === 'float32' ? 'f32' : 'i32';
  return dispatch(backend, {
    key: 'fill',
    inputs: {},
    outputs: { y: [{ shape, dtype }, type] },
    uniforms: { threads: ['u32', size(shape)], value: [type, value] },
    workgroups: groupsFor(size(shape)),
    code: () => `${entry} y[i] = u.value; }`,
  }).y;
}

/** Rows of x [batch, outer, rows, columns], by ids [batch, count]; one that is not there is 0. */
function gather(backend: WebGPUBackend, x: tf.TensorInfo, ids: tf.TensorInfo, axis: number, batchDims: number): tf.TensorInfo {
  const info = tf.backend_util.segment_util.collectGatherOpShapeInfo(x as tf.Tensor, ids as tf.Tensor, axis, batchDims);
  const shape = info.outputShape;
  const numbers = { outer: info.outerSize, rows: info.dimSize, columns: info.sliceSize, count: size(ids.shape) / info.batchSize };
  return dispatch(backend, {
    key: 'gather',
    inputs: { x: [x, 'u32'], ids: [ids, 'i32'] },
    outputs: { y: [{ shape, dtype: x.dtype }, 'u32'] },
    uniforms: {
      threads: ['u32', size(shape)],
      ...Object.fromEntries(Object.entries(numbers).map(([name, number]) => [name, ['u32', number] as const])),
    },
    workgroups: groupsFor(size(shape)),
    code: () => `${entry}
  let matrix = i / (u.columns * u.count);
  let id = ids[matrix / u.outer * u.count + (i / u.columns) % u.count];
  if (id < 0 || u32(id) >= u.rows) { y[i] = 0; return; }
  y[i] = x[(matrix * u.rows + u32(id)) * u.columns + i % u.columns];
}`,
  }).y;
}

/** Of int32: kernel `Select`, which arithmetic.ts has for float32. A condition of one axis chooses rows. */
export function selectBits(backend: WebGPUBackend, condition: tf.TensorInfo, t: tf.TensorInfo, e: tf.TensorInfo): tf.TensorInfo {
  return dispatch(backend, {
    key: 'selectBits',
    inputs: { condition: [condition, 'i32'], t: [t, 'u32'], e: [e, 'u32'] },
    outputs: { y: [{ shape: t.shape, dtype: t.dtype }, 'u32'] },
    uniforms: { threads: ['u32', size(t.shape)], each: ['u32', size(t.shape) / size(condition.shape)] },
    workgroups: groupsFor(size(t.shape)),
    code: () => `${entry} y[i] = select(e[i], t[i], condition[i / u.each] != 0); }`,
  }).y;
}

const axisOf = (axis: unknown, shape: number[]): number => tf.util.parseAxisParam(axis as number, shape)[0]!;

const slice: WebGPUKernel = (inputs, { begin, size: sizes }, backend) => {
  const x = input(inputs, 'x');
  const [first, extent] = tf.slice_util.parseSliceParams(x as tf.Tensor, begin, sizes) as [number[], number[]];
  tf.slice_util.assertParamsValid(x as tf.Tensor, first, extent);
  return part(backend, x, first, extent);
};
const transpose: WebGPUKernel = (inputs, { perm }, backend) => {
  const x = input(inputs, 'x');
  const axes = axesOf(x.shape);
  return readAlong(
    backend,
    x,
    (perm as number[]).map((axis) => axes[axis]!),
  );
};
const tile: WebGPUKernel = (inputs, { reps }, backend) => {
  const x = input(inputs, 'x');
  const axes = axesOf(x.shape).map(({ size: length, stride }, i) => ({ size: length * reps[i], stride, wrap: length }));
  return readAlong(backend, x, axes);
};
const pad: WebGPUKernel = (inputs, { paddings, constantValue }, backend) => {
  const x = input(inputs, 'x');
  const around = paddings as [number, number][];
  const shape = x.shape.map((length, i) => around[i]![0] + length + around[i]![1]);
  const axes = axesOf(shape);
  const offset = offsetOf(
    axes,
    around.map(([before]) => before),
  );
  const within = axes.map(({ stride }, i) => ({ size: x.shape[i]!, stride }));
  return writeAlong(backend, x, within, offset, fill(backend, shape, x.dtype, constantValue));
};
const concat: WebGPUKernel = (inputs, { axis }, backend) => {
  const tensors = Object.values(inputs) as tf.TensorInfo[];
  return concatenate(backend, tensors, axisOf(axis, tensors[0]!.shape));
};
const pack: WebGPUKernel = (inputs, { axis }, backend) => {
  const tensors = Object.values(inputs) as tf.TensorInfo[];
  const at = axis < 0 ? axis + tensors[0]!.shape.length + 1 : axis;
  const expanded = tensors.map((x) => viewAs(x, [...x.shape.slice(0, at), 1, ...x.shape.slice(at)]));
  return concatenate(backend, expanded, at);
};
const split: WebGPUKernel = (inputs, { numOrSizeSplits, axis }, backend) => {
  const x = input(inputs, 'x');
  const at = axisOf(axis, x.shape);
  let first = 0;
  return tf.backend_util.prepareSplitSize(x as tf.Tensor, numOrSizeSplits, at).map((length) => {
    const begin = x.shape.map((_, i) => (i === at ? first : 0));
    first += length;
    return part(
      backend,
      x,
      begin,
      x.shape.map((whole, i) => (i === at ? length : whole)),
    );
  });
};
const unpack: WebGPUKernel = (inputs, { axis }, backend) => {
  const x = input(inputs, 'value');
  const at = axis < 0 ? axis + x.shape.length : axis;
  const sizes = x.shape.map((length, i) => (i === at ? 1 : length));
  return Array.from({ length: x.shape[at]! }, (_, j) => {
    const begin = x.shape.map((_, i) => (i === at ? j : 0));
    return viewAs(part(backend, x, begin, sizes), [...x.shape.slice(0, at), ...x.shape.slice(at + 1)]);
  });
};
const gatherRows: WebGPUKernel = (inputs, { axis, batchDims = 0 }, backend) => {
  const [x, indices] = [input(inputs, 'x'), input(inputs, 'indices')];
  return gather(backend, x, indices, axisOf(axis, x.shape), batchDims);
};

interface Move {
  readonly run: WebGPUKernel;
  /** Takes float32 of more axes than tfjs's kernel. */
  readonly wide?: true;
  /** Whether what it takes of float32 lies four at a time. */
  readonly inFours?: (last: number, attrs: Attrs, rank: number) => boolean;
  /** Some of its inputs may be without elements. */
  readonly some?: true;
  /** How often its result repeats an element of its first input, on average. */
  readonly repeats?: (inputs: tf.NamedTensorInfoMap, attrs: Attrs) => number;
}

/** A result of that many elements is made on the GPU, where tfjs would make one of small inputs on the CPU, and upload it. */
const LARGE = 1000;

const own: { readonly [kernel: string]: Move } = {
  [tf.Slice]: { run: slice, wide: true },
  [tf.Transpose]: { run: transpose, wide: true, inFours: (last, { perm }, rank) => last % 4 === 0 && perm.at(-1) === rank - 1 },
  [tf.Tile]: { run: tile, wide: true, inFours: (last) => last % 4 === 0, repeats: (_, { reps }) => size(reps) },
  [tf.PadV2]: { run: pad, wide: true },
  [tf.Concat]: { run: concat, some: true },
  [tf.Pack]: { run: pack },
  [tf.Unpack]: { run: unpack },
  [tf.SplitV]: { run: split },
  [tf.GatherV2]: {
    run: gatherRows,
    repeats: ({ x, indices }, { axis }) => size(indices!.shape) / x!.shape[axisOf(axis, x!.shape)]!,
  },
};

export const moves = (stock: Stock): Kernels => {
  const beside =
    (kernel: string, { run, wide, some, inFours, repeats }: Move): WebGPUKernel =>
    (inputs, attrs, backend) => {
      const all = Object.values(inputs) as tf.TensorInfo[];
      const { dtype, shape } = all[0]!;
      const isFloat = dtype === 'float32';
      if (repeats && dtype !== 'string' && size(shape) > 0 && size(shape) * repeats(inputs, attrs) >= LARGE)
        backend.uploadToGPU(all[0]!.dataId);
      const fours = isFloat && shape.length > 0 && inFours?.(shape.at(-1)!, attrs, shape.length);
      const fits = dtype === 'int32' || fours ? !onCpu(backend, all) : wide && isFloat && shape.length > MOST_AXES;
      const isEmpty = (x: tf.TensorInfo): boolean => size(x.shape) === 0;
      const empty = some ? all.every(isEmpty) : all.some(isEmpty);
      return fits && !empty ? run(inputs, attrs, backend) : stock(kernel)(inputs, attrs, backend);
    };
  return Object.fromEntries(Object.entries(own).map(([kernel, move]) => [kernel, beside(kernel, move)]));
};
