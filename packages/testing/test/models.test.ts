import * as tf from '@tensorflow/tfjs';
import { beforeAll, describe, expect, test } from 'vitest';
import { tinyModels } from '../src/models/index.ts';
import '../src/matchers.ts';

beforeAll(async () => {
  await tf.setBackend('cpu');
});

describe.each(Object.entries(tinyModels))('%s', (_name, make) => {
  test('equal seeds give equal losses, other seeds others', async () => {
    const losses = await Promise.all([1, 1, 2].map(async (seed) => {
      const tiny = await make(seed);
      const loss = tf.tidy(() => tiny.loss().dataSync()[0]!);
      tiny.dispose();
      return loss;
    }));
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

test('the loss of a LayersModel is the one that compile names', () => {
  for (const [name, make] of Object.entries(tinyModels)) {
    if (!name.startsWith('layers/')) continue;
    const tiny = make() as ReturnType<(typeof import('../src/models/layers.ts'))['denseNet']>;
    // Batch norm uses batch statistics in training only, so evaluate() differs there.
    if (name !== 'layers/conv') {
      tiny.model.compile({ optimizer: 'sgd', loss: tiny.compileLoss });
      const [ours, theirs] = tf.tidy(() => [tiny.loss().dataSync()[0]!, tf.addN([tiny.model.evaluate([...tiny.x], [...tiny.y])].flat()).dataSync()[0]!]);
      expect(ours, name).toBeCloseTo(theirs!, 5);
    }
    tiny.dispose();
  }
});
