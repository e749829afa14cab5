/** A step for which there is no memory: the error says what was held and what would shrink it, and the next step is that of a run that never failed. */
import { adamW, checkpoint, finetune, valueAndGrads } from '@leantune/core';
import { describeOn } from '@leantune/testing';
import * as tf from '@tensorflow/tfjs';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { useBackend } from '../src/index.ts';
import { heapUse } from '../src/wasm/index.ts';
import { poolUse } from '../src/webgpu/index.ts';

const LAYERS = 4;
const WIDTH = 256;

/** Four layers [256, 256]: 1.05 MB of weights; each keeps [64, 256], 0.07 MB. */
function network() {
  const weights = Object.fromEntries(
    Array.from({ length: LAYERS }, (_, i) => [`w${i}`, tf.variable(tf.randomNormal([WIDTH, WIDTH], 0, 0.1, 'float32', i + 1))]),
  );
  const x = tf.randomNormal([64, WIDTH], 0, 1, 'float32', 9);
  const loss = () =>
    tf.tidy(() => {
      let y: tf.Tensor2D = x as tf.Tensor2D;
      for (const w of Object.values(weights)) y = tf.relu(tf.matMul(y, w as unknown as tf.Tensor2D)) as tf.Tensor2D;
      return tf.mean(tf.square(y)) as tf.Scalar;
    });
  return { weights, loss, dispose: () => tf.dispose([x, weights]) };
}

async function caught(f: () => unknown): Promise<Error & { code?: string }> {
  try {
    await f();
  } catch (error) {
    return error as Error;
  }
  throw new Error('nothing was thrown');
}

for (const [name, used] of [
  ['wasm', () => heapUse(tf.backend()).used],
  ['webgpu', () => poolUse(tf.backend()).used],
] as const)
  await describeOn(name, () => {
    beforeAll(() => useBackend(name).then(() => undefined));
    afterAll(() => useBackend(name, { maxBytes: 2 ** 32 - 1 }).then(() => undefined));

    test.each(['adamW', 'tf.train.adam'])('amid a step of %s', async (optimizer) => {
      const runs = [network(), network()].map((net) => {
        const tuned = finetune(net.weights);
        const rule = optimizer === 'adamW' ? adamW({ learningRate: 1e-3 }) : tf.train.adam(1e-3);
        return { ...net, tuned, optimizer: tuned.optimizer(rule) };
      });
      const [failing, plain] = runs as [(typeof runs)[0], (typeof runs)[0]];
      const step = ({ tuned, loss, optimizer }: (typeof runs)[0]) => tuned.minimize(loss, optimizer).dispose();
      for (const run of runs) step(run);
      await failing.weights['w0']!.data();
      const tensors = tf.memory().numTensors;
      await useBackend(name, { maxBytes: used() + 600_000 }); // forward and two of four gradients
      const { code, message } = await caught(() => step(failing));
      await useBackend(name, { maxBytes: 2 ** 32 - 1 });
      expect(code).toBe('out-of-memory');
      // Both networks are held, each with two moments a weight.
      expect(message).toMatch(
        /\n\nHeld then: weights 2\.10 MB, optimizer 4\.19 MB, kept for backward 0\.\d\d MB \(most for \w+ .* MB\), gradients 0\.\d\d MB;/,
      );
      expect(message).toContain('No weight has moved.\nTo need less:\n- optimizer: train fewer weights');
      expect(tf.memory().numTensors).toBe(tensors);
      for (const run of runs) step(run);
      for (const key in plain.weights)
        expect([...(await failing.weights[key]!.data())], key).toEqual([...(await plain.weights[key]!.data())]);
      for (const run of runs) {
        run.tuned.dispose();
        run.optimizer.dispose();
        run.dispose();
      }
    });

    test('in valueAndGrads, and with another code nothing is added', async () => {
      const { weights, loss, dispose } = network();
      const variables = Object.values(weights);
      await useBackend(name, { maxBytes: used() + 150_000 });
      const { message } = await caught(() => valueAndGrads(loss, variables));
      await useBackend(name, { maxBytes: 2 ** 32 - 1 });
      expect(message.match(/Held then/g)).toHaveLength(1);
      const other = await caught(() =>
        valueAndGrads(() => {
          loss();
          throw new Error('mine');
        }, variables),
      );
      expect(other.message).toBe('mine');
      dispose();
    });

    test('where a checkpoint runs again, what the pass around it holds is counted too', async () => {
      const w = tf.variable(tf.randomNormal([WIDTH, WIDTH], 0, 0.1, 'float32', 1));
      const x = tf.randomNormal([64, WIDTH], 0, 1, 'float32', 9);
      const block = (y: tf.Tensor) => tf.tanh(tf.matMul(tf.tanh(tf.matMul(y, w as unknown as tf.Tensor2D)), w as unknown as tf.Tensor2D));
      const loss = () => tf.tidy(() => tf.mean([1, 2, 3, 4].reduce((y) => checkpoint(block, y), x as tf.Tensor)) as tf.Scalar);
      const messages: string[] = [];
      for (let more = 100_000, failed = true; failed; more += 50_000) {
        await useBackend(name, { maxBytes: used() + more });
        try {
          const { value, grads } = valueAndGrads(loss, [w]);
          tf.dispose([value, grads]);
          failed = false;
        } catch (error) {
          messages.push((error as Error).message);
        }
      }
      await useBackend(name, { maxBytes: 2 ** 32 - 1 });
      const together = messages.filter((message) => /most for .*checkpoint/.test(message) && /most for .*(Tanh|BatchMatMul)/.test(message));
      expect(messages.join('\n')).toContain('Held then');
      expect(together.length).toBeGreaterThan(0);
      tf.dispose([w, x]);
    });
  });
