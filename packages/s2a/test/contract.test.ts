/** The techniques keep the contract, alone, with each other, and with the modes of batch norm. */
import { useBackend } from '@leantune/backends';
import { deployMode, evalMode } from '@leantune/convbn';
import { available, composes, laws, type Subject, summed, type TinyModel, testTechnique, tinyModels } from '@leantune/testing';
import * as tf from '@tensorflow/tfjs';
import { beforeAll, describe, test } from 'vitest';
import { autoPrecision, biasTuning, type FourBitOptions, fourBit, liteSideBranch, lowRankPrompt } from '../src/index.ts';

const [DEPTH, WIDTH, BATCH] = [12, 32, 64];
/** Values of one activation. */
const N = BATCH * WIDTH;
/** Bytes that wait, with codes and without: a layer's input for the kernel, and GELU's. */
const [KEPT, WITHOUT] = [DEPTH * (4 * N + N / 2) + 8, DEPTH * (4 * N + 4 * N) + 8];

/** DEPTH dense layers with GELU, and the sum of what they compute, which keeps nothing. */
function deepGelu(): TinyModel {
  const layers = Array.from({ length: DEPTH }, (_, i) =>
    tf.layers.dense({
      inputShape: [WIDTH],
      units: WIDTH,
      activation: 'gelu' as 'relu',
      name: `dense_${i}`,
      kernelInitializer: tf.initializers.glorotNormal({ seed: i + 1 }),
    }),
  );
  const model = tf.sequential({ layers });
  return summed('layers/deep-gelu', model, tf.randomNormal([BATCH, WIDTH], 0, 1, 'float32', 2));
}

/** These learn biases of four random examples, no more. */
const learns = { steps: 60, rate: 0.1, to: 0.98 };

const others = await available(['wasm', 'tensorflow', 'webgpu']);
await useBackend('cpu');
const backends = { backends: others };

const four: Subject = {
  make: () => fourBit(),
  factories: { fourBit },
  gradients: {
    rel: 0.15,
    abs: 0.1,
    because:
      'a code of 4 bits is off by up to a thirtieth of its range: 3 % of a derivative, 10 % of a normal value; the models have tens of values',
  },
  saves: {
    model: deepGelu,
    kept: KEPT,
    peak: (KEPT + 6 * 4 * N) / (WITHOUT + 5 * 4 * N),
    because:
      'of each layer its input waits for the kernel, 4 bytes a value, and 4 bits a value for GELU, where the tape alone keeps 4 bytes; six values ' +
      'more while one layer is at work, and five without codes, or ten where GELU is run again',
  },
  faults: [
    {
      what: 'options that do not exist',
      make: () => fourBit({ bits: { softmax: 3, gelu: 4 }, reading: 'fast', rounding: 'up', seed: 0.5 } as unknown as FourBitOptions),
      code: 'bad-option',
      message:
        '[fourBit] got bits.softmax 3; expected one of 4, 8, 32; bits.gelu 4; expected one of the classes activation, softmax, norm, matmul; reading "fast"; expected "value" or "interval"; ' +
        'rounding "up"; expected "nearest" or "stochastic"; seed 0.5; expected a whole number. Leave an option out for its default.',
    },
  ],
};
testTechnique('fourBit', four, backends);
for (const on of others) testTechnique('fourBit', four, { on });

testTechnique('fourBit in 8 bits', {
  make: () => fourBit({ bits: { activation: 8, softmax: 8, norm: 8, matmul: 8 } }),
  factories: { fourBit },
  gradients: { rel: 0.02, abs: 0.01, because: 'a code of 8 bits is off by a five-hundredth of its range' },
});

const bias: Subject = {
  make: () => biasTuning(),
  factories: { biasTuning },
  learns,
  conflicts: { deployMode: 'conflict' },
  faults: [
    {
      what: 'targets without a bias',
      make: () => biasTuning({ targets: ['pool_1', 'conv_1'] }),
      model: 'layers/conv',
      code: 'no-match',
      message:
        '[biasTuning] got "conv_1", "pool_1", none of which has a bias; expected at least one. Widen the targets, or use lowRankPrompt.',
    },
  ],
};
testTechnique('biasTuning', bias, backends);

const prompt: Subject = {
  make: () => lowRankPrompt({ rank: 2 }),
  factories: { lowRankPrompt },
  learns,
  faults: [
    {
      what: 'rank 0',
      make: () => lowRankPrompt({ rank: 0, positions: 1.5 }),
      code: 'bad-option',
      message: '[lowRankPrompt] got rank 0, positions 1.5; expected whole numbers above 0. Leave an option out for its default.',
    },
  ],
};
testTechnique('lowRankPrompt', prompt, backends);

const side: Subject = {
  make: () => liteSideBranch({ width: 3 }),
  factories: { liteSideBranch },
  refuses: { 'layers/recurrent': 'no-match' },
  learns,
  faults: [
    {
      what: 'a branch wider than its taps',
      make: () => liteSideBranch({ width: 9, targets: ['hidden', 'middle'] }),
      code: 'bad-option',
      message:
        '[liteSideBranch] got taps of fewer channels than the branch is wide (9): "hidden" (8 channels), "middle" (8 channels). Lower { width }, or choose { targets }.',
    },
  ],
};
testTechnique('liteSideBranch', side, backends);
testTechnique(
  'liteSideBranch at every tap',
  { ...side, make: () => liteSideBranch({ width: 3, join: 'block' }), refuses: { ...side.refuses, 'function/conv': 'no-match' } },
  backends,
);

describe('together, in both orders, laws 1, 2, 3 and 7 hold', () => {
  beforeAll(async () => {
    await tf.setBackend('cpu');
  });
  const subjects: { readonly [name: string]: Subject } = {
    fourBit: four,
    biasTuning: bias,
    lowRankPrompt: prompt,
    liteSideBranch: side,
    evalMode: { make: () => evalMode(), factories: { evalMode } },
    deployMode: {
      make: () => deployMode(),
      factories: { deployMode },
      forward: { rel: 1e-5, because: 'the same product in another order' },
    },
    autoPrecision: { make: () => autoPrecision({ budget: 1e6 }), factories: { autoPrecision } },
  };
  const pairs = Object.keys(subjects).flatMap((a, i) =>
    Object.keys(subjects)
      .slice(i + 1)
      .map((b) => [a, b] as const),
  );
  // A mode of batch norms goes before biasTuning, which leaves norms that something else runs alone; convbn refuses the other order.
  const before = (a: string, b: string) => a === 'biasTuning' && b === 'evalMode';
  const own = (name: string) => !/Mode/.test(name);
  test.each(pairs.filter(([a, b]) => (own(a) || own(b)) && !before(a, b)))('%s and %s', (a, b) =>
    composes(a, subjects[a]!, b, subjects[b]!, tinyModels['layers/conv']!),
  );

  test.each(Object.entries(laws).filter(([law]) => /^[1237] /.test(law)))('evalMode, then biasTuning: %s', (_, law) =>
    law({ make: () => [evalMode(), biasTuning()], factories: { evalMode, biasTuning } }, tinyModels['layers/conv']!),
  );
});
