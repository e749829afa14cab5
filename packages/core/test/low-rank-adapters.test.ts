/** Named adapters on one base, and another kernel at a site of any kind. */
import { finetune, type Technique } from '@leantune/core';
import { adaptersOf, type Factors, join, type LowRankSite, lowRankSites, matrixShape, type SiteAdapter } from '@leantune/core/low-rank';
import { tinyModels } from '@leantune/testing';
import * as tf from '@tensorflow/tfjs';
import { beforeAll, describe, expect, test } from 'vitest';
import { FactorAdapter } from '../src/low-rank/index.ts';

beforeAll(async () => {
  await tf.setBackend('cpu');
});

const random = (shape: number[], seed: number) => tf.randomNormal(shape, 0, 0.5, 'float32', seed);
const close = { rel: 1e-5, because: 'sums in another order' };

function factorsFor(site: LowRankSite, seed: number, rank = 2): Factors {
  const [dIn, dOut] = matrixShape(site);
  return { down: random([dIn, rank], seed), up: random([rank, dOut], seed + 1) };
}

/** A technique with fixed factors at its targets, and a gain that trains so that there is something to. */
function fixed(name: string, targets: string[], seed: number): Technique {
  return {
    name,
    options: {},
    attach(model) {
      const sites = lowRankSites(model, targets, name);
      const adapters = new Map<LowRankSite, SiteAdapter>(
        sites.map((site, i) => [site, new FactorAdapter(factorsFor(site, seed + 10 * i), site)]),
      );
      const member = join(model, name, adapters, name);
      const gain = tf.tidy(() => tf.variable(tf.scalar(1)));
      return {
        variables: [gain],
        merge: () => member.merge(),
        detach() {
          member.leave();
          for (const one of adapters.values()) one.dispose();
          gain.dispose();
        },
      };
    },
  };
}

/** Every site an adapter fits, in every kind of model. */
const places: readonly (readonly [model: string, site: string])[] = [
  ['layers/dense', 'hidden'],
  ['layers/conv', 'conv_1'],
  ['layers/residual', 'stem'],
  ['layers/text', 'embed'],
  ['layers/text', 'mix'],
  ['graph/matmul', 'hidden/MatMul'],
  ['graph/conv', 'conv/Conv2D'],
  ['graph/fused', 'conv/Fused'],
  ['graph/fused', 'middle/Fused'],
  ['function/conv', 'conv/kernel'],
  ['function/attention', 'attention/query'],
];

describe.each(places)('on %s, %s', (name, site) => {
  test('the narrow way past a kernel gives what the product added to the kernel gives', async () => {
    const tiny = await tinyModels[name]!();
    const before = tiny.predict();
    const tuned = finetune(tiny.model as never, fixed('one', [site], 1));
    const beside = tiny.predict();
    for (const [i, y] of beside.entries()) expect(y.sub(before[i]!).abs().max().dataSync()[0]).toBeGreaterThan(1e-3);
    const adapters = adaptersOf(tiny.model as object);
    adapters.merge();
    for (const [i, y] of tiny.predict().entries()) expect(y).toBeClose(beside[i]!, close);
    adapters.unmerge();
    for (const [i, y] of tiny.predict().entries()) expect(y).toBeBitEqual(beside[i]!);
    tuned.merge();
    for (const [i, y] of tiny.predict().entries()) expect(y).toBeClose(beside[i]!, close);
    tiny.dispose();
  });
});

describe('several adapters on one base', () => {
  async function subject() {
    const tiny = await tinyModels['layers/dense']!();
    const base = tiny.predict()[0]!;
    const tuned = finetune(tiny.model as never, [fixed('a', ['hidden', 'middle'], 1), fixed('b', ['middle', 'head'], 100)]);
    return { tiny, base, tuned, adapters: adaptersOf(tiny.model as object), predict: () => tiny.predict()[0]! };
  }

  test('are used one at a time, together, weighed, or not at all', async () => {
    const { tiny, base, tuned, adapters, predict } = await subject();
    expect(adapters.names).toEqual(['a', 'b']);
    expect(adapters.active).toEqual({ a: 1, b: 1 });
    const both = predict();
    adapters.use('a');
    const a = predict();
    adapters.use(['a', 'b']);
    expect(predict()).toBeBitEqual(both);
    adapters.use([]);
    expect(predict()).toBeBitEqual(base);
    adapters.use({ a: 0.5, b: 0.25 });
    const weighed = predict();
    adapters.combine('c', { a: 0.5, b: 0.25 });
    adapters.use('c');
    expect(predict()).toBeClose(weighed, close);
    expect(adapters.factors('c')['middle']!.up.shape).toEqual([4, 8]); // the sum of the ranks
    adapters.use('a');
    expect(predict()).toBeBitEqual(a);
    adapters.delete('c');
    expect(adapters.names).toEqual(['a', 'b']);
    adapters.use({ a: 0.5, b: 0.25 });
    tuned.merge();
    expect(predict()).toBeClose(weighed, close);
    tiny.dispose();
  });

  test('one that is added runs, leaves with the last technique, and leaks nothing', async () => {
    const { tiny, base, tuned, adapters, predict } = await subject();
    const others = adapters.sites('a');
    expect(() => {
      adapters.add('d', Object.fromEntries(others.map((site, i) => [site.name, factorsFor(site, i)])));
      adapters.delete('d');
    }).toLeakNothing();
    adapters.add('d', Object.fromEntries(others.map((site, i) => [site.name, factorsFor(site, i)])));
    adapters.use('d');
    expect(predict().sub(base).abs().max().dataSync()[0]).toBeGreaterThan(1e-3);
    adapters.merge();
    tuned.detach(); // while merged
    expect(predict()).toBeBitEqual(base);
    expect(() => adaptersOf(tiny.model as object)).toThrow('[adaptersOf] got a model without low-rank adapters');
    tiny.dispose();
  });

  test('faults are explained, and change nothing', async () => {
    const { tiny, tuned, adapters, predict } = await subject();
    const before = predict();
    expect(() => adapters.use(['a', 'x', 'y'])).toThrow('[use] got "x", "y"; expected adapters among "a", "b".');
    expect(() => adapters.delete('a')).toThrow('[delete] "a" belongs to a technique, and leaves with it. Switch it off with use().');
    expect(() => adapters.combine('b', { a: 1 })).toThrow('[combine] this model has an adapter "b" already.');
    adapters.merge();
    expect(() => adapters.use('a')).toThrow('[use] called while adapters are merged. Call unmerge() first.');
    adapters.unmerge();
    expect(predict()).toBeBitEqual(before);
    tuned.dispose();
    const twice = [fixed('a', ['hidden'], 1), fixed('a', ['head'], 2)];
    expect(() => finetune(tiny.model as never, twice)).toThrow('[a] this model has an adapter "a" already.');
    tiny.dispose();
  });
});
