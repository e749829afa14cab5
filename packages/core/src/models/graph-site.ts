/** A node of a GraphModel as a site, with the constants it reads as weights. */
import type * as tf from '@tensorflow/tfjs-core';
import type { SiteKind, SiteWeight } from '../technique.ts';
import { ReplaceableSite, type Switch } from './replaceable-site.ts';

/** The part of a graph node of tfjs-converter 4.22 that is read. */
export interface GraphNode {
  readonly name: string;
  readonly op: string;
  readonly category: string;
  readonly inputs: readonly GraphNode[];
  readonly attrParams: { readonly [name: string]: { readonly value?: unknown } | undefined };
}

/** The constants of a graph: each becomes a variable when first asked for, and a constant again in the end. */
export interface Constants {
  tensor(name: string): tf.Tensor;
  variable(name: string): tf.Variable;
  /** A new value for good. Borrows it. */
  assign(name: string, value: tf.Tensor): void;
}

/** Per op: its kind, which inputs are kernel (or -1), and other weights, a bias first. */
const ops: { readonly [op: string]: readonly [kind: SiteKind, kernel: number, ...others: number[]] } = {
  MatMul: ['dense', 1],
  BatchMatMul: ['dense', 1],
  BatchMatMulV2: ['dense', 1],
  _FusedMatMul: ['dense', 1, 2, 3],
  Conv2D: ['conv2d', 1],
  _FusedConv2D: ['conv2d', 1, 2, 3],
  DepthwiseConv2dNative: ['depthwiseConv2d', 1],
  FusedDepthwiseConv2dNative: ['depthwiseConv2d', 1, 2, 3],
  Conv3D: ['conv3d', 1],
  Conv2DBackpropInput: ['conv2dTranspose', 1],
  GatherV2: ['embedding', 0],
  FusedBatchNorm: ['batchNorm', -1, 1, 2],
  FusedBatchNormV2: ['batchNorm', -1, 1, 2],
  FusedBatchNormV3: ['batchNorm', -1, 1, 2],
  Prelu: ['activation', -1, 1],
  BiasAdd: ['other', -1, 1],
  Add: ['other', -1, 0, 1],
  AddV2: ['other', -1, 0, 1],
  Mul: ['other', -1, 0, 1],
};
const activations = new Set(['Relu', 'Relu6', 'Elu', 'Selu', 'LeakyRelu', 'Sigmoid', 'Tanh', 'Softplus', 'Softmax', 'Erf']);

/** The constant behind an input, if it is one. */
const source = (node: GraphNode | undefined): GraphNode | undefined =>
  node?.op === 'Identity' ? source(node.inputs[0]) : node?.op === 'Const' ? node : undefined;

/** `next` has the bias only if the node has it (a fused one). */
export class GraphSite extends ReplaceableSite {
  readonly weights: readonly SiteWeight[];
  /** Names of the weights that train by default. A vector that multiplies is as often data preparation as it is a norm's scale. */
  readonly defaults: readonly string[];
  readonly #constants: Constants;
  readonly #kernel: string | undefined;
  readonly #bias: string | undefined;

  constructor(node: GraphNode, constants: Constants, power: Switch) {
    const [kind, at, ...others] = ops[node.op] ?? [activations.has(node.op) ? 'activation' : 'other', -1];
    super(node.name, kind, node.op, power);
    const floats = (index: number) => {
      const name = source(node.inputs[index])?.name;
      const { dtype, rank, size, shape } = name === undefined ? ({} as Partial<tf.Tensor>) : constants.tensor(name);
      const isVector = size === shape?.at(-1) && size !== 1;
      return name !== undefined && dtype === 'float32' && rank !== 0 && (kind !== 'other' || isVector) ? [name] : [];
    };
    this.#constants = constants;
    const [kernel] = floats(at);
    const flipped = ['transposeA', 'transposeB', 'adjX', 'adjY'].some((name) => node.attrParams[name]?.value === true);
    this.#kernel = flipped ? undefined : kernel;
    const rest = others.flatMap(floats);
    this.#bias = kernel === undefined ? undefined : rest[0];
    const names = [kernel ?? [], rest].flat();
    this.weights = names.map((name) => ({ name, variable: () => constants.variable(name) }));
    this.defaults = node.op === 'Mul' ? [] : names;
  }

  /** Undefined also where the graph holds it transposed. */
  get kernel(): tf.Tensor | undefined {
    return this.#kernel === undefined ? undefined : this.#constants.tensor(this.#kernel);
  }

  get bias(): tf.Tensor | undefined {
    return this.#bias === undefined ? undefined : this.#constants.tensor(this.#bias);
  }

  protected get replaceable(): boolean {
    return this.kind !== 'other';
  }

  protected override assign(_: tf.Tensor, value: tf.Tensor): void {
    this.#constants.assign(this.#kernel!, value);
  }
}
