/** Tiny GraphModels: op by op as TensorFlow writes them, and fused as the converter's optimizer leaves them. */
import * as tf from '@tensorflow/tfjs';
import { attribute, GraphBuilder } from './graph-builder.ts';
import { asList, seeded, seededLabels, squaredError, type TinyModel } from './tiny-model.ts';

export type TinyGraphModel = TinyModel<tf.GraphModel> & { readonly kind: 'graph' };

const BATCH = 4;
const CLASSES = 3;
const { flag, float, integers, text, texts } = attribute;

/** MatMul, BiasAdd, Relu, MatMul, BiasAdd, Softmax. */
export async function matMulGraph(seed = 1): Promise<TinyGraphModel> {
  const graph = new GraphBuilder();
  const hidden = dense(graph, 'hidden', graph.placeholder('x', [-1, 6]), [6, 8], seed + 100);
  const logits = dense(graph, 'head', graph.node('hidden/Relu', 'Relu', [hidden]), [8, CLASSES], seed + 110);
  graph.node('probabilities', 'Softmax', [logits]);
  return tiny('matmul', await graph.load(), [BATCH, 6], seed);
}

/** Conv2D, FusedBatchNormV3, Relu6, MaxPool, DepthwiseConv2dNative, Mean, Reshape, MatMul, Softmax. */
export async function convGraph(seed = 1): Promise<TinyGraphModel> {
  const graph = new GraphBuilder();
  const image = graph.placeholder('x', [-1, 8, 8, 2]);
  const conv = graph.node('conv/Conv2D', 'Conv2D', [image, graph.constant('conv/kernel', seeded([3, 3, 2, 4], seed + 100, 0.3))], same(1));
  const norm = graph.node('bn/FusedBatchNormV3', 'FusedBatchNormV3', [conv, ...statistics(graph, 'bn', 4, seed + 110)], {
    epsilon: float(0.001),
    data_format: text('NHWC'),
    is_training: flag(false),
  });
  const active = graph.node('conv/Relu6', 'Relu6', [norm]);
  const pooled = graph.node('pool/MaxPool', 'MaxPool', [active], { ...same(2), ksize: integers(1, 2, 2, 1) });
  const filter = graph.constant('depthwise/kernel', seeded([3, 3, 4, 1], seed + 120, 0.3));
  const deep = graph.node('depthwise/DepthwiseConv2dNative', 'DepthwiseConv2dNative', [pooled, filter], same(1));
  const mean = graph.node('mean/Mean', 'Mean', [deep, graph.constant('mean/axes', tf.tensor1d([1, 2], 'int32'))], {
    keep_dims: flag(true),
  });
  const flat = graph.node('flat/Reshape', 'Reshape', [mean, graph.constant('flat/shape', tf.tensor1d([-1, 4], 'int32'))]);
  graph.node('probabilities', 'Softmax', [dense(graph, 'head', flat, [4, CLASSES], seed + 130)]);
  return tiny('conv', await graph.load(), [BATCH, 8, 8, 2], seed);
}

/** _FusedConv2D, FusedDepthwiseConv2dNative, Mean, _FusedMatMul: bias and activation inside. */
export async function fusedGraph(seed = 1): Promise<TinyGraphModel> {
  const graph = new GraphBuilder();
  const image = graph.placeholder('x', [-1, 6, 6, 2]);
  const fused = (activation: string): Parameters<GraphBuilder['node']>[3] => ({
    fused_ops: texts('BiasAdd', activation),
    num_args: attribute.integer(1),
  });
  const conv = graph.node('conv/Fused', '_FusedConv2D', [image, ...weights(graph, 'conv', [3, 3, 2, 4], 4, seed + 100)], {
    ...same(1),
    ...fused('Relu'),
  });
  const deep = graph.node(
    'depthwise/Fused',
    'FusedDepthwiseConv2dNative',
    [conv, ...weights(graph, 'depthwise', [3, 3, 4, 1], 4, seed + 110)],
    {
      ...same(2),
      ...fused('Relu6'),
    },
  );
  const mean = graph.node('mean/Mean', 'Mean', [deep, graph.constant('mean/axes', tf.tensor1d([1, 2], 'int32'))], {
    keep_dims: flag(false),
  });
  const middle = graph.node('middle/Fused', '_FusedMatMul', [mean, ...weights(graph, 'middle', [4, 5], 5, seed + 120)], {
    ...plain,
    ...fused('Relu'),
  });
  const logits = graph.node('head/Fused', '_FusedMatMul', [middle, ...weights(graph, 'head', [5, CLASSES], CLASSES, seed + 130)], {
    ...plain,
    fused_ops: texts('BiasAdd'),
    num_args: attribute.integer(1),
  });
  graph.node('probabilities', 'Softmax', [logits]);
  return tiny('fused', await graph.load(), [BATCH, 6, 6, 2], seed);
}

/**
 * Einsum to two heads, Tanh, Einsum back, Mean, Softmax: a projection of Keras's MultiHeadAttention and its output. Beside the others, as
 * only what sits on a kernel tells it from them.
 */
export async function einsumGraph(seed = 1): Promise<TinyGraphModel> {
  const graph = new GraphBuilder();
  const einsum = (name: string, equation: string, x: string, kernel: number[], at: number) =>
    graph.node(`${name}/Einsum`, 'Einsum', [x, graph.constant(`${name}/kernel`, seeded(kernel, at, 0.5))], {
      equation: text(equation),
      N: attribute.integer(2),
    });
  const heads = einsum('query', 'abc,cde->abde', graph.placeholder('x', [-1, 5, 6]), [6, 2, 3], seed + 100);
  const output = einsum('output', 'abcd,cde->abe', graph.node('tanh', 'Tanh', [heads]), [2, 3, CLASSES], seed + 110);
  const axes = graph.constant('axes', tf.tensor1d([1], 'int32'));
  graph.node('probabilities', 'Softmax', [graph.node('mean', 'Mean', [output, axes], { keep_dims: flag(false) })]);
  return tiny('einsum', await graph.load(), [BATCH, 5, 6], seed);
}

/** Those that every technique is held to, by the last part of their name. */
export const graphModels: { readonly [name: string]: (seed?: number) => Promise<TinyGraphModel> } = {
  matmul: matMulGraph,
  conv: convGraph,
  fused: fusedGraph,
};

const plain = { transpose_a: flag(false), transpose_b: flag(false) };

function same(stride: number): { readonly [name: string]: ReturnType<typeof text> } {
  return { strides: integers(1, stride, stride, 1), dilations: integers(1, 1, 1, 1), padding: text('SAME'), data_format: text('NHWC') };
}

function weights(graph: GraphBuilder, name: string, kernel: number[], width: number, seed: number): [string, string] {
  const fanIn = tf.util.sizeFromShape(kernel.slice(0, -1));
  return [
    graph.constant(`${name}/kernel`, seeded(kernel, seed, 1 / Math.sqrt(fanIn))),
    graph.constant(`${name}/bias`, seeded([width], seed + 1, 0.3)),
  ];
}

function dense(graph: GraphBuilder, name: string, x: string, kernel: [number, number], seed: number): string {
  const [w, b] = weights(graph, name, kernel, kernel[1], seed);
  return graph.node(`${name}/BiasAdd`, 'BiasAdd', [graph.node(`${name}/MatMul`, 'MatMul', [x, w], plain), b], {
    data_format: text('NHWC'),
  });
}

function statistics(graph: GraphBuilder, name: string, width: number, seed: number): string[] {
  const positive = (at: number): tf.Tensor => tf.randomUniform([width], 0.5, 1.5, 'float32', at);
  return [
    graph.constant(`${name}/gamma`, positive(seed)),
    graph.constant(`${name}/beta`, seeded([width], seed + 1, 0.3)),
    graph.constant(`${name}/mean`, seeded([width], seed + 2, 0.3)),
    graph.constant(`${name}/variance`, positive(seed + 3)),
  ];
}

function tiny(name: string, model: tf.GraphModel, shape: number[], seed: number): TinyGraphModel {
  const x = [seeded(shape, seed)];
  const y = [seededLabels(BATCH, CLASSES, seed + 20)];
  const predict = (): tf.Tensor[] => asList(model.predict(x[0]!) as tf.Tensor);
  const weights = (): { [name: string]: tf.Tensor } =>
    Object.fromEntries(Object.entries(model.weights).map(([key, [tensor]]) => [key, tensor!]));
  return {
    name: `graph/${name}`,
    kind: 'graph',
    model,
    x,
    y,
    predict,
    loss: () => tf.tidy(() => squaredError(y, predict())),
    variables: () =>
      Object.fromEntries(Object.entries(weights()).filter((entry): entry is [string, tf.Variable] => entry[1] instanceof tf.Variable)),
    weights,
    dispose: () => {
      model.dispose();
      tf.dispose([x, y]);
    },
  };
}
