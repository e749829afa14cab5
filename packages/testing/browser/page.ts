/** What the page of browser.test.ts can do; each function takes and gives plain data. */
import { type BackendChoice, type BackendName, useBackend } from '@leantune/backends';
import { adamW, finetune, measure, valueAndGrads } from '@leantune/core';
import * as tf from '@tensorflow/tfjs-core';
import '@tensorflow/tfjs-backend-cpu';
import '@tensorflow/tfjs-backend-webgl';
import '@tensorflow/tfjs-backend-webgpu';
import * as layers from '@tensorflow/tfjs-layers';
import { losses } from './losses.ts';

export interface Fit {
  readonly losses: readonly number[];
  readonly report: string;
  readonly peakBytes: number;
  readonly parts: number;
  /** Largest difference between what the tuned model says before saving and what a fresh one says that has loaded the file. */
  readonly afterLoad: number;
  /** The same, against the model before it was tuned: what training changed. */
  readonly moved: number;
  readonly leaked: number;
}

/** What became of a fit whose second batch has a NaN. */
export interface Refusal {
  readonly error: string;
  /** Largest difference, in weights and optimizer, from a twin that saw the first batch alone. */
  readonly moved: number;
  /** The same after both have seen one more. */
  readonly movedAfter: number;
  /** By that one more. */
  readonly step: number;
  /** Whether `fit` itself threw, and not the save after it. */
  readonly inFit: boolean;
  readonly leaked: number;
}

/** By loss, then by variable: the largest difference from cpu, relative to the largest gradient of that variable. */
export type Differences = { readonly [loss: string]: { readonly [variable: string]: number } };

const wasmPaths = '/wasm/';
const use = (backend: BackendName): Promise<BackendChoice> => useBackend(backend, backend === 'wasm' ? { wasmPaths } : {});

const model = (): layers.LayersModel =>
  layers.sequential({
    layers: [
      layers.layers.conv2d({
        name: 'stem',
        inputShape: [12, 12, 3],
        filters: 8,
        kernelSize: 3,
        activation: 'relu',
        kernelInitializer: seeded(1),
      }),
      layers.layers.maxPooling2d({ poolSize: 2 }),
      layers.layers.conv2d({
        name: 'block',
        filters: 16,
        kernelSize: 3,
        padding: 'same',
        activation: 'relu',
        kernelInitializer: seeded(2),
      }),
      layers.layers.globalAveragePooling2d({}),
      layers.layers.dense({ name: 'head', units: 4, activation: 'softmax', kernelInitializer: seeded(3) }),
    ],
  });
const seeded = (seed: number) => layers.initializers.glorotUniform({ seed });

/** Trains a small network with `model.fit`, saves what it has learned to `url`, and loads that into another one. */
async function fit(backend: BackendName, url: string): Promise<Fit> {
  await use(backend);
  const before = tf.memory().numTensors;
  const [x, y] = tf.tidy(() => {
    const label = tf.mod(tf.range(0, 32, 1, 'int32'), tf.scalar(4, 'int32'));
    const noise = tf.randomNormal([32, 12, 12, 3], 0, 0.5, 'float32', 7);
    return [tf.add(noise, tf.sub(tf.reshape(label, [32, 1, 1, 1]), 1.5)), tf.oneHot(label, 4)]; // the brighter, the higher the class
  });
  const [trained, fresh] = [model(), model()];
  const base = await predict(trained, x);
  const tuned = finetune(trained, [], { trainable: ['block', 'head'] });
  trained.compile({ optimizer: tuned.optimizer(tf.train.adam(1e-2)), loss: 'categoricalCrossentropy' });
  const { result, memory } = await measure(() => trained.fit(x, y, { epochs: 8, batchSize: 16, shuffle: false, verbose: 0 }));
  await tuned.save(url);
  const loaded = finetune(fresh, [], { trainable: ['block', 'head'] });
  await loaded.load(url);
  const [said, again] = [await predict(trained, x), await predict(fresh, x)];
  for (const each of [tuned, loaded]) each.dispose();
  for (const each of [trained, fresh]) each.dispose();
  trained.optimizer.dispose();
  tf.dispose([x, y]);
  return {
    losses: result.history['loss'] as number[],
    report: String(memory),
    peakBytes: memory.peakBytes,
    parts: Object.values(memory.atPeak).reduce((sum, part) => sum + part, 0),
    afterLoad: furthest(said, again),
    moved: furthest(said, base),
    leaked: tf.memory().numTensors - before,
  };
}

/** A network that is tuned with `clipNorm`, and what its weights and optimizer hold. */
function clipped(kind: 'adam' | 'adamW') {
  const net = model();
  const inner = kind === 'adam' ? tf.train.adam(1e-2) : adamW({ learningRate: 1e-2 });
  const tuned = finetune(net);
  net.compile({ optimizer: tuned.optimizer(inner, { clipNorm: 1 }), loss: 'categoricalCrossentropy' });
  // Waits for the GPU after each batch: what a fit leaves that throws depends on the epochs that it has ended by then.
  const onBatchEnd = async (): Promise<void> => void (await tuned.variables[0]!.data());
  const fit = (x: tf.Tensor, y: tf.Tensor, epochs = 1) =>
    net.fit(x, y, { epochs, batchSize: 16, shuffle: false, verbose: 0, callbacks: { onBatchEnd } });
  const state = async (): Promise<number[]> => {
    const [steps, ...slots] = (await inner.getWeights()).map(({ tensor }) => tensor);
    const values = await Promise.all([steps!, ...slots, ...net.getWeights()].map(async (t) => [...(await t.data())]));
    steps!.dispose();
    return values.flat();
  };
  const end = () => [tuned, net, inner].forEach((each) => each.dispose());
  return { fit, state, save: () => tuned.save('indexeddb://refused'), end };
}

/** Fits with NaN in the images or the labels of the second of two batches, `epochs` times: it comes in the last step, or amid others. */
async function refuse(backend: BackendName, kind: 'adam' | 'adamW', where: 'images' | 'labels', epochs: number): Promise<Refusal> {
  await use(backend);
  const before = tf.memory().numTensors;
  const [x, y] = tf.tidy(() => [
    tf.randomNormal([16, 12, 12, 3], 0, 1, 'float32', 7),
    tf.oneHot(tf.mod(tf.range(0, 16, 1, 'int32'), tf.scalar(4, 'int32')), 4, 1, 0, 'float32'),
  ]);
  const [bothX, bothY] = tf.tidy(() => [
    tf.concat([x, tf.mul(x, where === 'images' ? Number.NaN : 1)]),
    tf.concat([y, tf.mul(y, where === 'labels' ? Number.NaN : 1)]),
  ]);
  const [spared, twin] = [clipped(kind), clipped(kind)];
  await twin.fit(x, y);
  let inFit = true;
  const save = () => {
    inFit = false;
    return spared.save();
  };
  const error = await spared
    .fit(bothX, bothY, epochs)
    .then(save)
    .then(() => 'none', String);
  const expected = await twin.state();
  const moved = furthest(await spared.state(), expected);
  for (const each of [spared, twin]) await each.fit(x, y);
  const after = await twin.state();
  const movedAfter = furthest(await spared.state(), after);
  for (const each of [spared, twin]) {
    await each.save();
    each.end();
  }
  tf.dispose([x, y, bothX, bothY]);
  return { error, inFit, moved, movedAfter, step: furthest(after.slice(1), expected.slice(1)), leaked: tf.memory().numTensors - before };
}

async function predict(net: layers.LayersModel, x: tf.Tensor): Promise<ArrayLike<number>> {
  const y = net.predict(x) as tf.Tensor;
  const values = await y.data();
  y.dispose();
  return values;
}

const furthest = (a: ArrayLike<number>, b: ArrayLike<number>): number =>
  Array.from(a).reduce((far, value, i) => (Number.isNaN(value) ? Number.NaN : Math.max(far, Math.abs(value - b[i]!))), 0);

/** Gradients of every loss in losses.ts on `backend`, compared with those on cpu. */
async function compare(backend: BackendName): Promise<Differences> {
  const differences: Record<string, Record<string, number>> = {};
  for (const [name, make] of Object.entries(losses)) {
    const expected = await gradients('cpu', make);
    const got = await gradients(backend, make);
    differences[name] = Object.fromEntries(
      Object.entries(expected).map(([variable, values]) => {
        const scale = Math.max(1e-6, ...Array.from(values, Math.abs));
        return [variable, furthest(values, got[variable]!) / scale];
      }),
    );
  }
  return differences;
}

async function gradients(backend: BackendName, make: (typeof losses)[string]): Promise<Record<string, Float32Array>> {
  await use(backend);
  const { variables, loss } = make();
  const { value, grads } = valueAndGrads(loss, Object.values(variables));
  const found: Record<string, Float32Array> = {};
  for (const [name, variable] of Object.entries(variables)) found[name] = (await grads[variable.name]!.data()) as Float32Array;
  tf.dispose([value, grads, variables]);
  return found;
}

const automatic = (): Promise<BackendChoice> => useBackend('auto', { wasmPaths });

export interface Calls {
  readonly fit: typeof fit;
  readonly refuse: typeof refuse;
  readonly compare: typeof compare;
  readonly automatic: typeof automatic;
}
const calls: Calls = { fit, refuse, compare, automatic };
Object.assign(globalThis, { leantune: calls });
