/** Titles of questions on Stack Exchange's "Seasoned Advice" with their tags (fastText's cooking data; CC BY-SA). */
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import * as tf from '@tensorflow/tfjs-core';
import { AssetError, fetchPackage } from './fetch-package.ts';
import { fastTextPackage } from './packages.ts';

const TOPICS: readonly string[] = ['baking', 'food-safety', 'substitutions', 'equipment', 'eggs', 'meat'];

export interface TextSet {
  readonly texts: readonly string[];
  /** Index of the topic of each text. */
  readonly labels: readonly number[];
}

export interface CookingOptions {
  /** Tags; a question counts when it has exactly one of them. */
  readonly topics?: readonly string[];
  /** @default 600 */
  readonly train?: number;
  /** @default 300 */
  readonly test?: number;
}

/** Questions, evenly of each topic: question `k` of every topic before `k + 1` of any; the first `train` train, the next `test` test. */
export async function cookingQuestions({
  topics = TOPICS,
  train = 600,
  test = 300,
}: CookingOptions = {}): Promise<{ train: TextSet; test: TextSet; topics: readonly string[] }> {
  const folder = await fetchPackage(fastTextPackage);
  const lines = (await readFile(join(folder, 'examples/dataset/cooking_dataset.tsv'), 'utf8')).trim().split('\n');
  const byTopic: string[][] = topics.map(() => []);
  for (const line of lines) {
    const tags = [...line.matchAll(/__label__(\S+)/g)].map((match) => topics.indexOf(match[1]!)).filter((topic) => topic >= 0);
    if (tags.length === 1) byTopic[tags[0]!]!.push(line.replace(/__label__\S+\s*/g, '').trim());
  }
  const most = Math.min(...byTopic.map((texts) => texts.length)) * topics.length;
  if (train + test > most)
    throw new AssetError(
      'ERANGE',
      `train + test is ${train + test}; the topics ${topics.join(', ')} hold ${most} evenly. Take fewer questions or other topics.`,
    );
  const all = Array.from({ length: train + test }, (_, index) => index);
  const set = (indices: readonly number[]): TextSet => ({
    texts: indices.map((index) => byTopic[index % topics.length]![Math.floor(index / topics.length)]!),
    labels: indices.map((index) => index % topics.length),
  });
  return { train: set(all.slice(0, train)), test: set(all.slice(train)), topics };
}

/** The share of `set` whose label has the largest of the logits [n, topics] that `logits` gives n of its texts; `batch` texts at a time. */
export function accuracyOn({ texts, labels }: TextSet, logits: (texts: readonly string[]) => tf.Tensor2D, batch: number): number {
  let right = 0;
  for (let from = 0; from < texts.length; from += batch) {
    const guesses = tf.tidy(() =>
      logits(texts.slice(from, from + batch))
        .argMax(1)
        .dataSync(),
    );
    guesses.forEach((guess, i) => (right += Number(guess === labels[from + i])));
  }
  return right / texts.length;
}
