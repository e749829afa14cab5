/**
 * What the gradient of each kernel input reads, for tfjs's own gradient functions.
 *
 * tfjs lists per kernel what to save for all its inputs together, and often saves a tensor where a shape is enough. Here a row
 * `kernel: { input: [values] }` says whose *values* the gradient of that input reads (`y` is the output); everything else is
 * passed as a shape. An input that is left out reads nothing; a kernel that is left out reads all that tfjs saves for it.
 * Each row was read off `tfjs-core/src/gradients/*_grad.ts` 4.22 and has a saved-bytes test.
 */
type Reads = { readonly [input: string]: readonly string[] };

const products: Reads = { a: ['b'], b: ['a'] };
const convolution: Reads = { x: ['filter'], filter: ['x'] };
const quotient: Reads = { a: ['b'], b: ['a', 'b'] };
const shapes: Reads = {};

export const reads: { readonly [kernel: string]: Reads } = {
  Add: shapes,
  AddN: shapes,
  ArgMax: shapes,
  ArgMin: shapes,
  AvgPool: shapes,
  AvgPool3D: shapes,
  BatchMatMul: products,
  Conv2D: convolution,
  Conv2DBackpropInput: { dy: ['filter'], filter: ['dy'] },
  Conv3D: convolution,
  DepthwiseConv2dNative: convolution,
  ExpandDims: shapes,
  FloorDiv: quotient,
  GreaterEqual: shapes,
  MirrorPad: shapes,
  Mod: { b: ['a', 'b'] },
  OneHot: shapes,
  PadV2: shapes,
  Pow: { a: ['a', 'b'], b: ['a', 'y'] },
  Prelu: { x: ['x', 'alpha'], alpha: ['x'] },
  RealDiv: quotient,
  Reshape: shapes,
  Select: { t: ['condition'], e: ['condition'] },
  Slice: shapes,
  Sub: shapes,
  Tile: shapes,
};

/** Kernels whose output does not change with small changes of the input: nothing flows back, so nothing behind them is recorded. */
export const constant: ReadonlySet<string> = new Set([
  'Equal',
  'Greater',
  'Less',
  'LessEqual',
  'LogicalAnd',
  'LogicalNot',
  'LogicalOr',
  'NotEqual',
]);
