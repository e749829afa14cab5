import * as tf from '@tensorflow/tfjs';
import { beforeAll, describe, expect, test } from 'vitest';
import { layersModels, tinyModels } from '../src/models/index.ts';
import '../src/matchers.ts';

beforeAll(async () => {
  await tf.setBackend('cpu');
});

describe.each(Object.entries(tinyModels))('%s', (_name, make) => {
  test('equal seeds give equal losses, other seeds others', async () => {
    const losses = await Promise.all(
      [1, 1, 2].map(async (seed) => {
        const tiny = await make(seed);
        const loss = tf.tidy(() => tiny.loss().dataSync()[0]!);
        tiny.dispose();
        return loss;
      }),
    );
    expect(losses[0]).toBe(losses[1]);
    expect(losses[2]).not.toBe(losses[0]);
    expect(losses.every(Number.isFinite)).toBe(true);
  });

  test('predict, loss, stock gradients and dispose leave no tensor behind', async () => {
    await expect(async () => {
      const tiny = await make();
      tf.dispose([tiny.predict(), tiny.loss()]);
      if (tiny.kind !== 'graph') {
        const { value, grads } = tf.variableGrads(() => tiny.loss(), Object.values(tiny.variables()));
        expect(Object.keys(grads)).toHaveLength(Object.keys(tiny.variables()).length);
        for (const grad of Object.values(grads)) expect(tf.tidy(() => grad.abs().max().dataSync()[0])).toBeGreaterThan(0);
        tf.dispose([value, grads]);
      }
      tiny.dispose();
    }).toLeakNothing();
  });
});

test.each(Object.entries(layersModels))('the loss of layers/%s is the one that compile names', async (_name, make) => {
  const tiny = make();
  tiny.model.compile({ optimizer: tf.train.sgd(0), loss: tiny.compileLoss });
  const ours = tf.tidy(() => tiny.loss().dataSync());
  const [total] = [await tiny.model.trainOnBatch([...tiny.x], [...tiny.y])].flat();
  expect(ours).toBeClose([total!], { rel: 1e-6 });
  tiny.dispose();
});
