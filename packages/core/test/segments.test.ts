/** `checkpoint: true` on models that are no chain: several inputs, a mask that every layer reads, several outputs, skips, shared layers. */
import * as tf from '@tensorflow/tfjs';
import { afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { finetune, measure } from '../src/index.ts';

beforeAll(async () => {
  await tf.setBackend('cpu');
});
let before: number;
beforeEach(() => {
  before = tf.memory().numTensors;
});
afterEach(() => expect(tf.memory().numTensors).toBe(before));

const L = tf.layers;
type Sym = tf.SymbolicTensor;
const ap = (layer: tf.layers.Layer, x: Sym | Sym[]): Sym => layer.apply(x) as Sym;
const normal = (shape: number[], seed: number) => tf.randomNormal(shape, 0, 1, 'float32', seed);
const dense = (units = 8) => L.dense({ units, activation: 'tanh' });
const ones = (shape: number[], dtype: 'int32' | 'float32' = 'float32') => tf.tidy(() => tf.cast(tf.greater(normal(shape, 9), -0.5), dtype));

interface Case {
  readonly model: tf.LayersModel;
  readonly x: tf.Tensor[];
}

/** Gated blocks: the gate is read by all of them, before or after what it gates. */
function gated(gate: (mask: Sym) => Sym, first: boolean, dtype: 'int32' | 'float32' = 'float32'): Case {
  const [x, mask] = [tf.input({ shape: [8] }), tf.input({ shape: [8], dtype })];
  const read = gate(mask);
  let h: Sym = ap(dense(), x);
  for (let i = 0; i < 5; i++) {
    const inner = ap(dense(), ap(dense(16), h));
    h = ap(L.add(), [h, ap(L.multiply(), first ? [read, inner] : [inner, read])]);
  }
  const model = tf.model({ inputs: first ? [mask, x] : [x, mask], outputs: ap(L.dense({ units: 3 }), h) });
  const data = [normal([6, 8], 1), ones([6, 8], dtype)];
  return { model, x: first ? data.reverse() : data };
}

const plain = (mask: Sym): Sym => mask;
const reshaped = (mask: Sym): Sym => ap(L.reshape({ targetShape: [8] }), ap(L.reshape({ targetShape: [2, 4] }), mask));

function sharedTower(): Case {
  const [a, b] = [tf.input({ shape: [8] }), tf.input({ shape: [8] })];
  const [up, down] = [dense(24), dense(8)];
  const twice = (x: Sym) => ap(down, ap(up, ap(down, ap(up, x))));
  const joined = ap(L.concatenate(), [twice(a), twice(b)]);
  return { model: tf.model({ inputs: [a, b], outputs: ap(dense(3), ap(dense(), joined)) }), x: [normal([6, 8], 1), normal([6, 8], 2)] };
}

/** A layer that the model and a model in it call, both of which are cut. */
function sharedWithNested(): Case {
  const both = dense();
  const z = tf.input({ shape: [8] });
  const inner = tf.model({ inputs: z, outputs: ap(dense(), ap(both, ap(dense(), ap(both, z)))) });
  const x = tf.input({ shape: [8] });
  const outer = tf.model({ inputs: x, outputs: ap(dense(), ap(both, ap(inner, ap(both, x)))) });
  return { model: outer, x: [normal([6, 8], 1)] };
}

function withState(): Case {
  const [x, state] = [tf.input({ shape: [5, 4] }), tf.input({ shape: [8] })];
  const h = ap(dense(), ap(dense(), state));
  const out = L.simpleRNN({ units: 8 }).apply(ap(dense(), x), { initialState: [h] }) as Sym;
  return { model: tf.model({ inputs: [x, state], outputs: ap(dense(), ap(dense(), out)) }), x: [normal([6, 5, 4], 1), normal([6, 8], 2)] };
}

/** Sizes are known when it runs; its input and its labels drop out. */
function fullyConvolutional(): Case {
  const conv = () => L.conv2d({ filters: 4, kernelSize: 3, padding: 'same', activation: 'relu' });
  const x = tf.input({ shape: [null, null, 2] as never });
  let h = ap(conv(), ap(L.dropout({ rate: 0.3, seed: 4 }), x));
  for (let i = 0; i < 3; i++) h = ap(L.add(), [h, ap(L.dropout({ rate: 0.2, seed: 5 }), ap(L.batchNormalization(), ap(conv(), h)))]);
  return { model: tf.model({ inputs: x, outputs: ap(L.globalAveragePooling2d({}), h) }), x: [normal([2, 6, 5, 2], 1)] };
}

/** The last layer that is called makes an output of inputs alone. */
function withFreeOutput(): Case {
  const [x, y] = [tf.input({ shape: [8] }), tf.input({ shape: [8] })];
  const h = ap(dense(), ap(dense(32), ap(dense(), ap(dense(32), x))));
  return { model: tf.model({ inputs: [x, y], outputs: [h, ap(L.add(), [x, y])] }), x: [normal([6, 8], 1), normal([6, 8], 2)] };
}

function features(): Case {
  const x = tf.input({ shape: [8] });
  const all = [ap(dense(), x)];
  for (let i = 0; i < 5; i++) all.push(ap(dense(i % 2 ? 8 : 16), all.at(-1)!));
  return { model: tf.model({ inputs: x, outputs: [all[1]!, all[3]!, all[5]!] }), x: [normal([6, 8], 1)] };
}

function heads(): Case {
  const x = tf.input({ shape: [8] });
  const trunk = ap(dense(), ap(dense(32), ap(dense(32), x)));
  const head = () => ap(dense(2), ap(dense(16), trunk));
  return { model: tf.model({ inputs: x, outputs: [head(), head(), head()] }), x: [normal([6, 8], 1)] };
}

function unet(): Case {
  const x = tf.input({ shape: [8] });
  const down = [ap(dense(), x)];
  for (let i = 0; i < 3; i++) down.push(ap(dense(), ap(dense(16), down.at(-1)!)));
  let h = ap(dense(), down.at(-1)!);
  for (const skip of down.reverse()) h = ap(dense(), ap(dense(16), ap(L.concatenate(), [h, skip])));
  return { model: tf.model({ inputs: x, outputs: h }), x: [normal([6, 8], 1)] };
}

const exact: readonly (readonly [string, () => Case])[] = [
  ['a mask from outside', () => gated(plain, false)],
  ['a mask from outside, read before the rest', () => gated(plain, true)],
  ['a mask that layers make', () => gated(reshaped, false)],
  ['a mask that layers make, read before the rest', () => gated(reshaped, true)],
  ['a mask of integers', () => gated(reshaped, false, 'int32')],
  ['a layer that it shares with a model in it', sharedWithNested],
  ['a recurrent layer that gets its state', withState],
  ['an output that no weight has a part in', withFreeOutput],
  ['sizes that only the batch has, dropout and batch norms', fullyConvolutional],
];
const rounded: readonly (readonly [string, () => Case])[] = [
  ['features as outputs', features],
  ['several heads', heads],
  ['skip connections', unet],
  ['layers that are called in several segments', sharedTower],
];

/** tfjs leaves the weights of layers that are called twice. */
function disposed(model: tf.LayersModel): void {
  const weights = model.weights.map((w) => w.read());
  model.dispose();
  tf.dispose(weights);
}

describe.each([...exact.map((row) => [...row, 0] as const), ...rounded.map((row) => [...row, 1e-5] as const)])(
  'checkpoint: true of a model with %s',
  (_, make, rounding) => {
    const ready = (): Case => {
      const made = make();
      tf.tidy(() => made.model.setWeights(made.model.getWeights().map((w, i) => tf.add(tf.mul(normal(w.shape, 7 + i), 0.3), 0.05))));
      return made;
    };
    /** Gradients or weights by position: names count up from model to model. */
    const difference = (a: readonly number[][], b: readonly number[][]) => {
      expect(a.length).toBe(b.length);
      return Math.max(...a.flatMap((row, i) => row.map((value, j) => Math.abs(value - b[i]![j]!) / (1e-3 + Math.abs(b[i]![j]!)))));
    };

    it('gives the gradients of the model without, and less waits', () => {
      const runs = [false, true].map((checkpoint) => {
        const { model, x } = ready();
        const tuned = finetune(model, [], { checkpoint });
        const loss = () =>
          tf.tidy(() => tf.addN([model.apply(x, { training: true }) as tf.Tensor].flat().map((y) => tf.mean(tf.square(y))))) as tf.Scalar;
        const { result, memory } = measure(() => tuned.valueAndGrads(loss));
        const grads = Object.values(result.grads).map((g) => [...g.dataSync()]);
        const value = result.value.dataSync()[0]!;
        tf.dispose([result.value, result.grads, x]);
        tuned.dispose();
        disposed(model);
        return { grads, value, kept: memory.keptBytes };
      });
      expect(runs[1]!.value).toBe(runs[0]!.value);
      expect(difference(runs[1]!.grads, runs[0]!.grads)).toBeLessThanOrEqual(rounding);
      expect(runs[1]!.kept).toBeLessThan(runs[0]!.kept);
    });

    it('fits as the model without, with batches of another dtype than its inputs', async () => {
      const runs = [];
      for (const checkpoint of [false, true]) {
        const { model, x } = ready();
        const tuned = finetune(model, [], { checkpoint });
        const inner = tf.train.sgd(0.1);
        model.compile({ optimizer: tuned.optimizer(inner), loss: 'meanSquaredError' });
        const batch = x.map((t, i) => (model.inputs[i]!.dtype === 'int32' ? tf.cast(t, 'float32') : t));
        const y = tf.tidy(() => [model.predict(x) as tf.Tensor].flat().map((t) => tf.zerosLike(t)));
        const { history } = await model.fit(batch, y, { epochs: 2, batchSize: x[0]!.shape[0]!, shuffle: false, verbose: 0 });
        runs.push({ losses: history['loss'] as number[], weights: model.getWeights().map((w) => [...w.dataSync()]) });
        tuned.dispose();
        disposed(model);
        inner.dispose();
        tf.dispose([x, batch, y]);
      }
      expect(difference(runs[1]!.weights, runs[0]!.weights)).toBeLessThanOrEqual(rounding);
      expect(difference([runs[1]!.losses], [runs[0]!.losses])).toBeLessThanOrEqual(rounding);
    });
  },
);
