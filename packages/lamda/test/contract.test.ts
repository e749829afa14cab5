/** LaMDA keeps the contract of techniques. */
import { useBackend } from '@leantune/backends';
import { type Subject, type TinyModel, testTechnique } from '@leantune/testing';
import * as tf from '@tensorflow/tfjs';
import { lamda } from '../src/index.ts';

const [DEPTH, WIDTH, BATCH, RANK] = [12, 64, 256, 2];
/** Bytes of a row of r numbers for every example, and of S·B. */
const [NARROW, PRODUCT] = [4 * BATCH * RANK, 4 * RANK * WIDTH];

/** DEPTH linear layers; the loss is the sum, which keeps nothing. Trained as they are, each keeps its input of WIDTH. */
function linearNet(seed = 1): TinyModel {
  const layers = Array.from({ length: DEPTH }, (_, i) => tf.layers.dense({ inputShape: [WIDTH], units: WIDTH, name: `layer_${i}` }));
  const model = tf.sequential({ layers });
  const x = tf.randomNormal([BATCH, WIDTH], 0, 1, 'float32', seed);
  const byName = () => Object.fromEntries(model.weights.map((w) => [w.originalName, w.read() as tf.Variable]));
  const run = () => model.apply(x, { training: true }) as tf.Tensor;
  return {
    name: 'layers/linear',
    kind: 'layers',
    model,
    x: [x],
    y: [],
    predict: () => [run()],
    loss: () => tf.tidy(() => tf.sum(run()) as tf.Scalar),
    variables: byName,
    weights: byName,
    dispose() {
      model.dispose();
      x.dispose();
    },
  };
}

const faults: Subject['faults'] = [
  { what: 'rank 0', make: () => lamda({ rank: 0 }), code: 'bad-option', message: '[lamda] got rank = 0; expected a whole number >= 1.' },
  {
    what: 'a rank that no site takes',
    make: () => lamda({ rank: 64 }),
    code: 'bad-option',
    message:
      '[lamda] rank 64 is larger than min(dIn, dOut) of every dense site: "hidden" (6), "middle" (8), "head" (3). Use a smaller rank.',
  },
  {
    what: 'a rank that two of the targets do not take',
    make: () => lamda({ rank: 7, targets: ['hidden', 'middle', 'head'] }),
    code: 'bad-option',
    message:
      '[lamda] rank 7 is larger than min(dIn, dOut) = 6 of "hidden"; rank 7 is larger than min(dIn, dOut) = 3 of "head". Use a smaller rank, or leave them out with targets.',
  },
  {
    what: 'targets that take no adapter',
    make: () => lamda({ rank: 2, targets: ['bn_1', 'head'] }),
    model: 'layers/conv',
    code: 'bad-option',
    message: '[lamda] targets select "bn_1" (BatchNormalization); expected dense, conv or embedding ones. Leave them out.',
  },
];

await useBackend('wasm');
const learns = { rate: 0.05, steps: 60 };

testTechnique(
  'lamda',
  {
    make: () => lamda({ rank: 2 }),
    factories: { lamda },
    learns,
    saves: {
      model: linearNet,
      kept: DEPTH * NARROW + (DEPTH - 1) * PRODUCT,
      peak: 0.5,
      because:
        'of each site A∗x waits, r numbers an example, where the tape alone keeps x; and while B trains S·B, but at the first, whose x needs no gradient. Four maps are in flight',
    },
    faults,
  },
  { backends: ['wasm'] },
);
