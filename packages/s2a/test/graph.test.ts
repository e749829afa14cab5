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

/** MatMul, BiasAdd, GELU by erf, MatMul, BiasAdd, layer norm in Mean, SquaredDifference and Rsqrt, MatMul, BiasAdd. */
async function block(): Promise<tf.GraphModel> {
  const graph = new GraphBuilder();
  const { flag } = attribute;
  const constant = (name: string, value: tf.Tensor) => graph.constant(name, value);
  const scalar = (name: string, value: number) => constant(name, tf.scalar(value));
  const op = (name: string, kind: string, ...inputs: string[]) => graph.node(name, kind, inputs);
  const dense = (name: string, x: string, seed: number) => {
    const product = op(
      `${name}/MatMul`,
      'MatMul',
      x,
      constant(`${name}/kernel`, tf.randomNormal([WIDTH, WIDTH], 0, WIDTH ** -0.5, 'float32', seed)),
    );
    return op(`${name}/BiasAdd`, 'BiasAdd', product, constant(`${name}/bias`, tf.zeros([WIDTH])));
  };
  const axis = constant('axis', tf.tensor1d([1], 'int32'));
  const mean = (name: string, x: string) => graph.node(name, 'Mean', [x, axis], { keep_dims: flag(true) });

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

test('GELU and layer norm of a graph wait in codes, and gradients stay near', async () => {
  const model = await block();
  const x = tf.randomNormal([ROWS, WIDTH], 0, 1, 'float32', 5);
  const direction = tf.randomNormal([ROWS, WIDTH], 0, 1, 'float32', 6);
  const run = (...techniques: Technique[]) => {
    const tuned = finetune(model, [biasTuning({ targets: ['up/BiasAdd', 'down/BiasAdd', 'head/BiasAdd'] }), ...techniques]);
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
  exact.gradients.forEach((g, i) => {
    const size = (v: Float32Array) => Math.sqrt(v.reduce((sum, a) => sum + a * a, 0));
    expect(size(g.map((a, k) => a - ours.gradients[i]![k]!)) / size(g)).toBeLessThan(0.06);
  });
  const bytes = (kernel: string) => ours.memory.kept.filter((row) => row.kernel === kernel).reduce((sum, row) => sum + row.bytes, 0);
  expect(bytes('Gelu')).toBe((ROWS * WIDTH) / 2);
  const rows = ROWS * (4 + WIDTH / 2); // and the mean and 1/σ of each row
  expect(bytes('LayerNorm')).toBeGreaterThanOrEqual(rows + ROWS * 4);
  expect(bytes('LayerNorm')).toBeLessThanOrEqual(rows + ROWS * 8 + WIDTH * 4);
  expect(ours.memory.keptBytes).toBeLessThan(0.7 * exact.memory.keptBytes); // with the parts of one pattern that are in flight
  tf.dispose([x, direction]);
  model.dispose();
});
