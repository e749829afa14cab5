/**
 * Why gradients in half precision lie a tenth from those in float32 on two tiny models, and that they lie where they should: held against
 * stock tfjs's gradients of the same forward with every value rounded, here by arithmetic, where the lists say.
 */
import { useBackend } from '@leantune/backends';
import { finetune } from '@leantune/core';
import { type TinyModel, tinyModels } from '@leantune/testing';
import * as tf from '@tensorflow/tfjs';
import { beforeAll, describe, expect, test } from 'vitest';
import { dynamicLossScale, mixedPrecision } from '../src/index.ts';

/** Bits of the significand, and the power of two that is the smallest step. */
const formats = { mixed_float16: [11, -24], mixed_bfloat16: [8, -133] } as const;
type Policy = keyof typeof formats;
type Round = (x: tf.Tensor) => tf.Tensor;
type Weights = { readonly [name: string]: tf.Tensor };
/** Which side of a kink each value is on, as 0 and 1: `side(x)`, or what another forward found there. */
type Side = (x: tf.Tensor, side: (x: tf.Tensor) => tf.Tensor) => tf.Tensor;

const SCALE = 2 ** 8;

function nearest(x: tf.Tensor, policy: Policy): tf.Tensor {
  const [bits, least] = formats[policy];
  const values = x.dataSync().map((value) => {
    if (value === 0) return 0;
    const step = 2 ** Math.max(Math.floor(Math.log2(Math.abs(value))) + 1 - bits, least);
    const [low, rest] = [Math.floor(value / step), value / step - Math.floor(value / step)];
    return step * (rest > 0.5 || (rest === 0.5 && low % 2 !== 0) ? low + 1 : low);
  });
  return tf.tensor(values, x.shape);
}

/** Rounds a value, and what flows back through it, times the scale of the loss. */
const rounding = (policy: Policy): Round =>
  tf.customGrad((x) => ({
    value: nearest(x as tf.Tensor, policy),
    gradFunc: (dy: tf.Tensor) => tf.div(nearest(tf.mul(dy, SCALE), policy), SCALE),
  })) as Round;

const relu = (x: tf.Tensor, side: Side): tf.Tensor =>
  tf.mul(
    x,
    side(x, (v) => tf.step(v)),
  );

/** Windows of 2 by 2, of which the largest passes. */
function pool(x: tf.Tensor, side: Side): tf.Tensor {
  const [n, h, w, c] = x.shape as [number, number, number, number];
  const windows = tf.reshape(tf.transpose(tf.reshape(x, [n, h / 2, 2, w / 2, 2, c]), [0, 1, 3, 5, 2, 4]), [n, h / 2, w / 2, c, 4]);
  return tf.sum(
    tf.mul(
      windows,
      side(windows, (v) => tf.oneHot(tf.argMax(v, -1).toInt() as tf.Tensor1D, 4).toFloat()),
    ),
    -1,
  );
}

const conv = (x: tf.Tensor, w: tf.Tensor, q: Round): tf.Tensor => q(tf.conv2d(q(x) as tf.Tensor4D, q(w) as tf.Tensor4D, 1, 'same'));

function head(x: tf.Tensor, weights: Weights, q: Round): tf.Tensor {
  const product = q(tf.matMul(q(x) as tf.Tensor2D, q(weights['head/kernel']!) as tf.Tensor2D));
  return tf.softmax(q(tf.add(product, weights['head/bias']!)));
}

function residual(x: tf.Tensor, weights: Weights, q: Round, side: Side): tf.Tensor {
  const block = (name: string, x: tf.Tensor) => relu(q(tf.add(conv(x, weights[`${name}/kernel`]!, q), weights[`${name}/bias`]!)), side);
  const trunk = block('stem', x);
  const first = q(tf.add(trunk, block('block_1/conv', trunk)));
  const second = q(tf.add(first, block('block_2/conv', first)));
  const depthwise = tf.depthwiseConv2d(q(trunk) as tf.Tensor4D, q(weights['branch/depthwise/depthwise_kernel']!) as tf.Tensor4D, 1, 'same');
  const branch = q(tf.add(q(depthwise), weights['branch/depthwise/bias']!));
  return head(tf.mean(tf.concat([second, branch], -1), [1, 2]), weights, q);
}

function convolutions(x: tf.Tensor, weights: Weights, q: Round, side: Side): tf.Tensor {
  const block = (i: number, x: tf.Tensor) => {
    const y = conv(x, weights[`conv_${i}/kernel`]!, q);
    const mean = tf.mean(y, [0, 1, 2]);
    const variance = tf.mean(tf.square(q(tf.sub(y, mean))), [0, 1, 2]);
    const z = tf.mul(tf.sub(y, mean), tf.rsqrt(tf.add(variance, 1e-3)));
    return pool(relu(q(tf.add(tf.mul(z, weights[`bn_${i}/gamma`]!), weights[`bn_${i}/beta`]!)), side), side);
  };
  const features = block(2, block(1, x));
  return head(tf.reshape(features, [features.shape[0]!, -1]), weights, q);
}

const models = { 'layers/residual': residual, 'layers/conv': convolutions };
type Gradients = { readonly [name: string]: Float32Array };

const read = (grads: tf.NamedTensorMap): Gradients =>
  Object.fromEntries(Object.entries(grads).map(([name, t]) => [name, Float32Array.from(t.dataSync())]));

/** As law 4 measures it: the largest difference, relative to the largest of a tensor and a hundredth of the largest of all. */
function distance(a: Gradients, b: Gradients): number {
  const size = (values: Iterable<number>) => Math.max(...[...values].map(Math.abs));
  const largest = Math.max(...Object.values(b).map(size));
  return Math.max(...Object.keys(b).map((name) => size(b[name]!.map((v, i) => v - a[name]![i]!)) / (size(b[name]!) + 0.01 * largest)));
}

function gradientsOf(tiny: TinyModel, name: keyof typeof models, q: Round, side: Side): Gradients {
  const weights = tiny.variables();
  const loss = () => {
    const predicted = models[name](tiny.x[0]!, weights, q, side);
    return tf.mean(tf.metrics.categoricalCrossentropy(tiny.y[0]!, predicted)) as tf.Scalar;
  };
  return read(tf.variableGrads(loss, Object.values(weights)).grads);
}

/** Takes each value's own side, and notes it. */
function own(sides: tf.Tensor[]): Side {
  return (x, side) => {
    const taken = tf.keep(side(x));
    sides.push(taken);
    return taken;
  };
}

beforeAll(async () => {
  await useBackend('cpu');
});

describe.each(['mixed_float16', 'mixed_bfloat16'] as const)('%s', (policy) => {
  const near = policy === 'mixed_float16' ? 0.003 : 0.035;
  const cases = [1, 2, 3].flatMap((seed) => (Object.keys(models) as (keyof typeof models)[]).map((name) => [name, seed] as const));

  test.each(cases)(
    'on %s, seed %d, gradients are those of rounded values, and those of float32 but for kinks that were crossed',
    async (name, seed) => {
      const tiny = await tinyModels[name]!(seed);
      const lossScale = policy === 'mixed_float16' ? dynamicLossScale({ initial: SCALE }) : 'none';
      const tuned = finetune(tiny.model as tf.LayersModel, [mixedPrecision({ policy, lossScale })]);
      tf.tidy(() => {
        for (const [i, v] of tuned.variables.entries()) v.assign(tf.add(v, tf.randomNormal(v.shape, 0, 0.1, 'float32', seed + i)));
        const ours = read(tuned.valueAndGrads(() => tiny.loss()).grads);
        const stock = read(tf.variableGrads(() => tiny.loss(), [...tuned.variables]).grads);
        const [sides, halfSides]: [tf.Tensor[], tf.Tensor[]] = [[], []];
        expect(
          distance(
            gradientsOf(tiny, name, (x) => x, own(sides)),
            stock,
          ),
        ).toBeLessThan(2e-6); // the forward here is the model's
        expect(distance(ours, gradientsOf(tiny, name, rounding(policy), own(halfSides)))).toBeLessThan(near);
        let at = 0;
        const unbent = gradientsOf(tiny, name, rounding(policy), () => sides[at++]!);
        expect(distance(unbent, stock)).toBeLessThan(near);
        const crossed = sides.some((side, i) => String(side.dataSync()) !== String(halfSides[i]!.dataSync()));
        if (!crossed) expect(distance(ours, stock)).toBeLessThan(near);
        tf.dispose([sides, halfSides]);
      });
      tuned.dispose();
      tiny.dispose();
    },
  );
});
