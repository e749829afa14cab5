import * as tf from '@tensorflow/tfjs';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { gradients } from '../src/autograd/gradients.ts';
import { type Probe, probes } from '../src/memory/probe.ts';

type Spec =
  | readonly number[]
  | { readonly shape: readonly number[]; readonly values?: number[]; readonly dtype?: 'int32' | 'bool'; readonly positive?: true };
interface Row {
  readonly inputs: { readonly [name: string]: Spec };
  readonly attrs?: { readonly [name: string]: unknown };
  /** Per differentiable input: the values that wait, by name; `y` is the output, `mask` one byte per element of it. '' keeps nothing. */
  readonly keeps: { readonly [input: string]: string };
  /** Instead of the kernel itself. */
  readonly op?: (inputs: { readonly [name: string]: tf.Tensor }) => tf.Tensor;
  /** The kernel takes its inputs as a list. */
  readonly list?: true;
  /** Stock tfjs fails or is wrong here: checked against finite differences elsewhere. */
  readonly stock?: false;
}

const m: Spec = [3, 4];
const positive: Spec = { shape: [3, 4], positive: true };
const unary = (keeps: string, attrs = {}, x: Spec = m): Row => ({ inputs: { x }, attrs, keeps: { x: keeps } });
const binary = (a: string, b: string, inputs: Row['inputs'] = { a: positive, b: positive }): Row => ({ inputs, keeps: { a, b } });
const image: Spec = [2, 6, 6, 3];
const pool = { filterSize: 2, strides: 2, pad: 'valid' };
const conv = { strides: 1, pad: 'same', dataFormat: 'NHWC', dilations: 1 };

/** Every kernel with a gradient in tfjs 4.22, and those that only core can differentiate. */
const table: { readonly [kernel: string]: Row | readonly Row[] } = {
  Abs: unary('x'),
  Acos: unary('x', {}, { shape: [2], values: [0.2, -0.4] }),
  Acosh: unary('x', {}, { shape: [2], values: [1.5, 3] }),
  Add: [binary('', ''), binary('', '', { a: m, b: [4] })],
  AddN: { inputs: { 0: m, 1: m }, keeps: { 0: '', 1: '' }, list: true },
  ArgMax: unary('', { axis: 1 }),
  ArgMin: unary('', { axis: 1 }),
  Asin: unary('x', {}, { shape: [2], values: [0.2, -0.4] }),
  Asinh: unary('x'),
  Atan: unary('x'),
  Atan2: binary('a b', 'a b'),
  Atanh: unary('x', {}, { shape: [2], values: [0.2, -0.4] }),
  AvgPool: unary('', pool, image),
  AvgPool3D: unary('', { filterSize: 2, strides: 2, pad: 'valid', dataFormat: 'NDHWC' }, [1, 4, 4, 4, 2]),
  BatchMatMul: [
    { inputs: { a: [2, 3, 4], b: [2, 4, 5] }, attrs: { transposeA: false, transposeB: false }, keeps: { a: 'b', b: 'a' } },
    { inputs: { a: [2, 4, 3], b: [2, 5, 4] }, attrs: { transposeA: true, transposeB: true }, keeps: { a: 'b', b: 'a' } },
  ],
  BatchToSpaceND: unary(
    '',
    {
      blockShape: [2, 2],
      crops: [
        [0, 0],
        [0, 0],
      ],
    },
    [4, 2, 2, 1],
  ),
  Cast: unary('', { dtype: 'float32' }),
  Ceil: unary(''),
  ClipByValue: unary('mask', { clipValueMin: -0.3, clipValueMax: 0.4 }),
  Concat: { inputs: { 0: [3, 4], 1: [3, 2], 2: [3, 5] }, attrs: { axis: 1 }, keeps: { 0: '', 1: '', 2: '' }, list: true },
  Conv2D: { inputs: { x: image, filter: [3, 3, 3, 4] }, attrs: conv, keeps: { x: 'filter', filter: 'x' } },
  Conv2DBackpropInput: {
    inputs: { dy: [2, 6, 6, 4], filter: [3, 3, 3, 4] },
    attrs: { strides: 1, pad: 'same', dataFormat: 'NHWC', inputShape: [2, 6, 6, 3] },
    keeps: { dy: 'filter', filter: 'dy' },
  },
  Conv3D: {
    inputs: { x: [1, 4, 4, 4, 2], filter: [2, 2, 2, 2, 3] },
    attrs: { strides: 1, pad: 'valid', dataFormat: 'NDHWC', dilations: 1 },
    keeps: { x: 'filter', filter: 'x' },
  },
  Cos: unary('x'),
  Cosh: unary('x'),
  Cumsum: [
    unary('', { axis: 1, exclusive: false, reverse: true }),
    { ...unary('', { axis: 0, exclusive: false, reverse: false }), stock: false },
  ],
  DepthwiseConv2dNative: { inputs: { x: image, filter: [3, 3, 3, 2] }, attrs: conv, keeps: { x: 'filter', filter: 'x' } },
  Dilation2D: {
    inputs: { x: image, filter: [2, 2, 3] },
    attrs: { strides: 1, pad: 'valid', dilations: 1 },
    keeps: { x: 'x filter', filter: 'x filter' },
  },
  Einsum: { inputs: { 0: [3, 4], 1: [4, 5] }, attrs: { equation: 'ij,jk->ik' }, keeps: { 0: '1', 1: '0' }, list: true, stock: false },
  Elu: unary('y'),
  Erf: unary('x'),
  Exp: unary('y'),
  ExpandDims: { inputs: { input: m }, attrs: { dim: 1 }, keeps: { input: '' } },
  Expm1: unary('x'),
  Floor: unary(''),
  FloorDiv: binary('b', 'a b'),
  FusedBatchNorm: [
    {
      inputs: { x: image, mean: [3], variance: { shape: [3], positive: true }, scale: [3], offset: [3] },
      attrs: { varianceEpsilon: 1e-3 },
      keeps: { x: 'variance scale', mean: 'variance scale', variance: 'x mean variance scale', scale: 'x mean variance', offset: '' },
    },
    {
      inputs: { x: image, mean: [3], variance: { shape: [3], positive: true } },
      attrs: { varianceEpsilon: 1e-3 },
      keeps: { x: 'variance', mean: 'variance', variance: 'x mean variance' },
      stock: false,
    },
  ],
  GatherV2: [
    {
      inputs: { x: [5, 4], indices: { shape: [6], values: [0, 4, 4, 1, 2, 0], dtype: 'int32' } },
      attrs: { axis: 0, batchDims: 0 },
      keeps: { x: 'indices' },
    },
    {
      inputs: { x: [2, 5], indices: { shape: [2, 3], values: [0, 4, 4, 1, 2, 0], dtype: 'int32' } },
      attrs: { axis: 1, batchDims: 1 },
      keeps: { x: 'indices' },
    },
  ],
  GreaterEqual: binary('', ''),
  Identity: unary(''),
  IsFinite: unary(''),
  IsInf: unary(''),
  IsNan: unary(''),
  LRN: unary('x y', { depthRadius: 2, bias: 1, alpha: 1, beta: 0.5 }, image),
  LeakyRelu: unary('mask', { alpha: 0.2 }),
  Log: unary('x', {}, positive),
  Log1p: unary('x', {}, positive),
  LogSoftmax: { inputs: { logits: m }, keeps: { logits: 'y' }, op: ({ logits }) => tf.logSoftmax(logits!) }, // cpu has no such kernel: a customGrad
  Max: unary('x y', { reductionIndices: 1, keepDims: false }),
  MaxPool: unary('x y', pool, image),
  MaxPool3D: unary('x y', { filterSize: 2, strides: 2, pad: 'valid', dataFormat: 'NDHWC' }, [1, 4, 4, 4, 2]),
  Maximum: binary('mask', 'mask', { a: m, b: m }),
  Mean: unary('', { axis: [0], keepDims: false }),
  Min: unary('x y', { axis: 1, keepDims: false }),
  Minimum: binary('mask', 'mask', { a: m, b: m }),
  MirrorPad: unary('', {
    paddings: [
      [1, 1],
      [0, 2],
    ],
    mode: 'reflect',
  }),
  Mod: binary('', 'a b'),
  Multiply: [binary('b', 'a'), binary('b', 'a', { a: m, b: [4] })],
  Neg: unary(''),
  OneHot: {
    inputs: { indices: { shape: [3], values: [0, 2, 1], dtype: 'int32' } },
    attrs: { depth: 3, onValue: 1, offValue: 0, dtype: 'float32' },
    keeps: { indices: '' },
  },
  OnesLike: unary(''),
  Pack: { inputs: { 0: m, 1: m, 2: m }, attrs: { axis: 1 }, keeps: { 0: '', 1: '', 2: '' }, list: true },
  PadV2: unary('', {
    paddings: [
      [1, 1],
      [0, 2],
    ],
    constantValue: 0,
  }),
  Pow: binary('a b', 'a y'),
  Prelu: { inputs: { x: m, alpha: [4] }, keeps: { x: 'x alpha', alpha: 'x' } },
  Prod: unary('x', { axis: [1], keepDims: false }),
  RealDiv: [binary('b', 'a b'), binary('b', 'a b', { a: m, b: { shape: [4], positive: true } })],
  Reciprocal: unary('x', {}, positive),
  Relu: unary('y'),
  Relu6: unary('mask'),
  Reshape: unary('', { shape: [4, 3] }),
  ResizeBilinear: {
    inputs: { images: image },
    attrs: { size: [9, 8], alignCorners: true, halfPixelCenters: false },
    keeps: { images: '' },
  },
  ResizeNearestNeighbor: {
    inputs: { images: image },
    attrs: { size: [9, 8], alignCorners: false, halfPixelCenters: false },
    keeps: { images: '' },
  },
  Reverse: unary('', { dims: [1] }),
  Round: unary(''),
  Rsqrt: unary('x', {}, positive),
  Select: {
    inputs: { condition: { shape: [3, 4], values: [1, 0, 1, 1, 0, 0, 1, 0, 1, 0, 0, 1], dtype: 'bool' }, t: m, e: m },
    keeps: { t: 'condition', e: 'condition' },
  },
  Selu: unary('x'),
  Sigmoid: unary('y'),
  Sign: unary(''),
  Sin: unary('x'),
  Sinh: unary('x'),
  Slice: unary('', { begin: [1, 0], size: [2, 3] }),
  Softmax: { inputs: { logits: m }, attrs: { dim: 1 }, keeps: { logits: 'y' } },
  Softplus: unary('x'),
  SpaceToBatchND: unary(
    '',
    {
      blockShape: [2, 2],
      paddings: [
        [0, 0],
        [0, 0],
      ],
    },
    [1, 4, 4, 1],
  ),
  SplitV: unary('', { numOrSizeSplits: [2, 2], axis: 1 }),
  Sqrt: unary('x', {}, positive),
  Square: unary('x'),
  SquaredDifference: binary('a b', 'a b'),
  Step: unary('', { alpha: 0 }),
  Sub: [binary('', ''), binary('', '', { a: m, b: [4] })],
  Sum: unary('', { axis: [0], keepDims: false }),
  Tan: unary('x'),
  Tanh: unary('y'),
  Tile: unary('', { reps: [2, 3] }),
  Transpose: unary('', { perm: [1, 0] }),
  Unpack: { inputs: { value: m }, attrs: { axis: 0 }, keeps: { value: '' } },
  UnsortedSegmentSum: {
    inputs: { x: [4, 3], segmentIds: { shape: [4], values: [0, 2, 2, 1], dtype: 'int32' } },
    attrs: { numSegments: 3 },
    keeps: { x: 'segmentIds' },
  },
  ZerosLike: unary(''),
};

function make(spec: Spec, seed: number): tf.Tensor {
  const { shape, values, dtype, positive } = Array.isArray(spec) ? { shape: spec as number[] } : (spec as Exclude<Spec, readonly number[]>);
  if (values) return tf.tensor(values, shape as number[], dtype);
  return positive
    ? tf.randomUniform(shape as number[], 0.5, 2, 'float32', seed)
    : tf.randomNormal(shape as number[], 0, 1, 'float32', seed);
}

/** Bytes that wait after f ran, and gradients of `xs`. */
function run(f: () => tf.Tensor, xs: tf.Tensor[], dy?: tf.Tensor) {
  let bytes = 0;
  const probe: Probe = {
    hold: (_, n) => {
      bytes += n;
    },
    drop: () => {},
    gradient: () => {},
    encoding: (encode) => encode(),
    label: () => {},
  };
  probes.add(probe);
  try {
    const { value, grads } = gradients(f, xs, dy);
    return { bytes, value, grads };
  } finally {
    probes.delete(probe);
  }
}

const bits = (t: tf.Tensor) => Array.from(new Int32Array(new Float32Array(t.dataSync()).buffer)).map((b) => (b === -(2 ** 31) ? 0 : b)); // -0 = 0

beforeAll(async () => {
  await tf.setBackend('cpu');
});

describe('each gradient keeps exactly what it reads, and equals that of tfjs', () => {
  const rows = Object.entries(table).flatMap(([kernel, row]) =>
    [row].flat().flatMap((r) => Object.keys((r as Row).keeps).map((wanted) => ({ kernel, wanted, row: r as Row }))),
  );
  test.each(rows)('$kernel, gradient of $wanted', ({ kernel, wanted, row }) => {
    const before = tf.memory().numTensors;
    const inputs = Object.fromEntries(Object.entries(row.inputs).map(([name, spec], i) => [name, make(spec, i + 1)]));
    const f = () => {
      if (row.op) return row.op(inputs);
      const given = row.list ? Object.values(inputs) : inputs;
      const y = tf.engine().runKernel(kernel, given as never, row.attrs as never) as tf.Tensor | tf.Tensor[];
      return Array.isArray(y) ? y[0]! : y;
    };
    const y = tf.tidy(f);
    const dy = tf.randomNormal(y.shape, 0, 1, 'float32', 99);
    const { bytes, value, grads } = run(f, [inputs[wanted]!], dy);
    const sizes: { [name: string]: number } = { mask: y.size, y: y.size * tf.util.bytesPerElement(y.dtype) };
    for (const [name, t] of Object.entries(inputs)) sizes[name] = t.size * tf.util.bytesPerElement(t.dtype);
    const expected = row.keeps[wanted]!.split(' ')
      .filter(Boolean)
      .reduce((sum, name) => sum + sizes[name]!, 0);
    expect(bytes).toBe(expected);
    if (row.stock !== false) {
      const stock = tf.engine().gradients(f, [inputs[wanted]!], dy as never);
      expect(bits(grads[0]!)).toEqual(bits(stock.grads[0]!));
      tf.dispose([stock.value, stock.grads]);
    }
    tf.dispose([Object.values(inputs), y, dy, value, grads[0]!] as never);
    expect(tf.memory().numTensors).toBe(before);
  });

  test('the table has a row for every gradient that tfjs registers', () => {
    const registered = registeredGradients();
    expect(registered.length).toBeGreaterThan(95);
    // Never run by any op of tfjs: BroadcastTo runs as Tile; ComplexAbs needs complex inputs, whose gradients tfjs has none for.
    const unreachable = ['BroadcastTo', 'ComplexAbs'];
    expect(registered.filter((kernel) => !(kernel in table) && !unreachable.includes(kernel))).toEqual([]);
  });
});

/** All kernel names that tfjs-core exports and has a gradient for. */
function registeredGradients(): string[] {
  const names = Object.values(tf as unknown as { [name: string]: unknown }).filter((v): v is string => typeof v === 'string');
  return [...new Set(names)].filter((name) => tf.getGradient(name));
}

afterAll(() => tf.disposeVariables());
