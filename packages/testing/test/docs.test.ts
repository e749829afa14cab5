/** The programs in README and docs type-check and run, the README's print what it says they print, and links lead somewhere. */
import { existsSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { finetune, measure, valueAndGrads } from '@leantune/core';
import * as tf from '@tensorflow/tfjs';
import ts from 'typescript';
import { expect, test } from 'vitest';
import { pairsTable, writtenTable } from '../../../scripts/combine.ts';
import { packageReadmes, pages, programsOf, runPages, textOf, withReadmes } from '../../../scripts/pages.ts';
import { printed, written } from '../../../scripts/readme.ts';

const root = join(import.meta.dirname, '../../..');
test('every program in the docs type-checks', () => {
  const { config } = ts.readConfigFile(join(root, 'tsconfig.json'), ts.sys.readFile);
  const { options } = ts.parseJsonConfigFileContent({ ...config, include: [] }, ts.sys, root);
  const files = new Map(
    [...pages, ...packageReadmes].flatMap((page) => programsOf(page).map((code, i) => [join(root, `${page}.${i}.ts`), code] as const)),
  );
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

test('the programs of the tour, of the guides and of the READMEs of packages run, one after the other', () => {
  const said = runPages();
  const [, stock, now] = /peak: (\d+) bytes with tfjs, (\d+) now/.exec(said)!;
  expect(Number(now)).toBeLessThan(0.6 * Number(stock));
  expect(said).toContain('outputs differ by 0\n'); // of the adapter that the tour restores
  expect(Number(/merged: outputs differ by (\S+)/.exec(said)![1])).toBeLessThan(1e-5);
});

/** What `#…` may name on a page: its headings, as GitHub makes anchors of them. */
const anchorsOf = (page: string): string[] =>
  [...textOf(page).matchAll(/^#+ (.*)$/gm)].map(([, title]) =>
    title!
      .toLowerCase()
      .replace(/[^\p{L}\p{N} _-]/gu, '')
      .replaceAll(' ', '-'),
  );

test('every relative link leads to a file, and to a heading that is there', () => {
  const broken = withReadmes.flatMap((page) => {
    const links = [...textOf(page).matchAll(/\]\((?!https?:|mailto:)([^)#\s]*)(?:#([^)\s]*))?\)/g)];
    return links.flatMap(([link, path, anchor]) => {
      const target = path ? join(dirname(page), path) : page;
      const found = existsSync(join(root, target)) && (anchor === undefined || anchorsOf(target).includes(anchor));
      return found ? [] : [`${page}: ${link}`];
    });
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

test('techniques combine as the table says; if not, `npx tsx --conditions=@leantune/source scripts/combine.ts` writes it', async () => {
  expect(writtenTable()).toBe(await pairsTable());
});
