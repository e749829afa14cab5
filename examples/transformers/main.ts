/**
 * A language model that tells children's stories learns to ask about cooking: stories15M, a Llama of 15 million weights, read from a
 * Hugging Face checkpoint. Its last two layers train, on packed rows, with a loss that never holds the logits.
 *
 *   npm start --workspace examples/transformers              several minutes on 2 cores, and 120 MB to fetch the first time
 *   npm start --workspace examples/transformers -- --quick   about a minute, with fewer questions
 */
import { cookingQuestions, progressBar, storiesCheckpoint } from '@leantune/assets';
import { useBackend } from '@leantune/backends';
import { adamW, finetune, measure } from '@leantune/core';
import {
  byLength,
  type Example,
  fromPretrained,
  generate,
  languageBatches,
  loadTokenizer,
  lossModel,
  meanLoss,
  pack,
} from '@leantune/transformers';
import * as tf from '@tensorflow/tfjs';

const quick = process.argv.includes('--quick');
const started = performance.now();
const batchSize = 4;
const END = 1; // of a story: in its pretraining the next one begins there, with <s>

await useBackend('wasm');
const checkpoint = await storiesCheckpoint();
const tokenizer = await loadTokenizer(checkpoint);
const model = await fromPretrained(checkpoint, { inputs: ['input_ids', 'attention_mask'] });
const questions = await cookingQuestions({ train: quick ? 120 : 480, test: 60 });
const tokensOf = (text: string): Example => ({ ids: [...tokenizer.encode(text), END] });
const rows = pack(questions.train.texts.map(tokensOf), { length: 64 });
const tests = byLength(questions.test.texts.map(tokensOf), { batchSize: 20 });

// The same layers, ending in losses: what it learns, `model` speaks.
const trainer = lossModel(model);
const tuned = finetune(trainer, [], { trainable: /^model\.layers\.[45]\./ });
console.log(`${tuned.summary()}\n${questions.train.texts.length} questions in ${rows.length} rows of 64 tokens\n`);

console.log(`Before: perplexity of other questions ${perplexity().toFixed(0)}`);
await ask();

const epochs = quick ? 2 : 3;
const batches = Array.from({ length: Math.ceil(rows.length / batchSize) }, (_, i) => rows.slice(i * batchSize, (i + 1) * batchSize));
const bar = progressBar(`Learning, ${epochs} epoch(s)`, epochs * batches.length);
trainer.compile({ optimizer: tuned.optimizer(adamW({ learningRate: 3e-4 })), loss: meanLoss });
const data = tf.data.generator(() => languageBatches(trainer, batches)) as tf.data.Dataset<any>;
let done = 0;
const onBatchEnd = async (_: number, logs?: tf.Logs) => bar.update(++done, `loss ${logs!['loss']!.toFixed(2)}`);
const { memory } = await measure(() => trainer.fitDataset(data, { epochs, verbose: 0, callbacks: { onBatchEnd } }));
bar.stop();

console.log(`\nAfter: perplexity of other questions ${perplexity().toFixed(0)}`);
await ask();
const logits = (batchSize * 64 * 32_000 * 4) / 1e6;
console.log(`\nTraining kept ${(memory.keptBytes / 1e6).toFixed(1)} MB for backward; the logits alone would be ${logits.toFixed(1)} MB.`);
console.log(`Done in ${((performance.now() - started) / 1000).toFixed(0)} s.`);

/** e to the mean loss of a token. */
function perplexity(): number {
  return tf.tidy(() => {
    const sums = [...languageBatches(trainer, tests)].map(({ xs }) =>
      tf.sum(trainer.predict(trainer.inputNames.map((name) => xs[name]!)) as tf.Tensor, 0),
    );
    const [loss, count] = tf.addN(sums).dataSync() as Float32Array;
    return Math.exp(loss! / count!);
  });
}

/** Lets the model go on with the beginning of a question. */
async function ask(): Promise<void> {
  for (const [seed, beginning] of ['How do I', 'What can I use', 'Is it safe to'].entries()) {
    const prompt = tokenizer.encode(beginning);
    const more = await generate(model, prompt, { maxTokens: 24, temperature: 0.7, topK: 10, seed, stop: [END] });
    console.log(`  ${tokenizer.decode([...prompt, ...more]).replaceAll('\n', ' ')}`);
  }
}
