/**
 * S2A on a sentence encoder and on an image model: MiniLM learns to sort questions about cooking by topic, MobileNetV2 photos of
 * CIFAR-10; in full, by biases, by low-rank prompts, by a side branch, and by all three with the rest waiting in 4 bits. Prints accuracy,
 * trained values, memory and time of each.
 *
 *   npm start --workspace examples/s2a              several minutes on 2 cores, and what it fetches the first time
 *   npm start --workspace examples/s2a -- --quick   some 20 seconds: few questions and small photos, one epoch
 *
 * Quick: eight questions keep 29.49 MB in full, 19.35 MB by biases, 16.31 MB by prompts, 0.04 MB by the side branch and 2.48 MB by S2A; eight
 * photos 17.21, 1.75, 1.75, 0.05 and 0.29 MB. Accuracies after so few steps, from a head that knows nothing, say little.
 */
import { useBackend } from '@leantune/backends';
import { compare } from './compare.ts';
import { photos } from './photos.ts';
import { questions } from './questions.ts';

const quick = process.argv.includes('--quick');
const seed = Number(process.argv.find((arg) => arg.startsWith('--seed='))?.slice(7) ?? 1);

await useBackend('wasm');
for (const task of [questions, photos]) compare(await task(quick, seed));
