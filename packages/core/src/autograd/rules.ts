/**
 * Gradients of our own, where tfjs 4.22 has none, is wrong, keeps more than it needs, or makes large temporaries.
 * A rule gives per input `[the values it reads, the gradient]`; results equal tfjs's bit for bit where tfjs has one.
 */
import * as tf from '@tensorflow/tfjs-core';
import { einsum } from './einsum.ts';
import { fused } from './fused.ts';

/** The values a gradient reads by name; every other input and output (`y`) is there as a shape only. */
export type Values = { readonly [name: string]: tf.Tensor };
export type Attrs = { readonly [name: string]: unknown };
/** The third part makes values to keep that are neither input nor output, from all inputs. */
export type InputGradient = readonly [
  reads: readonly string[],
  gradient: (dy: tf.Tensor, v: Values, attrs: any) => tf.Tensor,
  derived?: { readonly [name: string]: (inputs: Values, attrs: any) => tf.Tensor },
];
/** By input name; a function for kernels that take a list of inputs. */
export type InputGradients = { readonly [input: string]: InputGradient } | ((input: string, inputs: Values, attrs: any) => InputGradient);

/** tfjs's own gradient of one input of `kernel`. */
export function stockGradient(kernel: string, input: string, dy: tf.Tensor | tf.Tensor[], saved: tf.Tensor[], attrs: Attrs): tf.Tensor {
  const gradients = tf.getGradient(kernel)!.gradFunc(dy, saved, attrs as tf.NamedAttrMap);
  if (!gradients[input]) throw new Error(`Cannot backprop through input ${input}. Available gradients found: ${Object.keys(gradients)}.`);
  return gradients[input]();
}

/** Sums `x` over the axes along which `shape` was broadcast. */
function reduceTo(x: tf.Tensor, shape: number[]): tf.Tensor {
  const axes = tf.broadcast_util.getReductionAxes(shape, x.shape);
  return tf.reshape(axes.length > 0 ? tf.sum(x, axes) : x, shape);
}

/** Undoes a reduction of `shape` over `axis`, without repeating dy: the tape broadcasts it where it is read. */
function spread(dy: tf.Tensor, shape: number[], axis: number | number[]): tf.Tensor {
  const kept = shape.slice();
  for (const a of tf.util.parseAxisParam(axis, shape)) kept[a] = 1;
  return tf.reshape(dy, kept);
}

/** Kernels whose gradient may be smaller than their input, to be broadcast. */
export const spreads: ReadonlySet<string> = new Set(['Cast', 'Mean', 'Sum']);
/** Kernels whose gradient may be given such a dy: a product with a value of full shape broadcasts it, or it is passed on. */
export const broadcasts: ReadonlySet<string> = new Set(['Cast', 'Relu', 'Relu6', 'Square']);

const size = (shape: number[], axis: number | number[]) => tf.util.parseAxisParam(axis, shape).reduce((n, a) => n * shape[a]!, 1);

// Fused kernels: under a tape tfjs fuses only the linear activation, so their gradients are those of the plain kernel.
const likeConv2D = (kernel: string): InputGradients => {
  const of = (input: string) => (dy: tf.Tensor, v: Values, attrs: Attrs) =>
    stockGradient(kernel, input, dy.rank === 3 ? tf.reshape(dy, [1, ...dy.shape]) : dy, [v['x']!, v['filter']!], attrs);
  return { x: [['filter'], of('x')], filter: [['x'], of('filter')], bias: [[], (dy, v) => reduceTo(dy, v['bias']!.shape)] };
};

const likeMatMul = (): InputGradients => {
  // The fused kernel runs in 3-D; its output may have been reshaped.
  const batched = (dy: tf.Tensor, { a, b }: Values, { transposeA, transposeB }: any) =>
    tf.reshape(dy, [-1, a!.shape[transposeA ? 2 : 1]!, b!.shape[transposeB ? 1 : 2]!]);
  const of = (input: string) => (dy: tf.Tensor, v: Values, attrs: Attrs) =>
    stockGradient('BatchMatMul', input, batched(dy, v, attrs), [v['a']!, v['b']!], attrs);
  return { a: [['b'], of('a')], b: [['a'], of('b')], bias: [[], (dy, v, attrs) => reduceTo(batched(dy, v, attrs), v['bias']!.shape)] };
};

/** Gradients of (x − mean) · rsqrt(variance + ε) · scale + offset. tfjs has them for a given scale only (tensorflow/tfjs#2868), and saves x for all. */
const batchNorm = (): InputGradients => {
  const inverse = (v: Values, attrs: any) => tf.rsqrt(tf.add(v['variance']!, tf.scalar(attrs.varianceEpsilon)));
  const scaled = (dy: tf.Tensor, v: Values) => (v['scale'] ? tf.mul(dy, v['scale']) : dy);
  const perChannel = (x: tf.Tensor, { mean }: Values) => reduceTo(x, mean!.shape);
  const centered = (v: Values) => tf.sub(v['x']!, v['mean']!);
  const of = (input: string, reads: string[], ops: InputGradient[1]): InputGradient => [
    reads,
    (dy, v, attrs) => {
      const ofChannels = ['mean', 'variance', 'scale', 'offset'].every((name) => !v[name] || v[name].size === dy.shape.at(-1));
      if (!ofChannels) return ops(dy, v, attrs);
      const inputs = { dy, ...Object.fromEntries(reads.map((name) => [name, v[name]])) };
      return fused('FusedBatchNormGrad', inputs, { of: input, shape: v[input]!.shape, ...attrs }, () => ops(dy, v, attrs));
    },
  ];
  return {
    x: of('x', ['variance', 'scale'], (dy, v, attrs) => scaled(tf.mul(dy, inverse(v, attrs)), v)),
    mean: of('mean', ['variance', 'scale'], (dy, v, attrs) =>
      perChannel(tf.mul(tf.mul(inverse(v, attrs), tf.scalar(-1)), scaled(dy, v)), v),
    ),
    variance: of('variance', ['x', 'mean', 'variance', 'scale'], (dy, v, attrs) => {
      const r = inverse(v, attrs);
      const minusHalfRCube = tf.mul(tf.mul(tf.mul(r, r), r), tf.scalar(-0.5));
      return perChannel(tf.mul(tf.mul(minusHalfRCube, centered(v)), scaled(dy, v)), v);
    }),
    scale: of('scale', ['x', 'mean', 'variance'], (dy, v, attrs) => perChannel(tf.mul(dy, tf.mul(centered(v), inverse(v, attrs))), v)),
    offset: [[], (dy, v) => perChannel(dy, v)],
  };
};

/** The part of dy that belongs to one of several inputs laid side by side along `axis`. */
function part(dy: tf.Tensor, v: Values, input: string, axis: number): tf.Tensor {
  const begin = dy.shape.map(() => 0);
  for (let i = 0; i < Number(input); i++) begin[axis]! += v[i]!.shape[axis]!;
  return tf.slice(dy, begin, v[input]!.shape);
}

const { greaterEqual, lessEqual, logicalAnd } = tf;
/** One byte a value, where tfjs keeps the four of x. */
const inRange = {
  mask: ({ x }: Values, { clipValueMin, clipValueMax }: any) =>
    fused('InRange', { x }, { clipValueMin, clipValueMax }, () => logicalAnd(greaterEqual(x!, clipValueMin), lessEqual(x!, clipValueMax))),
};
const chosen = (derived: (inputs: Values) => tf.Tensor): InputGradients => ({
  a: [['mask'], (dy, { mask, a }) => reduceTo(tf.mul(dy, tf.cast(mask!, 'float32')), a!.shape), { mask: derived }],
  b: [['mask'], (dy, { mask, b }) => reduceTo(tf.mul(dy, tf.cast(tf.logicalNot(mask!), 'float32')), b!.shape), { mask: derived }],
});

/** Of one factor, given the other. A factor of one value a channel, as norms have, is not worth a product of full size. */
const factor = (own: string, other: string): InputGradient => [
  [other],
  (dy, v) => {
    const [x, y] = [v[own]!, v[other]!];
    const ops = () => stockGradient('Multiply', own, dy, [v['a']!, v['b']!], {});
    const perChannel = x.size < dy.size && x.size === x.shape.at(-1) && x.size === dy.shape.at(-1) && y.size === dy.size;
    return perChannel ? fused('SumOfProducts', { a: dy, b: y }, { shape: x.shape }, ops) : ops();
  },
];

/** Of a function whose derivative is known from y. */
const activation = (kernel: string, ops: (dy: tf.Tensor, y: tf.Tensor) => tf.Tensor): InputGradients => ({
  x: [['y'], (dy, { y }) => fused(kernel, { dy, y }, {}, () => ops(dy, y!))],
});

/** tfjs's gradient asks for x and uses its shape; wasm wants to see some data. */
const resized = (kernel: string): InputGradients => ({
  images: [[], (dy, { images }, attrs) => stockGradient(kernel, 'images', dy, [tf.zeros(images!.shape)], attrs)],
});

export const rules: { readonly [kernel: string]: InputGradients } = {
  ClipByValue: {
    x: [['mask'], (dy, { mask }) => fused('ClipByValueGrad', { dy, mask }, {}, () => tf.where(mask!, dy, tf.zerosLike(dy))), inRange],
  },
  Concat: (input) => [[], (dy, v, { axis }) => part(dy, v, input, tf.util.parseAxisParam(axis, dy.shape)[0]!)],
  // tfjs transposes the result for any axis but the last, which gives a wrong shape.
  Cumsum: { x: [[], (dy, _, { axis, exclusive, reverse }) => tf.cumsum(dy, axis, exclusive, !reverse)] },
  Einsum: einsum,
  Erf: { x: [['x'], (dy, { x }, attrs) => fused('ErfGrad', { dy, x }, {}, () => stockGradient('Erf', 'x', dy, [x!], attrs))] },
  FusedBatchNorm: batchNorm(),
  FusedConv2D: likeConv2D('Conv2D'),
  FusedDepthwiseConv2D: likeConv2D('DepthwiseConv2dNative'),
  // tfjs transposes dy and the result, which for the first axis changes nothing. With batchDims it splits x, of which it uses the shapes
  // of the parts alone.
  GatherV2: {
    x: [
      ['indices'],
      (dy, { x, indices }, attrs) => {
        if (!attrs.batchDims && tf.util.parseAxisParam(attrs.axis, x!.shape)[0] === 0) {
          const rows = tf.reshape(dy, [indices!.size, ...x!.shape.slice(1)]);
          return tf.unsortedSegmentSum(rows, tf.reshape(indices!, [indices!.size]), x!.shape[0]!);
        }
        return stockGradient('GatherV2', 'x', dy, [attrs.batchDims === 1 ? tf.zeros(x!.shape) : x!, indices!], attrs);
      },
    ],
    indices: [[], (_, v) => tf.zeros(v['indices']!.shape)],
  },
  LeakyRelu: { x: [['mask'], (dy, { mask }, { alpha }) => tf.where(mask!, dy, tf.mul(dy, alpha)), { mask: ({ x }) => tf.greater(x!, 0) }] },
  Maximum: chosen(({ a, b }) => greaterEqual(a!, b!)),
  Minimum: chosen(({ a, b }) => lessEqual(a!, b!)),
  Mean: { x: [[], (dy, { x }, { axis }) => spread(tf.div(dy, size(x!.shape, axis)), x!.shape, axis)] },
  Multiply: { a: factor('a', 'b'), b: factor('b', 'a') },
  Pack: (input) => [
    [],
    (dy, v, attrs) => {
      const axis = tf.util.parseAxisParam(attrs.axis, dy.shape)[0];
      const begin = dy.shape.map((_, i) => (i === axis ? Number(input) : 0));
      return tf.reshape(
        tf.slice(
          dy,
          begin,
          dy.shape.map((d, i) => (i === axis ? 1 : d)),
        ),
        v[input]!.shape,
      );
    },
  ],
  // step(y) = step(x), and y is what the next kernel keeps: one buffer instead of two.
  Relu: activation('ReluGrad', (dy, y) => tf.mul(dy, tf.step(y))),
  // At NaN the mask gives 0, where tfjs gives NaN.
  Relu6: {
    x: [
      ['mask'],
      (dy, { mask }) => {
        const ops = () => tf.mul(dy, tf.cast(mask!, 'float32'));
        return dy.size === mask!.size ? fused('ClipByValueGrad', { dy, mask }, {}, ops) : ops();
      },
      { mask: ({ x }) => fused('Relu6Mask', { x }, {}, () => logicalAnd(tf.greater(x!, 0), lessEqual(x!, 6))) },
    ],
  },
  ResizeBilinear: resized('ResizeBilinear'),
  ResizeNearestNeighbor: resized('ResizeNearestNeighbor'),
  Sigmoid: activation('SigmoidGrad', (dy, y) => stockGradient('Sigmoid', 'x', dy, [y], {})),
  Softmax: {
    logits: [
      ['y'],
      (dy, { y }, attrs) => {
        const ops = () => stockGradient('Softmax', 'logits', dy, [y!], attrs);
        return [-1, y!.rank - 1].includes(attrs.dim) ? fused('SoftmaxGrad', { dy, y }, {}, ops) : ops();
      },
    ],
  },
  // tfjs doubles x. A factor of two rounds nothing, and dy may be smaller: that of a mean, in every variance.
  Square: { x: [['x'], (dy, { x }) => tf.mul(tf.mul(dy, tf.scalar(2)), tf.cast(x!, 'float32'))] },
  // tfjs leaves out that a mean is broadcast, as in layer norm by Keras.
  SquaredDifference: {
    a: [['a', 'b'], (dy, { a, b }) => reduceTo(tf.mul(dy, tf.mul(tf.scalar(2), tf.sub(a!, b!))), a!.shape)],
    b: [['a', 'b'], (dy, { a, b }) => reduceTo(tf.mul(dy, tf.mul(tf.scalar(2), tf.sub(b!, a!))), b!.shape)],
  },
  Sum: { x: [[], (dy, { x }, { axis }) => spread(dy, x!.shape, axis)] },
  Tanh: activation('TanhGrad', (dy, y) => stockGradient('Tanh', 'x', dy, [y], {})),
  _FusedMatMul: likeMatMul(),
};
