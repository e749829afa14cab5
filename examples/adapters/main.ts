/**
 * A teller of small children's stories learns to write as Lewis Carroll: stories15M, a Llama of 15 million weights, with LoRA, LaMDA and
 * LaMDA++ in turn, on "Alice in Wonderland". Samples before and after.
 *
 *   npm start --workspace examples/adapters               some ten minutes on 2 cores, and 117 MB to fetch the first time
 *   npm start --workspace examples/adapters -- --quick    one seed, fewer steps
 *   npm start --workspace examples/adapters -- --search   tries learning rates first
 */
import { aliceInWonderland, storiesCheckpoint } from '@leantune/assets';
import { useBackend } from '@leantune/backends';
import { fromPretrained, generate, loadTokenizer, lossModel, meanLoss } from '@leantune/transformers';
import * as tf from '@tensorflow/tfjs';
import { commandLine } from './choice.ts';
import { compare, type Task } from './compare.ts';
import { shuffled } from './order.ts';

const choice = commandLine();
const [batchSize, length] = [4, 32];

await useBackend(choice.backend);
const checkpoint = await storiesCheckpoint();
const tokenizer = await loadTokenizer(checkpoint);
const model = await fromPretrained(checkpoint);
const trainer = lossModel(model); // the same layers, ending in losses
const tokens = tokenizer.encode(await aliceInWonderland());
const rows = Array.from({ length: Math.floor(tokens.length / length) }, (_, i) => tokens.slice(i * length, (i + 1) * length));
const pick = (...rests: number[]) => rows.filter((_, i) => rests.includes(i % 16));
const sets = { train: pick(2, 6, 10, 14), validation: pick(4), test: pick(0) }; // a quarter of the book to learn from
const { train } = sets;
console.log(`${train.length} rows of ${length} tokens to learn from, ${sets.test.length} to judge by`);

await say('before');
const task: Task = {
  model: trainer,
  targets: /layers\.\d+\..*_proj$/,
  settings: {
    task: 'stories15M',
    backend: choice.backend,
    rank: 32,
    freezeFraction: 0.045, // on layers this narrow, what it takes to move 17.7 times fewer numbers than LoRA
    steps: choice.quick ? 16 : 150,
    batch: batchSize,
    tokens: length,
    train: train.length,
    validation: sets.validation.length,
    test: sets.test.length,
  },
  loss: (step, seed) => lossOf(Array.from({ length: batchSize }, (_, i) => train[shuffled(step * batchSize + i, train.length, seed)]!)),
  evaluate(on) {
    const losses = Array.from({ length: Math.floor(sets[on].length / 8) }, (_, k) =>
      tf.tidy(() => lossOf(sets[on].slice(8 * k, 8 * k + 8)).dataSync()[0]!),
    );
    return losses.reduce((sum, x) => sum + x, 0) / losses.length;
  },
  show: say,
};
await compare(task, choice);

function lossOf(batch: readonly number[][]): tf.Scalar {
  return tf.tidy(() => {
    const ids = tf.tensor2d(batch as number[][], undefined, 'int32');
    return meanLoss(ids, trainer.apply([ids, ids], { training: true }) as tf.Tensor);
  });
}

async function say(when: string): Promise<string> {
  const prompt = tokenizer.encode('Alice');
  const text = tokenizer.decode([...prompt, ...(await generate(model, prompt, { maxTokens: 40, temperature: 0.7, topP: 0.9, seed: 1 }))]);
  console.log(`${when}: ${text.replaceAll('\n', ' / ')}`);
  return text;
}
