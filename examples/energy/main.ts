/**
 * The experiment of arXiv 2409.07853: a classification net, batch size × neurons × epochs × precision, and the energy of training it; with
 * the repeats, the random order, the idle power and the tests that the paper lacked.
 *
 *   npm start --workspace examples/energy              some minutes
 *   npm start --workspace examples/energy -- --quick   some ten seconds: fewer levels, sketches and repeats
 *
 * Prints a table and the tests; writes output/energy.svg and output/energy.json. What was measured, and what only estimated, is said below the table.
 */
import { mkdir, writeFile } from 'node:fs/promises';
import { quickDraw } from '@leantune/assets';
import { useBackend } from '@leantune/backends';
import { finetune, type Technique } from '@leantune/core';
import { compareEnergy, type Run } from '@leantune/energy';
import { factorialAnova, summarize } from '@leantune/energy/statistics';
import { mixedPrecision } from '@leantune/mixed-precision';
import * as tf from '@tensorflow/tfjs';
import { energyPlot } from './plot.ts';

const quick = process.argv.includes('--quick');
const output = new URL('output/', import.meta.url);

// The factor "precision", by the techniques that make it.
const precisions: Readonly<Record<string, () => readonly Technique[]>> = {
  float32: () => [],
  mixed_float16: () => [mixedPrecision()],
};
const factors = {
  batch: quick ? [16, 64] : [16, 32, 64],
  neurons: quick ? [32, 128] : [64, 256],
  epochs: quick ? [1, 2] : [2, 4],
  precision: Object.keys(precisions),
} as const;

interface Cell {
  readonly batch: number;
  readonly neurons: number;
  readonly epochs: number;
  readonly precision: string;
}

const choice = await useBackend((process.argv.find((arg) => arg.startsWith('--backend='))?.slice(10) as 'wasm') ?? 'wasm');
const sketches = await quickDraw({ size: 28, train: quick ? 128 : 700, test: quick ? 60 : 300 });
const gray = ({ images }: { images: tf.Tensor4D }): tf.Tensor2D =>
  tf.tidy(() => images.slice([0, 0, 0, 0], [-1, -1, -1, 1]).reshape([-1, 28 * 28]));
const [x, testX] = [gray(sketches.train), gray(sketches.test)];

const cells = factors.batch.flatMap((batch) =>
  factors.neurons.flatMap((neurons) =>
    factors.epochs.flatMap((epochs) => factors.precision.map((precision): Cell => ({ batch, neurons, epochs, precision }))),
  ),
);
const nameOf = ({ batch, neurons, epochs, precision }: Cell): string =>
  `batch ${batch}, ${neurons} neurons, ${epochs} epochs, ${precision}`;
const works = cells.map((cell) => {
  const steps = cell.epochs * Math.ceil(x.shape[0] / cell.batch);
  return [nameOf(cell), { run: (run: Run) => train(cell, run), steps, samples: cell.epochs * x.shape[0] }] as const;
});
console.log(`${cells.length} configurations on ${choice.name}, in random order.`);
const energy = await compareEnergy(Object.fromEntries(works), {
  repeats: quick ? 3 : 6,
  idleSeconds: quick ? 0.5 : 5,
});

console.log(`\n${energy}\n\n| configuration | net J | 95 % interval | mJ a sample | accuracy | g CO2e |\n|---|---:|---:|---:|---:|---:|`);
for (const [name, { net, perSample, runs, kilogramsCO2 }] of Object.entries(energy.configurations)) {
  const accuracy = summarize(runs.map(({ accuracies }) => accuracies.at(-1)!.accuracy)).mean;
  const interval = net.interval.map((end) => end.toPrecision(3)).join(' … ');
  const grams = (1000 * kilogramsCO2.gross).toPrecision(3);
  console.log(
    `| ${name} | ${net.mean.toPrecision(3)} | ${interval} | ${(1000 * perSample!.mean).toPrecision(3)} | ${(100 * accuracy).toFixed(1)} % | ${grams} |`,
  );
}

// Which factor matters? Analysis of variance over all, with interactions of two; a factor of one level has nothing to say.
const observations = cells.flatMap((cell) =>
  energy.configurations[nameOf(cell)]!.runs.map(({ net }) => ({ levels: { ...cell }, value: net })),
);
const varied = Object.keys(factors).filter((factor) => factors[factor as keyof Cell].length > 1);
console.log('\n| net joules | df | F | p | η² | ω² |\n|---|---:|---:|---:|---:|---:|');
for (const [name, { df, f, p, etaSquared, omegaSquared }] of Object.entries(factorialAnova(observations, varied, 2).effects))
  console.log(`| ${name} | ${df} | ${f.toFixed(2)} | ${p.toPrecision(3)} | ${etaSquared.toFixed(3)} | ${omegaSquared.toFixed(3)} |`);

const benchmark = nameOf(cells[0]!); // the paper compares with one run of default hyper-parameters
console.log(`\n| net joules against ${benchmark} | difference | p by Welch and Holm | Hedges g |\n|---|---:|---:|---:|`);
for (const { first, difference, pHolm, hedgesG } of energy.tests(undefined, benchmark).pairs)
  console.log(`| ${first} | ${difference.toPrecision(3)} J | ${pHolm.toPrecision(3)} | ${hedgesG.toFixed(2)} |`);

await mkdir(output, { recursive: true });
await writeFile(new URL('energy.svg', output), energyPlot(energy));
await writeFile(new URL('energy.json', output), JSON.stringify({ backend: choice.name, ...energy }, null, 1));
console.log('\nPlot: examples/energy/output/energy.svg');
tf.dispose([x, testX]);
sketches.dispose();

/** One training run; building the net and evaluating it are off the meters. */
async function train({ batch, neurons, epochs, precision }: Cell, run: Run): Promise<void> {
  const { model, tuned } = await run.unmetered(() => {
    const seeded = (seed: number) => tf.initializers.glorotUniform({ seed: seed + 100 * run.repeat });
    const net = tf.sequential({
      layers: [
        tf.layers.dense({ inputShape: [28 * 28], units: neurons, activation: 'relu', kernelInitializer: seeded(1) }),
        tf.layers.dense({ units: neurons, activation: 'relu', kernelInitializer: seeded(2) }),
        tf.layers.dense({ units: sketches.classes.length, activation: 'softmax', kernelInitializer: seeded(3) }),
      ],
    });
    const handle = finetune(net, precisions[precision]!());
    net.compile({ optimizer: handle.optimizer(tf.train.adam(1e-3)), loss: 'categoricalCrossentropy', metrics: ['accuracy'] });
    return { model: net, tuned: handle };
  });
  for (let epoch = 0; epoch < epochs; epoch++) {
    await model.fit(x, sketches.train.labels, { batchSize: batch, epochs: 1, verbose: 0 });
    await run.accuracy(async () => {
      const results = model.evaluate(testX, sketches.test.labels, { batchSize: 100 }) as tf.Scalar[];
      const accuracy = (await results[1]!.data())[0]!;
      tf.dispose(results);
      return accuracy;
    });
  }
  await run.unmetered(() => {
    tuned.dispose();
    model.optimizer.dispose();
    model.dispose();
  });
}
