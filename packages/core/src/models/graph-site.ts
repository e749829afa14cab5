/** A node of a GraphModel as a site, with the constants it reads as weights. */
import type * as tf from '@tensorflow/tfjs-core';
import type { SiteKind } from '../technique.ts';
import { denseEinsum } from './dense-einsum.ts';
import type { Constants } from './graph-constants.ts';
import { makeSite, type ReplaceableSite, type Switch } from './replaceable-site.ts';
import type { GraphNode } from './tfjs-converter.ts';

type Op = readonly [kind: SiteKind, kernel: number, ...others: number[]];

// The plain op lacks the inputs from 2 on, which are bias and slope of the fused one.
const dense: Op = ['dense', 1, 2, 3];
const conv2d: Op = ['conv2d', 1, 2, 3];
const depthwise: Op = ['depthwiseConv2d', 1, 2, 3];
const norm: Op = ['batchNorm', -1, 1, 2];
const sumOrProduct: Op = ['other', -1, 0, 1];

/** Per op: its kind, which input is the kernel (or -1), and other weights, a bias first. */
const ops: { readonly [op: string]: Op } = {
  MatMul: dense,
  BatchMatMul: dense,
  BatchMatMulV2: dense,
  _FusedMatMul: dense,
  Conv2D: conv2d,
  _FusedConv2D: conv2d,
  DepthwiseConv2dNative: depthwise,
  FusedDepthwiseConv2dNative: depthwise,
  Conv3D: ['conv3d', 1],
  Conv2DBackpropInput: ['conv2dTranspose', 1],
  GatherV2: ['embedding', 0],
  FusedBatchNorm: norm,
  FusedBatchNormV2: norm,
  FusedBatchNormV3: norm,
  Prelu: ['activation', -1, 1],
  BiasAdd: ['other', -1, 1],
  Add: sumOrProduct,
  AddV2: sumOrProduct,
  Mul: sumOrProduct,
};
const activation = /^(Relu6?|Elu|Selu|LeakyRelu|Sigmoid|Tanh|Softplus|Softmax|Erf)$/;

/** The constant behind an input, if it is one. */
const source = (node: GraphNode | undefined): GraphNode | undefined =>
  node?.op === 'Identity' ? source(node.inputs[0]) : node?.op === 'Const' ? node : undefined;

export interface GraphSite extends ReplaceableSite {
  /** Names of the weights that train by default. A vector that multiplies is as often data preparation as it is a norm's scale. */
  readonly defaults: readonly string[];
}

/** `next` has the bias only if the node has it (a fused one). */
export function graphSite({ name, op, inputs, attrParams }: GraphNode, constants: Constants, power: Switch): GraphSite {
  const einsum = op === 'Einsum' ? denseEinsum(String(attrParams['equation']?.value)) : undefined;
  const [kind, at, ...others]: Op = (einsum ? dense : ops[op]) ?? [activation.test(op) ? 'activation' : 'other', -1];
  const trainable = ({ dtype, rank, size, shape }: tf.Tensor) =>
    dtype === 'float32' && rank > 0 && (kind !== 'other' || (size === shape.at(-1) && size !== 1));
  const weightsAt = (...indices: number[]) =>
    indices.flatMap((i) => source(inputs[i])?.name ?? []).filter((weight) => trainable(constants.tensor(weight)));
  const [kernel] = weightsAt(at);
  const rest = weightsAt(...others);
  const names = kernel === undefined ? rest : [kernel, ...rest];
  const flipped = ['transposeA', 'transposeB', 'adjX', 'adjY'].some((attr) => attrParams[attr]?.value === true);
  const site = makeSite({
    name,
    kind,
    type: op,
    power,
    weights: names.map((weight) => ({ name: weight, variable: () => constants.variable(weight) })),
    replaceable: () => kind !== 'other',
    kernel: () => (kernel === undefined || flipped ? undefined : constants.tensor(kernel)), // of dIn rows, not transposed
    ...(einsum && { shapeOf: ({ shape }) => einsum.kernelShape(shape) }),
    bias: () => (kernel === undefined || rest[0] === undefined ? undefined : constants.tensor(rest[0])),
    assign: (value) => constants.assign(kernel!, value),
  });
  return Object.assign(site, { defaults: op === 'Mul' ? [] : names });
}
