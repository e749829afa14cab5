/**
 * A teller of children's stories learns to write as Shakespeare: stories15M, a Llama of 15 million weights, with LoRA, LaMDA and LaMDA++
 * in turn, on sonnets. Samples before and after.
 *
 *   npm start --workspace examples/adapters              some ten minutes on 2 cores, and 120 MB to fetch the first time
 *   npm start --workspace examples/adapters -- --quick   one seed, fewer steps
 */
import { sonnets, storiesCheckpoint } from '@leantune/assets';
import { useBackend } from '@leantune/backends';
import { fromPretrained, generate, loadTokenizer, lossModel, meanLoss } from '@leantune/transformers';
import * as tf from '@tensorflow/tfjs';
import { commandLine } from './choice.ts';
import { compare, type Task } from './compare.ts';

const choice = commandLine();
const [batchSize, length] = [4, 96];

await useBackend(choice.backend);
const checkpoint = await storiesCheckpoint();
const tokenizer = await loadTokenizer(checkpoint);
const model = await fromPretrained(checkpoint);
const trainer = lossModel(model); // the same layers, ending in losses
const tokens = tokenizer.encode(await sonnets());
const rows = Array.from({ length: Math.floor(tokens.length / length) }, (_, i) => tokens.slice(i * length, (i + 1) * length));
const [test, train] = [rows.filter((_, i) => i % 8 === 0), rows.filter((_, i) => i % 8 !== 0)];
console.log(`${train.length} rows of ${length} tokens to learn from, ${test.length} to judge by`);

await say('before');
const task: Task = {
  model: trainer,
  targets: /layers\.\d+\..*_proj$/,
  settings: {
    task: 'stories15M',
    backend: choice.backend,
    steps: choice.quick ? 16 : 120,
    batch: batchSize,
    tokens: length,
    train: train.length,
    test: test.length,
    before: validate(),
  },
  loss: (step, seed) =>
    lossOf(Array.from({ length: batchSize }, (_, i) => train[(7 * (step * batchSize + i) + 31 * seed) % train.length]!)),
  validate,
  show: say,
};
console.log(`before: validation loss ${task.settings.before!.toFixed(3)}`);
await compare(task, choice);

function validate(): number {
  const losses = Array.from({ length: Math.floor(test.length / 4) }, (_, k) =>
    tf.tidy(() => lossOf(test.slice(4 * k, 4 * k + 4)).dataSync()[0]!),
  );
  return losses.reduce((sum, x) => sum + x, 0) / losses.length;
}

function lossOf(batch: readonly number[][]): tf.Scalar {
  return tf.tidy(() => {
    const ids = tf.tensor2d(batch as number[][], undefined, 'int32');
    return meanLoss(ids, trainer.apply([ids, ids], { training: true }) as tf.Tensor);
  });
}

async function say(when: string): Promise<string> {
  const prompt = tokenizer.encode('When I');
  const text = tokenizer.decode([...prompt, ...(await generate(model, prompt, { maxTokens: 40, temperature: 0.7, topP: 0.9, seed: 1 }))]);
  console.log(`${when}: ${text.replaceAll('\n', ' / ')}`);
  return text;
}
