/**
 * What every consumer runs: a small net learns for six steps under stock tfjs, then under each technique; a small Llama learns with LoRA; an
 * adapter is saved and restored. The packages come in as arguments, so that each consumer shows its own way to import them.
 *
 * @returns rows `{ name, losses: [first, last], peakBytes, stockBytes }`, and how far the outputs of a restored adapter are from those saved
 */
export async function exercise(packages, adapter) {
  const rows = [await train(packages, 'stock tfjs')];
  const stockBytes = rows[0].peakBytes;
  for (const [name, techniques, options] of techniquesOf(packages)) rows.push(await train(packages, name, techniques, options));
  rows.forEach((row) => Object.assign(row, { stockBytes }));
  rows.push(await trainLlama(packages));
  const restored = await saveAndRestore(packages, adapter);
  return { rows, restored, mean: packages.summarize(rows.map(({ losses }) => losses[1])).mean };
}

function techniquesOf({ convbn, lamda, lora, mixedPrecision, s2a }) {
  return [
    ['finetune', []],
    ['checkpoint', [], { checkpoint: true }],
    ['convbn', convbn.tuneMode()],
    ['lamda', lamda.lamda({ rank: 4, steps: 6 })],
    ['lora', lora.lora({ r: 4, targets: ['hidden', 'head'] })],
    ['mixed-precision', mixedPrecision.mixedPrecision()],
    ['s2a', s2a.fourBit()],
    ['all together', [convbn.tuneMode(), lora.lora({ r: 4, targets: 'hidden' }), s2a.fourBit(), mixedPrecision.mixedPrecision()]],
  ];
}

async function train({ tf, core }, name, techniques, options) {
  const { model, x, y } = convNet(tf);
  const tuned = techniques && core.finetune(model, techniques, options);
  const adam = tf.train.adam(1e-2);
  model.compile({ optimizer: tuned?.optimizer(adam) ?? adam, loss: 'categoricalCrossentropy' });
  const { result, memory } = await core.measure(() => model.fit(x, y, { epochs: 6, batchSize: 16, shuffle: false, verbose: 0 }));
  tuned?.dispose();
  model.optimizer.dispose();
  model.dispose();
  tf.dispose([x, y]);
  return { name, losses: [result.history.loss[0], result.history.loss.at(-1)], peakBytes: memory.peakBytes };
}

/** Two convolutions with norms, a hidden layer, four classes; 16 images of which the class is the brightest quarter. */
function convNet(tf) {
  const seed = (number) => ({ kernelInitializer: tf.initializers.glorotUniform({ seed: number }) });
  const model = tf.sequential({
    layers: [
      tf.layers.conv2d({
        name: 'conv_1',
        inputShape: [16, 16, 3],
        filters: 16,
        kernelSize: 3,
        padding: 'same',
        useBias: false,
        ...seed(1),
      }),
      tf.layers.batchNormalization({ name: 'norm_1' }),
      tf.layers.reLU(),
      tf.layers.conv2d({ name: 'conv_2', filters: 16, kernelSize: 3, padding: 'same', useBias: false, ...seed(2) }),
      tf.layers.batchNormalization({ name: 'norm_2' }),
      tf.layers.reLU(),
      tf.layers.maxPooling2d({ poolSize: 8 }),
      tf.layers.flatten(),
      tf.layers.dense({ name: 'hidden', units: 32, activation: 'relu', ...seed(3) }),
      tf.layers.dense({ name: 'head', units: 4, activation: 'softmax', ...seed(4) }),
    ],
  });
  const classOf = Array.from({ length: 16 }, (_, i) => (7 * i) % 4);
  const bright = (i, row, column) => Number(classOf[i] === 2 * Number(row >= 8) + Number(column >= 8));
  const value = (i) =>
    0.3 * Math.abs(((i * 7919) % 1000) / 1000 - 0.5) + bright(Math.floor(i / 768), Math.floor(i / 48) % 16, Math.floor(i / 3) % 16);
  const x = tf.tensor4d(
    Float32Array.from({ length: 16 * 768 }, (_, i) => value(i)),
    [16, 16, 16, 3],
  );
  return { model, x, y: tf.tidy(() => tf.oneHot(tf.tensor1d(classOf, 'int32'), 4).toFloat()) };
}

const llama = {
  model_type: 'llama',
  architectures: ['LlamaForCausalLM'],
  vocab_size: 64,
  hidden_size: 32,
  intermediate_size: 64,
  num_hidden_layers: 2,
  num_attention_heads: 4,
  num_key_value_heads: 2,
  max_position_embeddings: 32,
  rms_norm_eps: 1e-5,
  rope_theta: 10000,
};

/** The rows of the alphabet in a circle: what comes next is the next letter. Stock tfjs differentiates the same layers, all of them. */
async function trainLlama({ tf, core, lora, transformers }) {
  const model = transformers.fromConfig(llama);
  model.setWeights(model.getWeights().map((w, i) => (w.rank < 2 ? tf.onesLike(w) : tf.randomNormal(w.shape, 0, 0.2, 'float32', i + 1))));
  const trainer = transformers.lossModel(model);
  const ids = tf.tensor2d(
    Array.from({ length: 4 * 24 }, (_, i) => (i * 5) % 64),
    [4, 24],
    'int32',
  );
  const loss = () => transformers.meanLoss(ids, trainer.apply([ids, ids], { training: true }));
  const { memory: stock } = core.measure(() => tf.dispose(tf.variableGrads(loss)), { model: trainer });
  const tuned = core.finetune(trainer, lora.lora({ r: 4, targets: /_proj$/ }));
  const optimizer = tuned.optimizer(core.adamW({ learningRate: 1e-2 }));
  const losses = [];
  const { memory } = core.measure(
    () => {
      for (let step = 0; step < 6; step++) losses.push(tf.tidy(() => tuned.minimize(loss, optimizer).dataSync()[0]));
    },
    { model: trainer },
  );
  optimizer.dispose();
  tuned.dispose();
  ids.dispose();
  return { name: 'transformers', losses: [losses[0], losses.at(-1)], peakBytes: memory.peakBytes, stockBytes: stock.peakBytes };
}

/** @returns the largest difference between the outputs of a trained model, and of a new one into which its adapter was restored */
async function saveAndRestore({ tf, core, lora }, adapter) {
  const { model, x, y } = convNet(tf);
  const tuned = core.finetune(model, lora.lora({ r: 4, targets: 'hidden' }));
  model.compile({ optimizer: tuned.optimizer(tf.train.adam(1e-2)), loss: 'categoricalCrossentropy' });
  await model.fit(x, y, { epochs: 2, batchSize: 16, shuffle: false, verbose: 0 });
  await tuned.save(adapter);
  const { model: fresh } = convNet(tf);
  const far = () => tf.tidy(() => model.predict(x).sub(fresh.predict(x)).abs().max().dataSync()[0]);
  const before = far();
  await core.restore(fresh, adapter, { lora: lora.lora });
  return { before, after: far() };
}
