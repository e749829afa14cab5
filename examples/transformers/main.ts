/**
 * A language model that tells children's stories learns to ask about cooking: stories15M, a Llama of 15 million weights, read from a
 * Hugging Face checkpoint. Its last two layers train, on packed rows, with a loss that never holds the logits.
 *
 *   npm start --workspace examples/transformers              several minutes on 2 cores, and 120 MB to fetch the first time
 *   npm start --workspace examples/transformers -- --quick   less than 20 s, with fewer questions
 *
 * --quick: perplexity of other questions 3431 -> 531. It keeps 10.0 MB for backward, where the logits alone would be 32.8 MB.
 */
import { progressBar, storiesCheckpoint } from '@leantune/assets';
import { useBackend } from '@leantune/backends';
import { adamW, finetune, measure } from '@leantune/core';
import { fromPretrained, generate, languageBatches, loadTokenizer, lossModel, meanLoss } from '@leantune/transformers';
import * as tf from '@tensorflow/tfjs';
import { cookingBatches, END, perplexity } from './cooking.ts';

const quick = process.argv.includes('--quick');
const started = performance.now();

await useBackend('wasm');
const checkpoint = await storiesCheckpoint();
const tokenizer = await loadTokenizer(checkpoint);
const model = await fromPretrained(checkpoint, { inputs: ['input_ids', 'attention_mask'] });
const { questions, batches, tests } = await cookingBatches(tokenizer, quick);

// The same layers, ending in losses: what it learns, `model` speaks.
const trainer = lossModel(model);
const tuned = finetune(trainer, [], { trainable: /^model\.layers\.[45]\./ });
console.log(`${tuned.summary()}\n${questions} questions in ${batches.flat().length} rows of 64 tokens\n`);

console.log(`Before: perplexity of other questions ${perplexity(trainer, tests).toFixed(0)}`);
await ask();

const epochs = quick ? 2 : 3;
const bar = progressBar(`Learning, ${epochs} epoch(s)`, epochs * batches.length);
trainer.compile({ optimizer: tuned.optimizer(adamW({ learningRate: 3e-4 })), loss: meanLoss });
const data = tf.data.generator(() => languageBatches(trainer, batches)) as tf.data.Dataset<any>;
let done = 0;
const onBatchEnd = async (_: number, logs?: tf.Logs) => bar.update(++done, `loss ${logs!['loss']!.toFixed(2)}`);
const { memory } = await measure(() => trainer.fitDataset(data, { epochs, verbose: 0, callbacks: { onBatchEnd } }));
bar.stop();

console.log(`\nAfter: perplexity of other questions ${perplexity(trainer, tests).toFixed(0)}`);
await ask();
const logits = (batches[0]!.length * 64 * 32_000 * 4) / 1e6;
console.log(`\nTraining kept ${(memory.keptBytes / 1e6).toFixed(1)} MB for backward; the logits alone would be ${logits.toFixed(1)} MB.`);
console.log(`Done in ${((performance.now() - started) / 1000).toFixed(0)} s.`);

/** Lets the model go on with the beginning of a question. */
async function ask(): Promise<void> {
  for (const [seed, beginning] of ['How do I', 'What can I use', 'Is it safe to'].entries()) {
    const prompt = tokenizer.encode(beginning);
    const more = await generate(model, prompt, { maxTokens: quick ? 12 : 24, temperature: 0.7, topK: 10, seed, stop: [END] });
    console.log(`  ${tokenizer.decode([...prompt, ...more]).replaceAll('\n', ' ')}`);
  }
}
