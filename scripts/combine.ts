/**
 * Every technique together with every other, in both orders, on one small net: is it taken, does it learn, does it leave the net bit for bit as
 * it was? Writes the table of docs/guides/combine.md; a test holds the two together.
 *
 *   npx tsx --conditions=@leantune/source scripts/combine.ts
 */
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { useBackend } from '@leantune/backends';
import { deployMode, evalMode, tuneMode } from '@leantune/convbn';
import { FinetuneError, finetune, type Technique } from '@leantune/core';
import { lamda } from '@leantune/lamda';
import { lora } from '@leantune/lora';
import { mixedPrecision } from '@leantune/mixed-precision';
import { biasTuning, fourBit, liteSideBranch, lowRankPrompt } from '@leantune/s2a';
import * as tf from '@tensorflow/tfjs';

const page: string = join(import.meta.dirname, '../docs/guides/combine.md');
const place = /(?<=<!-- pairs:start -->\n)[\s\S]*?(?=<!-- pairs:end -->)/;

const techniques: { readonly [name: string]: () => Technique } = {
  tuneMode,
  evalMode,
  deployMode,
  lora: () => lora({ r: 2, targets: ['hidden', 'head'] }),
  lamda: () => lamda({ rank: 2, targets: ['hidden', 'head'], steps: 8 }),
  biasTuning,
  lowRankPrompt: () => lowRankPrompt({ rank: 2, targets: 'hidden' }),
  liteSideBranch: () => liteSideBranch({ width: 4, targets: ['conv', 'hidden'] }),
  fourBit,
  mixedPrecision,
};

/** What the page says. */
export const writtenTable = (): string => place.exec(readFileSync(page, 'utf8'))![0];

/** Rows attach first, columns second. */
export async function pairsTable(): Promise<string> {
  await useBackend('wasm');
  const names = Object.keys(techniques);
  const code = (name: string): string => `\`${name}\``;
  const rows = names.map((first) => {
    const cells = names.map((second) => (first === second ? '' : outcome([first, second])));
    return [code(first), ...cells];
  });
  const head = ['first, then →', ...names.map(code)];
  return [head, head.map((_, i) => (i === 0 ? '---' : ':---:')), ...rows].map((row) => `| ${row.join(' | ')} |\n`).join('');
}

/** `✓`, the code of the error with which the two refuse each other, or what went wrong. */
function outcome(names: readonly string[]): string {
  const net = makeNet();
  const before = outputOf(net.model);
  try {
    const tuned = finetune(
      net.model,
      names.map((name) => techniques[name]!()),
    );
    const optimizer = tuned.optimizer(tf.train.adam(1e-2));
    const losses = Array.from({ length: 6 }, () => tf.tidy(() => tuned.minimize(net.loss, optimizer).dataSync()[0]!));
    optimizer.dispose();
    const own = tuned.variables.some((variable) => net.model.weights.some((weight) => weight.read() === variable));
    tuned.detach();
    if (!(losses.at(-1)! < losses[0]!)) return 'does not learn';
    if (!own && outputOf(net.model).some((value, i) => value !== before[i])) return 'does not leave';
    return '✓';
  } catch (error) {
    if (!FinetuneError.is(error)) throw error;
    return error.code;
  } finally {
    net.dispose();
  }
}

interface Net {
  readonly model: tf.LayersModel;
  readonly loss: () => tf.Scalar;
  dispose(): void;
}

/** A convolution with its norm, a hidden layer, three classes. */
function makeNet(): Net {
  const from = (seed: number) => ({ kernelInitializer: tf.initializers.heNormal({ seed }) });
  const model = tf.sequential({
    layers: [
      tf.layers.conv2d({ name: 'conv', inputShape: [8, 8, 3], filters: 8, kernelSize: 3, useBias: false, ...from(1) }),
      tf.layers.batchNormalization({ name: 'norm' }),
      tf.layers.reLU(),
      tf.layers.flatten(),
      tf.layers.dense({ name: 'hidden', units: 8, activation: 'relu', ...from(2) }),
      tf.layers.dense({ name: 'head', units: 3, ...from(3) }),
    ],
  });
  const y = tf.tidy(() => tf.oneHot(tf.range(0, 12, 1, 'int32').mod(3).toInt(), 3).toFloat());
  const loss = () => tf.losses.softmaxCrossEntropy(y, model.apply(images(), { training: true }) as tf.Tensor) as tf.Scalar;
  return { model, loss, dispose: () => tf.dispose([y, model.weights.map((weight) => weight.read())]) };
}

const images = (): tf.Tensor4D => tf.randomNormal([12, 8, 8, 3], 0, 1, 'float32', 7);
const outputOf = (model: tf.LayersModel): Float32Array => tf.tidy(() => (model.predict(images()) as tf.Tensor).dataSync() as Float32Array);

if (process.argv[1] === import.meta.filename) {
  const table = await pairsTable();
  console.log(table);
  writeFileSync(
    page,
    readFileSync(page, 'utf8').replace(place, () => table),
  );
}
