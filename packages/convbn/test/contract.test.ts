/** The four modes keep the contract of techniques. */
import { useBackend } from '@leantune/backends';
import { laws, type Subject, summed, type TinyModel, testTechnique, tinyModels } from '@leantune/testing';
import * as tf from '@tensorflow/tfjs';
import { beforeAll, describe, test } from 'vitest';
import { deployMode, evalMode, trainMode, tuneMode } from '../src/index.ts';
import { seedWeights } from './models.ts';

/** Every tiny model but those with a batch norm, by the code with which it is refused. */
function refusals(others: { readonly [model: string]: string } = {}): { readonly [model: string]: string } {
  const codes = Object.keys(tinyModels).map((name) => [name, name.startsWith('function/') ? 'bad-model' : 'no-match'] as const);
  const { 'layers/conv': _, 'graph/conv': __, ...refused } = { ...Object.fromEntries(codes), ...others };
  return refused;
}

const folding = { rel: 1e-5, because: 'the same product in another order, in float32' };
const expectedOne = (who: string) => `[${who}] found no batch norm in this model; expected at least one. Leave the technique out.`;
const folded = (who: string) =>
  `[${who}] got a graph without batch norms, whose 2 convolutions have a bias inside ("conv/Fused" is the first): if it had any, the converter has folded them. ` +
  'What is folded trains as in Deploy mode, by finetune(model) alone. For Tune mode convert the model as a LayersModel (--output_format tfjs_layers_model).';

const faultsOf = (make: (options?: { targets: string | string[] }) => ReturnType<typeof tuneMode>, who: string): Subject['faults'] => [
  { what: 'a model without batch norm', make, code: 'no-match', message: expectedOne(who) },
  {
    what: 'plain variables',
    make,
    model: 'function/conv',
    code: 'bad-model',
    message: `[${who}] got variables by name; expected a LayersModel or a GraphModel. Call foldWeights in the loss instead.`,
  },
  {
    what: 'targets that are no batch norms',
    make: () => make({ targets: ['bn_1', 'conv_1', 'head'] }),
    model: 'layers/conv',
    code: 'bad-option',
    message: `[${who}] targets select "conv_1" (Conv2D), "head" (Dense); expected batch norms alone. Name those.`,
  },
];

const [DEPTH, WIDTH, BATCH, PIXELS] = [12, 8, 4, 64];
/** Bytes of a vector of channels, and of a feature map. */
const CHANNEL = 4 * WIDTH;
const MAP = CHANNEL * BATCH * PIXELS;

/** DEPTH blocks of convolution, batch norm and ReLU; the loss is the sum of the last one, which keeps nothing. */
function deepConvNet(): TinyModel {
  const block = (i: number) => [
    tf.layers.conv2d({ inputShape: [8, 8, WIDTH], filters: WIDTH, kernelSize: 3, padding: 'same', useBias: false, name: `conv_${i}` }),
    tf.layers.batchNormalization({ name: `bn_${i}` }),
    tf.layers.reLU({ name: `relu_${i}` }),
  ];
  const model = tf.sequential({ layers: Array.from({ length: DEPTH }, (_, i) => block(i)).flat() });
  seedWeights(model, 1);
  return summed('layers/deep-conv', model, tf.randomNormal([BATCH, 8, 8, WIDTH], 0, 1, 'float32', 2));
}

await useBackend('wasm');
testTechnique(
  'tuneMode',
  {
    make: () => tuneMode(),
    factories: { tuneMode },
    refuses: refusals({ 'graph/fused': 'bad-model' }),
    forward: folding,
    saves: {
      model: deepConvNet,
      kept: DEPTH * (MAP + 2 * CHANNEL),
      peak: 0.6,
      because:
        'of each block the ReLU waits, which the next convolution reads too, and k and 1/√(σ² + ε); the tape alone keeps the output of the convolution as well. Two more maps are in flight',
    },
    faults: [
      ...faultsOf(tuneMode, 'tuneMode')!,
      { what: 'a graph that is folded', make: tuneMode, model: 'graph/fused', code: 'bad-model', message: folded('tuneMode') },
    ],
  },
  { backends: ['wasm'] },
);

testTechnique('deployMode', {
  make: () => deployMode(),
  factories: { deployMode },
  refuses: refusals({ 'graph/fused': 'bad-model' }),
  forward: folding,
  faults: [
    ...faultsOf(deployMode, 'deployMode')!,
    { what: 'a graph that is folded', make: deployMode, model: 'graph/fused', code: 'bad-model', message: folded('deployMode') },
  ],
});

testTechnique('evalMode', {
  make: () => evalMode(),
  factories: { evalMode },
  refuses: refusals(),
  faults: faultsOf(evalMode, 'evalMode')!,
});

describe('the contract of trainMode on layers/conv', () => {
  beforeAll(async () => {
    await tf.setBackend('cpu');
  });
  const subject: Subject = { make: () => trainMode(), factories: { trainMode } };
  // Law 10 wants a second model that the technique takes.
  test.each(Object.entries(laws).filter(([name]) => !name.startsWith('10 ')))('%s', (_, law) => law(subject, tinyModels['layers/conv']!));
});
