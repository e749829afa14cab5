/**
 * QLoRA: stories15M frozen in 4 bits a value learns to ask about cooking through low-rank adapters, in less memory than its weights take in
 * float32. The adapter is saved, and goes on the model in float32 as well.
 *
 *   npm run qlora --workspace examples/transformers              some minutes on 2 cores, and 120 MB to fetch the first time
 *   npm run qlora --workspace examples/transformers -- --quick   less than 20 s, with fewer questions
 *
 * --quick: perplexity of other questions 3879 -> 453, at the peak 56.2 MB; the adapter has 1.05 MB.
 */
import { storiesCheckpoint } from '@leantune/assets';
import { useBackend } from '@leantune/backends';
import { adamW, finetune, measure } from '@leantune/core';
import { lora } from '@leantune/lora';
import { fromPretrained, languageBatches, loadTokenizer, lossModel, meanLoss } from '@leantune/transformers';
import * as tf from '@tensorflow/tfjs';
import { cookingBatches, perplexity } from './cooking.ts';

const quick = process.argv.includes('--quick');
const started = performance.now();

await useBackend('wasm');
const checkpoint = await storiesCheckpoint();
const tokenizer = await loadTokenizer(checkpoint);
const model = await fromPretrained(checkpoint, { storage: 'nf4', inputs: ['input_ids', 'attention_mask'] });
const { batches, tests } = await cookingBatches(tokenizer, quick);

const trainer = lossModel(model);
const tuned = finetune(trainer, lora({ r: 8, lora_alpha: 16 })); // every linear layer, by the names of the checkpoint
console.log(String(tuned.summary()));
console.log(`Before: perplexity of other questions ${perplexity(trainer, tests).toFixed(0)}`);

trainer.compile({ optimizer: tuned.optimizer(adamW({ learningRate: 3e-3 })), loss: meanLoss });
const data = tf.data.generator(() => languageBatches(trainer, batches)) as tf.data.Dataset<any>;
const { memory } = await measure(() => trainer.fitDataset(data, { epochs: quick ? 2 : 3, verbose: 0 }));
console.log(`After: perplexity of other questions ${perplexity(trainer, tests).toFixed(0)}`);
console.log(`At the peak ${(memory.peakBytes / 1e6).toFixed(1)} MB, all weights included, which in float32 alone take 60.8 MB.`);

let bytes = 0;
await tuned.save(
  tf.io.withSaveHandler(async ({ weightData }) => {
    bytes = tf.io.CompositeArrayBuffer.join([weightData!].flat()).byteLength; // a browser would upload it; Node has 'file://adapter'
    return { modelArtifactsInfo: { dateSaved: new Date(), modelTopologyType: 'JSON' } };
  }),
);
console.log(`The adapter has ${(bytes / 1e6).toFixed(2)} MB. Done in ${((performance.now() - started) / 1000).toFixed(0)} s.`);
