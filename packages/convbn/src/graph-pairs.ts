/**
 * The pairs of a GraphModel: FusedBatchNorm behind Conv2D or DepthwiseConv2dNative, fused with a bias or not, or with an addition of
 * a bias between. The converter folds batch norms itself where it can; a graph of which it has left none is refused, as only what is
 * folded could train.
 */
import { FinetuneError, type Site } from '@leantune/core';
import type { GraphModel } from '@tensorflow/tfjs-converter';
import * as tf from '@tensorflow/tfjs-core';
import type { ConvBnWeights } from './fold-weights.ts';
import type { Pair } from './pair.ts';
import type { LeftNorm, Plan } from './pairs-of.ts';

interface GraphNode {
  readonly name: string;
  readonly op: string;
  readonly inputs: readonly GraphNode[];
  readonly attrParams: { readonly [name: string]: { readonly value?: unknown } | undefined };
}

interface Executor {
  readonly weightMap: { readonly [name: string]: tf.Tensor[] };
  readonly _outputs: readonly GraphNode[];
}

const convolution = /^(_FusedConv2D|Conv2D|FusedDepthwiseConv2dNative|DepthwiseConv2d(Native)?)$/;
const norm = /^FusedBatchNorm(V[23])?$/;
const addition = /^(BiasAdd|Add|AddV2)$/;

/** The constant behind an input, if it is one. */
const constant = (node: GraphNode | undefined): GraphNode | undefined =>
  node?.op === 'Identity' ? constant(node.inputs[0]) : node?.op === 'Const' ? node : undefined;

const attr = (node: GraphNode, name: string): unknown => node.attrParams[name]?.value;
const fusedOps = (node: GraphNode): readonly string[] => (attr(node, 'fusedOps') as string[] | undefined) ?? [];

interface Found {
  readonly conv: GraphNode;
  /** Of the node itself, or added between. */
  readonly bias: GraphNode | undefined;
  readonly biasBehind: boolean;
}

/** @throws FinetuneError `bad-model` if the converter has folded the batch norms */
export function graphPlan(model: GraphModel, who: string, sites: readonly Site[] = []): Plan {
  const { executor } = model as unknown as { readonly executor: Executor };
  const nodes = nodesOf(executor._outputs);
  const readers = new Map<GraphNode, number>();
  for (const node of [...nodes.flatMap(({ inputs }) => inputs), ...executor._outputs]) readers.set(node, (readers.get(node) ?? 0) + 1);
  const plan = { pairs: [] as Pair[], left: [] as LeftNorm[] };
  const paired = new Set<GraphNode>();
  for (const node of nodes) {
    if (!norm.test(node.op)) continue;
    const found = before(node, readers);
    if (typeof found === 'string') plan.left.push({ norm: node.name, reason: found });
    else {
      plan.pairs.push(graphPair(found, node, executor, sites));
      paired.add(found.conv);
    }
  }
  const biased = (node: GraphNode) => convolution.test(node.op) && fusedOps(node)[0] === 'biasadd' && !paired.has(node);
  const folded = nodes.filter(biased).map(({ name }) => name);
  if (folded.length > 0 && plan.pairs.length + plan.left.length === 0) refuseFolded(folded, who);
  return { ...plan, folded };
}

/** All nodes that lead to `outputs`, inputs before those who read them. */
function nodesOf(outputs: readonly GraphNode[]): readonly GraphNode[] {
  const seen = new Set<GraphNode>();
  const visit = (node: GraphNode): void => {
    if (seen.has(node)) return;
    node.inputs.forEach(visit);
    seen.add(node);
  };
  outputs.forEach(visit);
  return [...seen];
}

function refuseFolded(folded: readonly string[], who: string): never {
  throw new FinetuneError(
    'bad-model',
    who,
    `got a graph without batch norms, whose ${folded.length} convolutions have a bias inside ("${folded[0]}" is the first): if it had any, the converter has folded them. ` +
      'What is folded trains as in Deploy mode, by finetune(model) alone. For Tune mode convert the model as a LayersModel (--output_format tfjs_layers_model).',
  );
}

function before(node: GraphNode, readers: ReadonlyMap<GraphNode, number>): Found | string {
  if (node.inputs.slice(1).some((input) => !constant(input))) return 'its weights are computed in the graph';
  if (attr(node, 'dataFormat') === 'NCHW') return 'its channels come first';
  let bias: GraphNode | undefined;
  for (let at = node.inputs[0]!; ; at = at.inputs[0]!) {
    if (readers.get(at) !== 1) return `the output of "${at.name}" is read by others too`;
    if (convolution.test(at.op)) return fault(at) ?? { conv: at, bias: bias ?? constant(at.inputs[2]), biasBehind: bias !== undefined };
    const added = addition.test(at.op) && !bias && constant(at.inputs[0]) === undefined ? constant(at.inputs[1]) : undefined;
    if (!(added || at.op === 'Identity')) return `"${at.name}" (${at.op}) comes before it`;
    bias ??= added;
  }
}

function fault(conv: GraphNode): string | undefined {
  const activation = fusedOps(conv).find((op) => op !== 'biasadd' && op !== '');
  if (activation) return `the activation of "${conv.name}" (${activation}) comes between`;
  if (!constant(conv.inputs[1])) return `the kernel of "${conv.name}" is computed in the graph`;
  return undefined;
}

function graphPair({ conv, bias, biasBehind }: Found, node: GraphNode, executor: Executor, sites: readonly Site[]): Pair {
  const [gamma, beta, mean, variance] = node.inputs.slice(1).map((input) => constant(input)!.name);
  const names = { kernel: constant(conv.inputs[1])!.name, bias: bias?.name, gamma, beta, mean, variance } as const;
  const read = (name: string | undefined) => (name === undefined ? undefined : executor.weightMap[name]![0]!);
  const values = () => Object.fromEntries(Object.entries(names).map(([role, name]) => [role, read(name)]));
  const depthwise = conv.op.includes('Depthwise');
  return {
    conv: conv.name,
    norm: node.name,
    channels: read(names.kernel)!.shape.slice(depthwise ? -2 : -1),
    padded: false,
    biasBehind: biasBehind ? names.bias : undefined,
    weights: () => ({ ...values(), epsilon: (attr(node, 'epsilon') as number | undefined) ?? 1e-3 }) as unknown as ConvBnWeights,
    variable: (role) =>
      sites
        .flatMap(({ weights }) => weights)
        .find(({ name }) => name === names[role as keyof typeof names])!
        .variable(),
    run(x, _, kernel, own) {
      const run = depthwise ? tf.depthwiseConv2d : tf.conv2d;
      const [strides, dilations] = ['strides', 'dilations'].map((name) => (attr(conv, name) as number[]).slice(1, 3) as [number, number]);
      const y = run(x as tf.Tensor4D, kernel as tf.Tensor4D, strides!, padOf(conv), 'NHWC', dilations!);
      return own ? tf.add(y, own) : y;
    },
    normalize: (x, next) => next(x),
    alongChannels: (vector) => vector,
  };
}

function padOf(conv: GraphNode): 'valid' | 'same' | tf.backend_util.ExplicitPadding {
  const pad = attr(conv, 'pad') as 'valid' | 'same' | 'explicit';
  if (pad !== 'explicit') return pad;
  const sides = attr(conv, 'explicitPaddings') as number[];
  return [0, 2, 4, 6].map((i) => [sides[i]!, sides[i + 1]!]) as tf.backend_util.ExplicitPadding;
}
