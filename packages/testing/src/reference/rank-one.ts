/**
 * Trains the smallest adapter there is. An exact technique, to hold the contract against.
 *
 *   y = x·W + bias + (x·a)·b        a [dIn] seeded, b [dOut] from zero; both trained
 *
 * merge: W += a bᵀ.
 */
import { FinetuneError, type Site, type SiteFilter, type Technique } from '@leantune/core';
import * as tf from '@tensorflow/tfjs-core';
import type { Subject } from '../subject.ts';

export type RankOneOptions = {
  /** @default all dense layers */
  readonly targets?: string;
  /** Multiplies the adapter. Above 0. @default 1 */
  readonly scale?: number;
};

let made = 0;

export function rankOne({ targets, scale = 1 }: RankOneOptions = {}): Technique {
  if (!(scale > 0))
    throw new FinetuneError('bad-option', 'rank-one', `got scale = ${scale}; expected a number above 0. Leave it out for 1.`);
  const filter: SiteFilter = targets ?? ((site) => site.kind === 'dense');
  return {
    name: 'rank-one',
    options: { targets, scale },
    attach(model) {
      const adapters = model.sites(filter, 'rank-one').map((site, i) => adapt(site, scale, i));
      return {
        variables: adapters.flatMap(({ a, b }) => [a, b]),
        merge: () => {
          for (const { site, a, b } of adapters)
            tf.tidy(() => site.addToKernel(tf.mul(tf.outerProduct(a as tf.Variable<tf.Rank.R1>, b as tf.Variable<tf.Rank.R1>), scale)));
        },
        detach: () => {
          for (const { a, b, undo } of adapters) {
            undo();
            tf.dispose([a, b]);
          }
        },
      };
    },
  };
}

function adapt(site: Site, scale: number, seed: number): { site: Site; a: tf.Variable; b: tf.Variable; undo: () => void } {
  const [dIn, dOut] = site.kernel!.shape as [number, number];
  const id = ++made; // engine-wide names are unique; files leave the number out
  const [a, b] = tf.tidy(() => [
    tf.variable(tf.randomNormal([dIn], 0, dIn ** -0.5, 'float32', seed + 1), true, `${site.name}/a#${id}`),
    tf.variable(tf.zeros([dOut]), true, `${site.name}/b#${id}`),
  ]) as [tf.Variable, tf.Variable];
  const undo = site.replace((x, next) => {
    const along = tf.sum(tf.mul(x, a), -1, true); // [..., 1]
    return tf.add(next(x), tf.mul(along, tf.mul(b, scale)));
  });
  return { site, a, b, undo };
}

export const rankOneSubject: Subject = {
  make: () => rankOne(),
  factories: { 'rank-one': rankOne },
  learns: { steps: 60, rate: 0.05, to: 0.95 },
  faults: [
    {
      what: 'a scale of 0',
      make: () => rankOne({ scale: 0 }),
      code: 'bad-option',
      message: '[rank-one] got scale = 0; expected a number above 0. Leave it out for 1.',
    },
    {
      what: 'a target that is not there',
      make: () => rankOne({ targets: 'hiden' }),
      code: 'no-match',
      message:
        '[rank-one] got "hiden", which matches nothing in this model; expected names such as "hidden", "middle", "head". ' +
        'Use a whole name, its last segments, a RegExp, a list of these that all match, or a function of the site.',
    },
  ],
};
