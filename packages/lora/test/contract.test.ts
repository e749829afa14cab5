/** LoRA keeps the contract of techniques. */
import { useBackend } from '@leantune/backends';
import { finetune, restore } from '@leantune/core';
import { deepNet, memoryFile, type Subject, testTechnique } from '@leantune/testing';
import * as tf from '@tensorflow/tfjs';
import { expect, test } from 'vitest';
import { lora } from '../src/index.ts';

const [DEPTH, WIDTH, BATCH, RANK] = [8, 64, 256, 2];
/** Bytes of a layer's output, and of a row of r numbers for every example. */
const [MAP, NARROW] = [4 * BATCH * WIDTH, 4 * BATCH * RANK];

const faults: Subject['faults'] = [
  { what: 'rank 0', make: () => lora({ r: 0 }), code: 'bad-option', message: '[lora] got r = 0; expected a whole number >= 1.' },
  {
    what: 'fields of peft that are not served',
    make: () => lora({ bias: 'all', use_qalora: true, init_lora_weights: 'eva' } as never),
    code: 'bad-option',
    message: '[lora] got bias = "all", use_qalora = true, init_lora_weights = "eva", which this package does not serve. Leave it out.',
  },
  {
    what: 'modules that are not there',
    make: () => lora({ target_modules: ['hidden', 'query', 'v_proj'] }),
    code: 'no-match',
    message:
      '[lora] target_modules names "query", "v_proj", which no module is called; expected names, or last segments of them, such as "hidden", "middle", "head".',
  },
  {
    what: 'modules that take no adapter',
    make: () => lora({ target_modules: ['bn_1', 'head'] }),
    model: 'layers/conv',
    code: 'bad-option',
    message: '[lora] targets select "bn_1" (BatchNormalization); expected dense, conv or embedding ones. Leave them out.',
  },
];

await useBackend('wasm');

test('what began with singular vectors is restored without an SVD', async () => {
  const model = () =>
    tf.sequential({
      layers: [tf.layers.dense({ inputShape: [6], units: 5, name: 'head', kernelInitializer: tf.initializers.glorotUniform({ seed: 1 }) })],
    });
  const [first, second] = [model(), model()];
  const x = tf.randomNormal([4, 6], 0, 1, 'float32', 2);
  const tuned = finetune(first, lora({ r: 2, init_lora_weights: 'pissa' }));
  const optimizer = tuned.optimizer(tf.train.adam(0.05));
  for (let i = 0; i < 3; i++) tuned.minimize(() => (first.apply(x) as tf.Tensor).square().mean() as tf.Scalar, optimizer).dispose();
  const file = memoryFile();
  await tuned.save(file);
  const weights = second.getWeights().map((w) => w.clone());
  second.setWeights(weights.map((w) => tf.fill(w.shape, Number.NaN))); // of which there is none
  await restore(second, file, { lora });
  second.setWeights(weights);
  expect(second.apply(x) as tf.Tensor).toBeBitEqual(first.apply(x) as tf.Tensor);
});

testTechnique(
  'lora',
  {
    make: () => lora({ r: 2, lora_alpha: 2 }),
    factories: { lora },
    learns: { rate: 0.05, steps: 60 },
    saves: {
      model: (seed) => deepNet({ depth: DEPTH, width: WIDTH, batch: BATCH }, seed),
      kept: DEPTH * (MAP + NARROW),
      peak: 1.1,
      because:
        'A trains, so every x waits, as when W trains, and A∗x beside it; the first x is the batch. What LoRA saves is gradients and optimizer state',
    },
    faults,
  },
  { backends: ['wasm'] },
);
