import { graphModels } from '@leantune/testing';
import * as tf from '@tensorflow/tfjs';
import { beforeAll, describe, expect, test } from 'vitest';
import { adamW, explain, FinetuneError, finetune, linearSchedule, restore, type Technique } from '../src/index.ts';

const normal = (shape: number[], seed: number, sd = 1) => tf.randomNormal(shape, 0, sd, 'float32', seed);
const values = (tensors: readonly tf.Tensor[]) => tensors.map((t) => Array.from(t.dataSync()));
const seeded = (seed: number) => tf.initializers.glorotUniform({ seed });

function code(f: () => unknown): unknown {
  try {
    f();
  } catch (error) {
    return FinetuneError.is(error) ? error.code : error;
  }
  return undefined;
}

/** Conv, BatchNorm and a residual branch, the same weights each time. */
function convNet() {
  const input = tf.input({ shape: [8, 8, 2] });
  const stem = tf.layers
    .conv2d({ filters: 4, kernelSize: 3, padding: 'same', kernelInitializer: seeded(1), name: 'stem' })
    .apply(input) as tf.SymbolicTensor;
  let h = stem;
  for (let i = 0; i < 3; i++) {
    const norm = tf.layers.batchNormalization({ name: `norm${i}` }).apply(h);
    const relu = tf.layers.reLU({ maxValue: 6, name: `relu${i}` }).apply(norm);
    const conv = tf.layers
      .conv2d({ filters: 4, kernelSize: 3, padding: 'same', kernelInitializer: seeded(10 + i), name: `conv${i}` })
      .apply(relu) as tf.SymbolicTensor;
    h = tf.layers.add({ name: `add${i}` }).apply([h, conv]) as tf.SymbolicTensor;
  }
  const pooled = tf.layers.globalAveragePooling2d({ name: 'pool' }).apply(h);
  const y = tf.layers
    .dense({ units: 3, activation: 'softmax', kernelInitializer: seeded(5), name: 'head' })
    .apply(pooled) as tf.SymbolicTensor;
  return tf.model({ inputs: input, outputs: y });
}

const data = () => ({ x: normal([12, 8, 8, 2], 7), y: tf.oneHot(tf.tensor1d([0, 1, 2, 0, 1, 2, 0, 1, 2, 0, 1, 2], 'int32'), 3) });
const compiled = { loss: 'categoricalCrossentropy', metrics: ['accuracy'] };
const fitting = { epochs: 2, batchSize: 4, shuffle: false, verbose: 0 } as const;

/** A handler that keeps what it is given. */
function inMemory() {
  let saved: tf.io.ModelArtifacts | undefined;
  const handler: tf.io.IOHandler = {
    save: async (artifacts) => {
      saved = artifacts;
      return { modelArtifactsInfo: { dateSaved: new Date(0), modelTopologyType: 'JSON' } };
    },
    load: async () => saved!,
  };
  return handler;
}

beforeAll(async () => {
  await tf.setBackend('cpu');
});

describe('model.fit', () => {
  test.each(['sgd', 'momentum', 'adam', 'rmsprop'] as const)(
    'with %s gives the very losses, weights and statistics of stock tfjs',
    async (name) => {
      const make = {
        sgd: () => tf.train.sgd(0.1),
        momentum: () => tf.train.momentum(0.05, 0.9),
        adam: () => tf.train.adam(0.01),
        rmsprop: () => tf.train.rmsprop(0.01),
      };
      const { x, y } = data();
      const runs = [];
      for (const options of [undefined, {}, { checkpoint: true }]) {
        const model = convNet();
        const tuned = options && finetune(model, [], options);
        const optimizer = make[name]();
        model.compile({ ...compiled, optimizer: tuned ? tuned.optimizer(optimizer) : optimizer });
        const { history } = await model.fit(x, y, { ...fitting, validationData: [x, y] });
        tuned?.dispose();
        runs.push({ history, weights: values(model.getWeights()) });
      }
      expect(runs[1]).toEqual(runs[0]);
      expect(runs[2]).toEqual(runs[0]);
      tf.dispose([x, y]);
    },
  );

  test('trains what the filter selects and nothing else, though compile resets the flags of layers', async () => {
    const { x, y } = data();
    const model = convNet();
    const before = values(model.getWeights());
    const tuned = finetune(model, [], { trainable: ['conv2', /^head/] });
    model.compile({ ...compiled, optimizer: tuned.optimizer(tf.train.sgd(0.1)) });
    await model.fit(x, y, fitting);
    const after = values(model.getWeights());
    const moved = model.weights.map((w) => w.originalName).filter((_, i) => JSON.stringify(before[i]) !== JSON.stringify(after[i]));
    expect(moved).toEqual(['conv2/kernel', 'conv2/bias', 'head/kernel', 'head/bias']); // no moving statistics: those layers are frozen
    expect(String(tuned.summary())).toBe('trainable 163 of 583 (28 %)');
    tuned.dispose();
    tf.dispose([x, y]);
  });

  test('accumulating k batches equals one step on all of them', async () => {
    const { x, y } = data();
    const head = { trainable: 'head' };
    const run = async (batchSize: number, accumulate: number) => {
      const model = convNet();
      const tuned = finetune(model, [], head);
      model.compile({ ...compiled, optimizer: tuned.optimizer(tf.train.sgd(0.5), { accumulate }) });
      await model.fit(x, y, { ...fitting, batchSize });
      tuned.dispose();
      return values(model.getLayer('head').getWeights());
    };
    const [parts, whole] = [await run(4, 3), await run(12, 1)];
    parts.flat().forEach((v, i) => expect(v).toBeCloseTo(whole.flat()[i]!, 5));
    tf.dispose([x, y]);
  });

  test('a schedule sets the rate of each step', () => {
    const w = tf.variable(tf.scalar(10));
    const tuned = finetune({ w });
    const optimizer = tuned.optimizer(tf.train.sgd(99), { schedule: linearSchedule({ from: 1, to: 0, steps: 2 }) });
    const seen = [0, 1, 2].map(() => {
      tuned.minimize(() => w.asScalar(), optimizer).dispose();
      return w.dataSync()[0];
    });
    expect(seen).toEqual([9, 8.5, 8.5]);
    tuned.dispose();
    w.dispose();
  });
});

describe('a failed step leaves weights, moving statistics and optimizer as they were', () => {
  const faults: { [name: string]: (loss: () => tf.Scalar, other: tf.Variable) => () => tf.Scalar } = {
    'a NaN loss': (loss) => () => loss().mul(Number.NaN) as tf.Scalar,
    'an infinite loss': (loss) => () => loss().div(0) as tf.Scalar,
    'a loss that throws after its forward': (loss) => () => {
      loss();
      throw new Error('mine');
    },
    'an async loss': (loss) => (async () => loss()) as never,
    'a loss that does not reach all variables': (_, w) => () => w.square().sum() as tf.Scalar,
  };
  test.each(Object.keys(faults))('%s', (name) => {
    const { x, y } = data();
    const model = convNet();
    const tuned = finetune(model);
    const optimizer = tf.train.momentum(0.1, 0.9);
    const loss = () => tf.losses.softmaxCrossEntropy(y, model.apply(x, { training: true }) as tf.Tensor) as tf.Scalar;
    tuned.minimize(loss, optimizer).dispose();
    const slots = () =>
      values((optimizer as unknown as { accumulations: { variable: tf.Variable }[] }).accumulations.map((s) => s.variable));
    const before = [values(model.getWeights()), slots(), tf.memory().numTensors, tf.memory().numBytes];
    expect(() => tuned.minimize(faults[name]!(loss, tuned.variables[0]!), optimizer)).toThrow();
    expect([values(model.getWeights()), slots(), tf.memory().numTensors, tf.memory().numBytes]).toEqual(before);
    tuned.minimize(loss, optimizer).dispose(); // and training goes on
    expect(values(model.getWeights())).not.toEqual(before[0]);
    tuned.dispose();
    tf.dispose([x, y]);
  });

  test('a hook that skips', () => {
    const { x, y } = data();
    const model = convNet();
    const skip: Technique = { name: 'skip', options: null, attach: () => ({ step: { onGradients: () => 'skip' }, detach: () => {} }) };
    const tuned = finetune(model, skip);
    const before = [values(model.getWeights()), tf.memory().numTensors];
    tuned
      .minimize(() => tf.losses.softmaxCrossEntropy(y, model.apply(x, { training: true }) as tf.Tensor) as tf.Scalar, tf.train.sgd(1))
      .dispose();
    expect([values(model.getWeights()), tf.memory().numTensors - 1]).toEqual(before); // sgd keeps its rate in a tensor
    tuned.dispose();
    tf.dispose([x, y]);
  });
});

describe('saving', () => {
  test('what is saved and loaded on a fresh base gives equal outputs, and going on with the optimizer equals not having stopped', async () => {
    const { x, y } = data();
    const file = inMemory();
    const train = async (model: tf.LayersModel, tuned: ReturnType<typeof finetune>, inner: tf.Optimizer) => {
      model.compile({ ...compiled, optimizer: tuned.optimizer(inner) });
      await model.fit(x, y, { ...fitting, epochs: 1 });
    };
    const optimizer = adamW({ learningRate: 0.01 });
    const first = convNet();
    const tuned = finetune(first, [], { trainable: /conv|head|norm/ }); // and so the moving statistics move
    await train(first, tuned, optimizer);
    await tuned.save(file, { optimizer });

    const second = convNet();
    const restored = await restore(second, file);
    expect(restored.variables.length).toBe(tuned.variables.length);
    expect(values([second.predict(x) as tf.Tensor])).toEqual(values([first.predict(x) as tf.Tensor]));
    const resumed = adamW({ learningRate: 0.01 });
    await restored.load(file, { optimizer: resumed });
    await train(first, tuned, optimizer);
    await train(second, restored, resumed);
    expect(values(second.getWeights())).toEqual(values(first.getWeights()));
    restored.dispose();
    tuned.dispose();
    tf.dispose([x, y]);
  });

  test('restore selects by whole name, not by the end of a name', async () => {
    const nested = () => {
      const inner = tf.sequential({ name: 'inner', layers: [tf.layers.dense({ units: 2, inputShape: [3], name: 'head' })] });
      return tf.sequential({ layers: [inner, tf.layers.dense({ units: 2, name: 'head' })] });
    };
    const file = inMemory();
    const tuned = finetune(nested(), [], { trainable: /^head$/ });
    await tuned.save(file);
    const restored = await restore(nested(), file);
    expect(restored.variables.length).toBe(2);
    tuned.dispose();
    restored.dispose();
  });

  test('a file of another base changes nothing and says all that is wrong', async () => {
    const file = inMemory();
    const tuned = finetune(convNet(), [], { trainable: 'head' });
    await tuned.save(file);
    tuned.dispose();
    const other = tf.sequential({ layers: [tf.layers.dense({ units: 2, inputShape: [3], name: 'head' })] });
    const on = finetune(other);
    const before = [values(other.getWeights()), tf.memory().numTensors];
    const error = await on.load(file).catch((e: unknown) => e);
    expect(FinetuneError.is(error) && error.code).toBe('bad-file');
    expect((error as Error).message).toMatch(/head\/kernel/);
    expect([values(other.getWeights()), tf.memory().numTensors]).toEqual(before);
    on.dispose();
  });

  test('restore names the techniques that it was not given', async () => {
    const file = inMemory();
    const technique: Technique = { name: 'mine', options: { rank: 2 }, attach: () => ({ detach: () => {} }) };
    const tuned = finetune(convNet(), technique);
    await tuned.save(file);
    tuned.dispose();
    await expect(restore(convNet(), file)).rejects.toThrow(
      '[restore] the adapter uses mine, which was not given. Pass restore(model, from, { mine }).',
    );
    const given: unknown[] = [];
    const mine = (options: unknown) => {
      given.push(options);
      return technique;
    };
    const restored = await restore(convNet(), file, { mine });
    expect(given).toEqual([{ rank: 2 }]);
    restored.dispose();
  });
});

describe('errors', () => {
  const technique = (attach: Technique['attach'], name = 'mine'): Technique => ({ name, options: null, attach });
  test('a model that is tuned already, or from within a loss', () => {
    const model = convNet();
    const tuned = finetune(model);
    expect(code(() => finetune(model))).toBe('already-tuned');
    expect(code(() => tuned.minimize(() => finetune(convNet()) as never, tf.train.sgd(1)))).toBe('busy');
    expect(code(() => tuned.minimize(() => tuned.minimize(() => tf.scalar(0), tf.train.sgd(1)), tf.train.sgd(1)))).toBe('busy');
    tuned.dispose();
    finetune(model).dispose();
  });

  test('two techniques that train one variable are both named, and are detached', () => {
    const shared = tf.variable(tf.scalar(1));
    let detached = 0;
    const both = ['one', 'two'].map((name) => technique(() => ({ variables: [shared], detach: () => void detached++ }), name));
    expect(() => finetune(convNet(), both)).toThrow(/\(one, two\)/);
    expect(detached).toBe(2);
    shared.dispose();
  });

  test('a technique that throws undoes those before it', () => {
    const order: string[] = [];
    const first = technique(() => ({ detach: () => void order.push('detached') }));
    const model = convNet();
    const before = values(model.getWeights());
    expect(() =>
      finetune(model, [
        first,
        technique(() => {
          throw new Error('no');
        }),
      ]),
    ).toThrow('no');
    expect(order).toEqual(['detached']);
    expect(values(model.getWeights())).toEqual(before);
    finetune(model).dispose();
  });

  test('merging what cannot be merged, and anything after the end', () => {
    const v = tf.variable(tf.scalar(1));
    const tuned = finetune(
      convNet(),
      technique(() => ({ variables: [v], detach: () => v.dispose() })),
    );
    expect(code(() => tuned.merge())).toBe('no-merge');
    tuned.dispose();
    tuned.dispose();
    expect(code(() => tuned.summary())).toBe('disposed');
    expect(code(() => tuned.minimize(() => tf.scalar(1), tf.train.sgd(1)))).toBe('disposed');
  });

  test('an optimizer that is wrapped already, and bad options', () => {
    const tuned = finetune(convNet());
    expect(code(() => tuned.optimizer(tuned.optimizer(tf.train.sgd(1))))).toBe('bad-option');
    expect(() => tuned.optimizer(tf.train.sgd(1), { accumulate: 0.5, clipNorm: -1 })).toThrow(/accumulate = 0.5.*clipNorm = -1/);
    tuned.dispose();
  });
});

describe('models that share layers', () => {
  /** A base, and two heads on it. */
  function family() {
    const layers = [tf.layers.dense({ units: 5, inputShape: [4], name: 'hidden' }), tf.layers.batchNormalization({ name: 'norm' })];
    const base = tf.sequential({ name: 'base', layers });
    const input = tf.input({ shape: [4] });
    const heads = ['left', 'right'].map((name) =>
      tf.model({ inputs: input, outputs: tf.layers.dense({ units: 2, name }).apply(base.apply(input)) as tf.SymbolicTensor }),
    );
    return { base, left: heads[0]!, right: heads[1]! };
  }

  test.each([
    ['left', 'right'],
    ['base', 'left'],
    ['left', 'base'],
  ] as const)('while %s is tuned, %s is not; after it is, and the layers are as they were', (one, other) => {
    const models = family();
    const { layers } = models.base;
    const own = layers.map((layer) => Object.getOwnPropertyNames(layer));
    const x = normal([6, 4], 1);
    const first = finetune(models[one]);
    expect(code(() => finetune(models[other]))).toBe('already-tuned');
    first.detach();
    const before = values(models.base.getWeights());
    const second = finetune(models[other]);
    second
      .minimize(() => (models[other].apply(x, { training: true }) as tf.Tensor).square().mean() as tf.Scalar, tf.train.sgd(0.1))
      .dispose();
    expect(values(models.base.getWeights())).not.toEqual(before);
    second.detach();
    expect(layers.map((layer) => Object.getOwnPropertyNames(layer))).toEqual(own);
    x.dispose();
  });
});

test.each(['layers', 'the model'])('%s with trainable = false can be selected, and fit trains it', async (which) => {
  const { x, y } = data();
  const model = convNet();
  for (const layer of model.layers) layer.trainable = false;
  if (which === 'the model') model.trainable = false;
  const tuned = finetune(model, [], { trainable: 'head' });
  model.compile({ ...compiled, optimizer: tuned.optimizer(tf.train.sgd(0.1)) });
  const before = values(model.getWeights());
  await model.fit(x, y, { ...fitting, epochs: 1 });
  const after = values(model.getWeights());
  const moved = model.weights.map((w) => w.originalName).filter((_, i) => JSON.stringify(before[i]) !== JSON.stringify(after[i]));
  expect(moved).toEqual(['head/kernel', 'head/bias']);
  tuned.dispose();
  tf.dispose([x, y]);
});

test('disabled with an async function stays off until it is done, also if it fails', async () => {
  const w = tf.tidy(() => tf.variable(tf.ones([2, 2])));
  const x = tf.ones([1, 2]);
  const plus: Technique = {
    name: 'plus',
    options: null,
    attach(model) {
      const undo = model.sites('w')[0]!.replace((z, next) => next(z).add(100));
      return { detach: undo };
    },
  };
  const tuned = finetune({ w }, plus, { trainable: 'w' });
  const y = () => tf.tidy(() => x.matMul(w).dataSync()[0]);
  const later = tuned.disabled(async () => {
    await null;
    return y();
  });
  expect(await later).toBe(2);
  expect(y()).toBe(102);
  await expect(
    tuned.disabled(async () => {
      await null;
      throw new Error('mine');
    }),
  ).rejects.toThrow('mine');
  expect(y()).toBe(102);
  tuned.dispose();
  tf.dispose([w, x]);
});

describe('leaving when a technique throws', () => {
  const fold: Technique = {
    name: 'fold',
    options: null,
    attach: (model) => ({
      merge() {
        for (const site of model.sites((s) => s.kernel !== undefined)) tf.tidy(() => site.addToKernel(tf.onesLike(site.kernel!)));
      },
      detach: () => {},
    }),
  };
  const broken = (method: 'merge' | 'detach'): Technique => ({
    name: 'broken',
    options: null,
    attach: () => ({
      detach: () => {},
      [method]: () => {
        throw new Error(`no ${method}`);
      },
    }),
  });

  test('merge leaves the weights of layers as they were, and goes on', () => {
    const model = convNet();
    const before = [values(model.getWeights()), tf.memory().numTensors];
    const tuned = finetune(model, [fold, broken('merge')]);
    expect(() => tuned.merge()).toThrow('no merge');
    expect([values(model.getWeights()), tf.memory().numTensors]).toEqual(before);
    expect(tuned.summary().techniques).toEqual(['fold', 'broken']);
    tuned.detach();
    expect(values(model.getWeights())).toEqual(before[0]);
  });

  test('merge leaves the constants of a graph as they were, those that train and those that do not', async () => {
    for (const trainable of [undefined, /head/]) {
      const tiny = await graphModels.matmul!();
      const weights = () => Object.values(tiny.model.weights).map(([w]) => Array.from(w!.dataSync()));
      const before = [weights(), tf.memory().numTensors];
      const tuned = finetune(tiny.model, [fold, broken('merge')], trainable && { trainable });
      expect(() => tuned.merge()).toThrow('no merge');
      expect(weights()).toEqual(before[0]);
      tuned.detach();
      expect([weights(), tf.memory().numTensors]).toEqual(before);
      tiny.dispose();
    }
  });

  test('merge leaves plain variables as they were', () => {
    const w = tf.tidy(() => tf.variable(tf.ones([2, 2])));
    const tuned = finetune({ w }, [fold, broken('merge')]);
    expect(() => tuned.merge()).toThrow('no merge');
    expect(values([w])).toEqual([[1, 1, 1, 1]]);
    tuned.dispose();
    w.dispose();
  });

  test('detach lets everything else leave, and the model can be tuned again', () => {
    const model = convNet();
    const own = model.layers.map((layer) => Object.getOwnPropertyNames(layer));
    let left = 0;
    const good: Technique = { name: 'good', options: null, attach: () => ({ detach: () => void left++ }) };
    const tuned = finetune(model, [good, broken('detach'), good]);
    expect(() => tuned.detach()).toThrow('no detach');
    expect(left).toBe(2);
    expect(model.layers.map((layer) => Object.getOwnPropertyNames(layer))).toEqual(own);
    finetune(model).dispose();
  });
});

test('explain says what would wait for backward, by layer, and changes nothing', () => {
  const { x, y } = data();
  const model = convNet();
  const before = [values(model.getWeights()), tf.memory().numTensors];
  const half: Technique = {
    name: 'half',
    options: null,
    attach: () => ({
      keep: () => ({
        name: 'half',
        encode: (t) => {
          const v = Float32Array.from(t.dataSync());
          return { bytes: 2 * t.size, decode: () => tf.tensor(v, t.shape), dispose: () => {} };
        },
      }),
      detach: () => {},
    }),
  };
  const explanation = explain(model, x, { trainable: 'conv2', candidates: [half] });
  expect([values(model.getWeights()), tf.memory().numTensors]).toEqual(before);
  const conv = explanation.rows.find((row) => row.layer === 'conv2')!;
  expect(conv.bytes).toBe(12 * 8 * 8 * 4 * 4); // the input of the layer that trains
  expect(conv.under).toEqual({ half: conv.bytes / 2 });
  expect(explanation.rows.every((row) => ['conv2', 'head', 'pool', ''].includes(row.layer) || row.layer.startsWith('add'))).toBe(true);
  expect(String(explanation)).toContain('conv2');
  tf.dispose([x, y]);
});

test('10,000 steps of an own loop end with the tensors and bytes they began with', () => {
  const w = tf.tidy(() => tf.variable(normal([4, 3], 1)));
  const x = normal([5, 4], 2);
  const tuned = finetune({ w });
  const optimizer = tuned.optimizer(tf.train.momentum(1e-4, 0.9), { clipNorm: 1, accumulate: 2 });
  const step = () => tuned.minimize(() => x.matMul(w).relu().square().mean() as tf.Scalar, optimizer).dispose();
  step();
  step();
  const before = tf.memory();
  for (let i = 0; i < 10_000; i++) step();
  expect(tf.memory()).toEqual(before);
  tuned.dispose();
  tf.dispose([w, x]);
}, 120_000);
