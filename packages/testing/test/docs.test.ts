/** The programs in README and docs type-check, the README's print what it says they print, and links lead somewhere. */
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { finetune, measure, valueAndGrads } from '@leantune/core';
import * as tf from '@tensorflow/tfjs';
import ts from 'typescript';
import { expect, test } from 'vitest';
import { printed, written } from '../../../scripts/readme.ts';

const root = join(import.meta.dirname, '../../..');
const docs = readdirSync(join(root, 'docs'), { recursive: true, encoding: 'utf8' }).filter((path) => path.endsWith('.md'));
const pages = ['README.md', 'CONTRIBUTING.md', ...docs.map((path) => join('docs', path))];
const textOf = (page: string): string => readFileSync(join(root, page), 'utf8');

/** The fenced `ts` blocks of a page that stand on their own: those that import something. */
function programs(page: string): string[] {
  const blocks = [...textOf(page).matchAll(/^```ts\n([\s\S]*?)^```/gm)].map((match) => match[1]!);
  return blocks.filter((block) => /^import /m.test(block));
}

test('every program in the docs type-checks', () => {
  const { config } = ts.readConfigFile(join(root, 'tsconfig.json'), ts.sys.readFile);
  const { options } = ts.parseJsonConfigFileContent({ ...config, include: [] }, ts.sys, root);
  const files = new Map(pages.flatMap((page) => programs(page).map((code, i) => [join(root, `${page}.${i}.ts`), code] as const)));
  const host = ts.createCompilerHost(options);
  const { fileExists, getSourceFile, readFile } = host;
  host.fileExists = (path) => files.has(path) || fileExists(path);
  host.readFile = (path) => files.get(path) ?? readFile(path);
  host.getSourceFile = (path, target, ...rest) =>
    files.has(path) ? ts.createSourceFile(path, files.get(path)!, target) : getSourceFile(path, target, ...rest);
  const program = ts.createProgram([...files.keys()], options, host);
  const faults = [...files.keys()].flatMap((path) => {
    const source = program.getSourceFile(path)!;
    return [...program.getSyntacticDiagnostics(source), ...program.getSemanticDiagnostics(source)];
  });
  expect(files.size).toBeGreaterThan(2);
  expect(
    ts.formatDiagnostics(faults, { getCanonicalFileName: (path) => path, getCurrentDirectory: () => root, getNewLine: () => '\n' }),
  ).toBe('');
});

test('the first program of the README prints what the README says; if not, `npx tsx scripts/readme.ts` writes it', () => {
  expect(written()).toBe(printed());
});

test('every relative link leads to a file', () => {
  const broken = pages.flatMap((page) => {
    const links = [...textOf(page).matchAll(/\]\((?!https?:|#)([^)#]+)[^)]*\)/g)].map((match) => match[1]!);
    return links.filter((link) => !existsSync(join(root, dirname(page), link))).map((link) => `${page}: ${link}`);
  });
  expect(broken).toEqual([]);
});

/** The most that waits for backward while the gradients of `variables` are taken. */
function keptBytes(loss: () => tf.Scalar, variables: tf.Variable[]): number {
  return measure(() => tf.dispose(valueAndGrads(loss, variables))).memory.keptBytes;
}

test.each([
  [2, 3, 4],
  [64, 32, 10],
])('a softmax head of batch %i, %i inputs and %i classes keeps the bytes of the formula in the memory guide', async (B, D, U) => {
  const features = tf.layers.dense({ inputShape: [5], units: D, activation: 'relu' });
  const head = tf.layers.dense({ units: U, activation: 'softmax' });
  const model = tf.sequential({ layers: [features, head] });
  const x = tf.randomNormal([B, 5], 0, 1, 'float32', 7);
  const y = tf.oneHot(
    tf.tensor1d(
      Array.from({ length: B }, (_, i) => i % U),
      'int32',
    ),
    U,
  );
  const loss = (): tf.Scalar => tf.metrics.categoricalCrossentropy(y, model.apply(x) as tf.Tensor).mean();
  const variables = head.trainableWeights.map((weight) => weight.read() as tf.Variable);
  expect(keptBytes(loss, variables)).toBe(4 * B * D + 9 * B * U + 4 * B);

  const tuned = finetune(model, [], { trainable: head.name });
  model.compile({ optimizer: tuned.optimizer(tf.train.sgd(0.1)), loss: 'categoricalCrossentropy' });
  const { memory } = await measure(() => model.fit(x, y, { batchSize: B, verbose: 0 }));
  expect(memory.keptBytes).toBe(4 * B * D + 9 * B * U + 4 * B + 4 * B * U);
  tuned.dispose();
});

test('a chain of dense tanh layers keeps the bytes of the formula in the memory guide', () => {
  const [B, D, L] = [6, 5, 7];
  const weights = Array.from({ length: L }, (_, i) => tf.variable(tf.randomNormal([D, D], 0, 1, 'float32', i)));
  const x = tf.randomNormal([B, D], 0, 1, 'float32', 7);
  const loss = (): tf.Scalar => weights.reduce<tf.Tensor>((h, w) => tf.tanh(tf.matMul(h, w)), x).mean();
  expect(keptBytes(loss, weights)).toBe(4 * B * D * L);
});
