/**
 * Which kernel runs in which precision: the lists of TensorFlow's AMP (grappler/optimizers/auto_mixed_precision_lists.h), under the names
 * that tfjs gives its kernels, with gradients beside what they are gradients of.
 *
 *   half      always: products and convolutions
 *   follow    in half where what flows in is half, rounded to it: elementwise ops and normalization
 *   pass      moves or chooses values: half where all that flows in is, exactly
 *   float32   always: exponentials, powers, sums, means, and what is in no list
 *
 * What differs: norms keep their statistics in float32 within `follow`; softmax is in `float32`, as in torch.amp.
 */
import { FinetuneError } from '@leantune/core';

/** The lists, by what the kernels in them compute in. */
export type Precision = 'half' | 'follow' | 'pass' | 'float32';
/** Kernels that go another way than they would: `{ half: ['Gelu'], float32: ['Conv2D'] }`. */
export type Lists = { readonly [precision in Precision]?: readonly string[] };

const lists: { readonly [precision in Precision]: readonly string[] } = {
  half: [
    ...['BatchMatMul', '_FusedMatMul', 'Einsum'],
    ...['Conv2D', 'FusedConv2D', 'Conv2DBackpropInput', 'Conv2DBackpropFilter'],
    ...['DepthwiseConv2dNative', 'FusedDepthwiseConv2D', 'DepthwiseConv2dNativeBackpropInput', 'DepthwiseConv2dNativeBackpropFilter'],
    ...['Conv3D', 'Conv3DBackpropInputV2', 'Conv3DBackpropFilterV2'],
  ],
  follow: [
    ...['Add', 'AddN', 'Sub', 'Multiply', 'RealDiv', 'SquaredDifference', 'FusedBatchNorm', 'FusedBatchNormGrad', 'LayerNorm', 'RmsNorm'],
    ...['AvgPool', 'AvgPoolGrad', 'AvgPool3D', 'AvgPool3DGrad', 'Gelu', 'GeluGrad', 'FusedGeluGrad', 'SwiGlu', 'SwiGluGrad', 'Attention'],
    ...['Elu', 'EluGrad', 'Erf', 'LeakyRelu', 'Prelu', 'Selu', 'Sigmoid', 'SigmoidGrad', 'Softplus', 'Sqrt', 'Tanh', 'TanhGrad'],
    ...['ResizeBilinear', 'ResizeBilinearGrad'],
  ],
  pass: [
    ...['Abs', 'ClipByValue', 'ClipByValueGrad', 'Concat', 'ExpandDims', 'GatherV2', 'Identity', 'Max', 'Maximum', 'Min', 'Minimum'],
    ...['MaxPool', 'MaxPoolGrad', 'MaxPool3D', 'MaxPool3DGrad', 'MirrorPad', 'Neg', 'Pack', 'PadV2', 'Relu', 'Relu6', 'ReluGrad'],
    ...['ResizeNearestNeighbor', 'Reshape', 'Reverse', 'Select', 'Slice', 'SpaceToBatchND', 'BatchToSpaceND', 'SplitV', 'Step'],
    ...['StridedSlice', 'Tile', 'BroadcastTo', 'Transpose', 'Unpack', 'ZerosLike'],
  ],
  float32: ['Exp', 'Expm1', 'Log', 'Log1p', 'LogSoftmax', 'Mean', 'Pow', 'Prod', 'Reciprocal', 'Rsqrt', 'Softmax', 'Square', 'Sum'],
};

/** The precision of each kernel. @throws FinetuneError `bad-option` naming kernels in two lists, and lists that there are not */
export function precisions(overrides: Lists): ReadonlyMap<string, Precision> {
  const given = Object.entries(overrides).flatMap(([precision, kernels]) =>
    kernels.map((kernel) => [kernel, precision as Precision] as const),
  );
  const names = given.map(([kernel]) => kernel);
  const faults = [
    ...Object.keys(overrides)
      .filter((precision) => !(precision in lists))
      .map((precision) => `the list "${precision}"; expected ${Object.keys(lists).join(', ')}`),
    ...[...new Set(names.filter((kernel, i) => names.indexOf(kernel) !== i))].map((kernel) => `${kernel} in two lists; expected one`),
  ];
  if (faults.length > 0)
    throw new FinetuneError('bad-option', 'mixedPrecision', `got ${faults.join('; ')}. Put each kernel into one list.`);
  const own = Object.entries(lists).flatMap(([precision, kernels]) => kernels.map((kernel) => [kernel, precision as Precision] as const));
  return new Map([...own, ...given]);
}
