import { finetune } from '@leantune/core';
import '@leantune/testing';
import * as tf from '@tensorflow/tfjs';
import { beforeAll, expect, test } from 'vitest';
import { deployMode, evalMode, tuneMode } from '../src/index.ts';
import { cases, disposeModel, modelOf, seedWeights, twoLayers } from './models.ts';

beforeAll(async () => {
  await tf.setBackend('cpu');
});

const because = 'the same product in another order, in float32';
const image = (seed: number) => tf.randomNormal([3, 6, 5, 3], 0, 1, 'float32', seed);

test('a step moves w′ by −η dw′, where Eval and Tune mode move it by −η k² dw′', () => {
  const rate = 0.1;
  const x = image(50);
  /** w′ after one step of SGD, when γ, β and b stay. */
  const stepped = (technique: ReturnType<typeof tuneMode>, trainable?: string[]) => {
    const model = modelOf(cases['a Conv2D']!);
    const tuned = finetune(model, technique, trainable ? { trainable } : {});
    const optimizer = tuned.optimizer(tf.train.sgd(rate));
    const conv = model.getLayer('conv').getWeights()[0]!.clone();
    tuned.minimize(() => tf.mean(tf.square(model.apply(x, { training: true }) as tf.Tensor)) as tf.Scalar, optimizer).dispose();
    const after = model.getLayer('conv').getWeights()[0]!.clone();
    const [gamma, , , variance] = model.getLayer('bn').getWeights();
    const k = tf.tidy(() => tf.mul(gamma!, tf.rsqrt(tf.add(variance!, 1e-3))));
    const effective = tf.tidy(() =>
      trainable ? tf.mul(after, k) : tuned.variables.find(({ name }) => name.includes('folded_kernel'))!.clone(),
    );
    const moved = tf.tidy(() => tf.sub(effective, tf.mul(conv, k)));
    tuned.dispose();
    optimizer.dispose();
    disposeModel(model);
    tf.dispose([conv, after, effective]);
    return { moved, k };
  };
  const [deploy, tune, even] = [stepped(deployMode()), stepped(tuneMode(), ['conv/kernel']), stepped(evalMode(), ['conv/kernel'])];
  expect(tune.moved).toBeClose(even.moved, { rel: 1e-4, because: 'a difference of near values' });
  const scaled = tf.tidy(() => tf.mul(deploy.moved, tf.square(deploy.k)));
  expect(tune.moved).toBeClose(scaled, { rel: 1e-4, because: 'a difference of near values' });
  tf.dispose([x, scaled, deploy, tune, even]);
});

const mergeable = Object.entries(cases).filter(([name]) => !name.startsWith('zero padding'));
test.each(mergeable)('merged into %s and its norm, trained w′ and b′ give the same outputs', (_, each) => {
  const model = modelOf(each);
  const x = tf.randomNormal([3, ...each.inputShape], 0, 1, 'float32', 50);
  const tuned = finetune(model, deployMode());
  tf.tidy(() => tuned.variables.forEach((v, i) => v.assign(tf.add(v, tf.randomNormal(v.shape, 0, 0.3, 'float32', i)))));
  const expected = tf.tidy(() => model.predict(x) as tf.Tensor);
  tuned.merge();
  const received = tf.tidy(() => twoLayers(model, x));
  expect(received).toBeClose(expected, { rel: 1e-5, because });
  disposeModel(model);
  tf.dispose([x, expected, received]);
});

test('what is frozen by the flags of the layers stays frozen, and what is in no pair trains', () => {
  const model = tf.sequential({
    layers: [
      tf.layers.conv2d({ inputShape: [4, 4, 2], filters: 3, kernelSize: 2, name: 'frozen', trainable: false }),
      tf.layers.batchNormalization({ name: 'frozen_bn', trainable: false }),
      tf.layers.separableConv2d({ filters: 3, kernelSize: 2, name: 'conv' }),
      tf.layers.batchNormalization({ name: 'bn' }),
      tf.layers.flatten(),
      tf.layers.dense({ units: 2, name: 'head' }),
    ],
  });
  seedWeights(model, 3);
  const tuned = finetune(model, deployMode());
  expect(tuned.variables.map(({ shape }) => shape)).toEqual([[1, 1, 3, 3], [3], [2, 2, 3, 1], [12, 2], [2]]);
  tuned.dispose();
  disposeModel(model);
});

test('pairs with zero padding between stay two layers', () => {
  const model = modelOf(cases['zero padding between']!);
  const x = image(50);
  const expected = tf.tidy(() => twoLayers(model, x));
  const tuned = finetune(model, deployMode());
  const received = tf.tidy(() => model.predict(x) as tf.Tensor);
  expect(received).toBeClose(expected, { rel: 1e-5, because });
  tuned.dispose();
  disposeModel(model);
  tf.dispose([x, expected, received]);
});
