/** Batch norm that trains, where the backend has it as one kernel each way: its input waits in codes, and gradients are those of the ops. */
import { finetune, measure, type Technique } from '@leantune/core';
import { describeOn } from '@leantune/testing';
import * as tf from '@tensorflow/tfjs';
import { afterAll, beforeAll, expect, test, vi } from 'vitest';
import { type FourBitOptions, fourBit } from '../src/index.ts';

const seeded = (seed: number) => tf.initializers.randomNormal({ seed });

const network = (norm: object): tf.Sequential =>
  tf.sequential({
    layers: [
      tf.layers.conv2d({ inputShape: [8, 8, 3], filters: 64, kernelSize: 3, useBias: false, kernelInitializer: seeded(1) }),
      tf.layers.batchNormalization(norm),
      tf.layers.flatten(),
      tf.layers.dense({ units: 3, kernelInitializer: seeded(2) }),
    ],
  });

/** Gradients by weight, what waits for batch norm, and how often each kernel ran. */
function gradientsOf(norm: object, options: FourBitOptions | undefined, before: readonly Technique[] = []) {
  const model = network(norm);
  const [x, y] = [tf.randomNormal([4, 8, 8, 3], 0, 1, 'float32', 3), tf.randomNormal([4, 3], 0, 1, 'float32', 4)];
  const tuned = finetune(model, options ? [...before, fourBit(options)] : [], { trainable: /./ });
  const loss = () => tf.losses.meanSquaredError(y, model.apply(x, { training: true }) as tf.Tensor) as tf.Scalar;
  const runKernel = vi.spyOn(tf.engine(), 'runKernel');
  const { result, memory } = measure(() => tuned.valueAndGrads(loss));
  const runs = (name: string) => runKernel.mock.calls.filter(([kernel]) => kernel === name).length;
  const counted = { train: runs('BatchNormTrain'), written: runs('QuantizeRows'), read: runs('DequantizeRows') };
  runKernel.mockRestore();
  const values = Object.values(result.grads).map((g) => Array.from(g.dataSync()));
  const kept = memory.kept.find(({ kernel }) => kernel === 'BatchNormTrain')?.bytes;
  tuned.dispose();
  tf.dispose([x, y, result]);
  model.dispose();
  return { values, kept, counted };
}

const apart = (a: readonly number[][], b: readonly number[][]): number =>
  Math.max(
    ...a.map((of, i) => {
      const size = Math.hypot(...b[i]!);
      return Math.hypot(...of.map((value, k) => value - b[i]![k]!)) / size;
    }),
  );

await describeOn('tensorflow', () => {
  beforeAll(async () => void (await tf.setBackend('tensorflow')));

  test.each([{}, { scale: false }, { center: false }])('with %j: x is written and read once, near the exact gradient', (norm) => {
    const before = tf.memory().numTensors;
    const exact = gradientsOf(norm, undefined);
    for (const [bits, bound] of [
      [4, 0.1],
      [8, 0.01],
    ] as const) {
      const { values, kept, counted } = gradientsOf(norm, { bits });
      expect(counted).toEqual({ train: 1, written: 1, read: 1 });
      const rows = 4 * 6 * 6;
      expect(kept).toBe(rows * (4 + (64 * bits) / 8) + 2 * 64 * 4);
      expect(apart(values, exact.values)).toBeLessThan(bound);
    }
    expect(tf.memory().numTensors).toBe(before);
  });

  test('32 bits leave x as it is', () => {
    expect(gradientsOf({}, { bits: { norm: 32 } }).values).toEqual(gradientsOf({}, undefined).values);
  });

  test('the ops it stands for give the same, where a technique asks to see them', () => {
    const fused = gradientsOf({}, { bits: 8 });
    const watch: Technique = { name: 'watch', options: null, attach: () => ({ keep: () => undefined, detach() {} }) };
    const ops = gradientsOf({}, { bits: 8 }, [watch]);
    expect(ops.counted.train).toBe(0);
    expect(ops.counted.read).toBeGreaterThan(1);
    expect(apart(fused.values, ops.values)).toBeLessThan(2e-3);
  });

  afterAll(() => void tf.setBackend('cpu'));
});
