/** A block of a transformer as Keras exports it: every pattern of a GraphModel is found, and its parts keep nothing. */
import { useBackend } from '@leantune/backends';
import { finetune, measure, type Technique } from '@leantune/core';
import { attribute, GraphBuilder } from '@leantune/testing';
import * as tf from '@tensorflow/tfjs';
import { beforeAll, expect, test } from 'vitest';
import { biasTuning, fourBit } from '../src/index.ts';

const [ROWS, WIDTH] = [12, 64];

beforeAll(async () => {
  await useBackend('wasm');
});

/** Adds nodes to a graph; each method gives the name of the node it adds. */
function nodesOf(graph: GraphBuilder) {
  const constant = (name: string, value: tf.Tensor) => graph.constant(name, value);
  const scalar = (name: string, value: number) => constant(name, tf.scalar(value));
  const op = (name: string, kind: string, ...inputs: string[]) => graph.node(name, kind, inputs);
  const dense = (name: string, x: string, seed: number) => {
    const kernel = tf.randomNormal([WIDTH, WIDTH], 0, WIDTH ** -0.5, 'float32', seed);
    const product = op(`${name}/MatMul`, 'MatMul', x, constant(`${name}/kernel`, kernel));
    return op(`${name}/BiasAdd`, 'BiasAdd', product, constant(`${name}/bias`, tf.zeros([WIDTH])));
  };
  return { constant, scalar, op, dense };
}

/** MatMul, BiasAdd, GELU by erf, MatMul, BiasAdd, layer norm in Mean, SquaredDifference and Rsqrt, MatMul, BiasAdd. */
async function block(): Promise<tf.GraphModel> {
  const graph = new GraphBuilder();
  const { constant, scalar, op, dense } = nodesOf(graph);
  const axis = constant('axis', tf.tensor1d([1], 'int32'));
  const mean = (name: string, x: string) => graph.node(name, 'Mean', [x, axis], { keep_dims: attribute.flag(true) });

  const up = dense('up', graph.placeholder('x', [-1, WIDTH]), 1);
  const erf = op('gelu/Erf', 'Erf', op('gelu/truediv', 'RealDiv', up, scalar('gelu/sqrt2', Math.SQRT2)));
  const gate = op('gelu/add', 'AddV2', scalar('gelu/one', 1), erf);
  const gelu = op('gelu/mul_1', 'Mul', op('gelu/mul', 'Mul', scalar('gelu/half', 0.5), up), gate);
  const x = dense('down', gelu, 2);
  const mu = mean('norm/mean', x);
  const still = op('norm/StopGradient', 'StopGradient', mu);
  const variance = mean('norm/variance', op('norm/SquaredDifference', 'SquaredDifference', x, still));
  const inverse = op('norm/Rsqrt', 'Rsqrt', op('norm/eps', 'AddV2', variance, scalar('norm/epsilon', 1e-6)));
  const gain = op('norm/gain', 'Mul', inverse, constant('norm/gamma', tf.randomUniform([WIDTH], 0.5, 1.5, 'float32', 3)));
  const shift = op('norm/sub', 'Sub', constant('norm/beta', tf.zeros([WIDTH])), op('norm/mul_2', 'Mul', mu, gain));
  dense('head', op('norm/add_1', 'AddV2', op('norm/mul_1', 'Mul', x, gain), shift), 4);
  return graph.load();
}

/** A step with and without codes: how far the gradients of biases are apart, and what waits with codes. */
function compare(model: tf.GraphModel, targets: readonly string[]) {
  const x = tf.randomNormal([ROWS, WIDTH], 0, 1, 'float32', 5);
  const direction = tf.randomNormal([ROWS, WIDTH], 0, 1, 'float32', 6);
  const run = (...techniques: Technique[]) => {
    const tuned = finetune(model, [biasTuning({ targets }), ...techniques]);
    const { result, memory } = measure(
      () => {
        const { value, grads } = tuned.valueAndGrads(() =>
          tf.tidy(() => tf.sum(tf.mul(model.predict(x) as tf.Tensor, direction)) as tf.Scalar),
        );
        const values = Object.values(grads).map((g) => Float32Array.from(g.dataSync()));
        tf.dispose([value, grads]);
        return values;
      },
      { model },
    );
    tuned.dispose();
    return { gradients: result, memory };
  };
  const [exact, ours] = [run(), run(fourBit())];
  tf.dispose([x, direction]);
  const size = (v: Float32Array) => Math.sqrt(v.reduce((sum, a) => sum + a * a, 0));
  const off = exact.gradients.map((g, i) => size(g.map((a, k) => a - ours.gradients[i]![k]!)) / size(g));
  const bytes = (kernel: string) => ours.memory.kept.filter((row) => row.kernel === kernel).reduce((sum, row) => sum + row.bytes, 0);
  return { off: Math.max(...off), bytes, kept: ours.memory.keptBytes, without: exact.memory.keptBytes };
}

test('GELU and layer norm of a graph wait in codes, and gradients stay near', async () => {
  const model = await block();
  const { off, bytes, kept, without } = compare(model, ['up/BiasAdd', 'down/BiasAdd', 'head/BiasAdd']);
  expect(off).toBeLessThan(0.06);
  const size = 4 * ROWS * WIDTH;
  expect(bytes('Gelu')).toBe(size / 8);
  const rows = ROWS * (4 + WIDTH / 2); // and the mean and 1/σ of each row
  expect(bytes('LayerNorm')).toBeGreaterThanOrEqual(rows + ROWS * 4);
  expect(bytes('LayerNorm')).toBeLessThanOrEqual(rows + ROWS * 8 + WIDTH * 4);
  const inFlight = 2 * size + 2 * ROWS * 4; // parts of the norm, before its last op has run: x, its gain for each value, r and x's mean
  expect(kept).toBe(size / 8 + bytes('LayerNorm') + inFlight);
  expect(without).toBe(size + inFlight);
  model.dispose();
});

type Nodes = ReturnType<typeof nodesOf>;

test.each<[string, (x: string, nodes: Nodes) => string]>([
  ['Silu', (x, { op }) => op('mul', 'Mul', x, op('sigmoid', 'Sigmoid', x))],
  ['Mish', (x, { op }) => op('mul', 'Mul', x, op('tanh', 'Tanh', op('softplus', 'Softplus', x)))],
  [
    'HardSwish',
    (x, { op, scalar }) => {
      const gate = op('relu6', 'Relu6', op('add', 'AddV2', x, scalar('three', 3)));
      return op('mul', 'Mul', x, op('mul_1', 'Mul', gate, scalar('sixth', 1 / 6)));
    },
  ],
  [
    'Gelu',
    (x, { op, scalar }) => {
      const cubed = op('mul', 'Mul', scalar('factor', 0.044715), op('pow', 'Pow', x, scalar('three', 3)));
      const inner = op('mul_1', 'Mul', op('add', 'AddV2', x, cubed), scalar('root', Math.sqrt(2 / Math.PI)));
      const gate = op('add_1', 'AddV2', op('tanh', 'Tanh', inner), scalar('one', 1));
      return op('mul_3', 'Mul', op('mul_2', 'Mul', scalar('half', 0.5), x), gate);
    },
  ],
  ['Elu', (x, { op }) => op('elu', 'Elu', x)],
  ['Relu', (x, { op }) => op('relu', 'Relu', x)],
])('%s of a graph waits in codes', async (kernel, activation) => {
  const graph = new GraphBuilder();
  const nodes = nodesOf(graph);
  nodes.dense('head', activation(nodes.dense('up', graph.placeholder('x', [-1, WIDTH]), 1), nodes), 2);
  const model = await graph.load();
  const { off, bytes } = compare(model, ['up/BiasAdd', 'head/BiasAdd']);
  expect(off).toBeLessThan(kernel === 'Relu' ? 1e-6 : 0.07); // 5 % on average over normal x; these are 768 draws
  expect(bytes(kernel)).toBe((ROWS * WIDTH) / (kernel === 'Relu' ? 8 : 2));
  model.dispose();
});
