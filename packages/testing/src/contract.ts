/**
 * The contract every technique passes: sixteen laws, each a function that a test can also run alone.
 *
 * @example
 * testTechnique('lamda', {
 *   make: () => lamda({ rank: 2 }),
 *   factories: { lamda },
 *   forward: { rel: 1e-6, because: 'S starts at zero' },
 * });
 */
import * as tf from '@tensorflow/tfjs-core';
import { beforeAll, describe, test } from 'vitest';
import { all } from './all.ts';
import { composes, refuses, sameOnBackend } from './laws/combine.ts';
import { explainsFault } from './laws/errors.ts';
import { merges, refusesForeignFiles, savesAndRestores } from './laws/files.ts';
import { fitsAsUsual } from './laws/fit.ts';
import { gradientsAgreeWithDifferences, gradientsEqualStock, lossFalls } from './laws/gradients.ts';
import { nothingLeaks, savesWhatItSays } from './laws/memory.ts';
import { attachKeepsOutputs, detachRestores, onlyVariablesMove } from './laws/model.ts';
import { tinyModels } from './models/index.ts';
import type { Law, Subject } from './subject.ts';

/** The laws that hold on every model, by what they say. Law 12 is that they do, on every tiny model of the three kinds. */
export const laws: { readonly [law: string]: Law } = {
  '1 attaching changes no output, or by the stated amount': attachKeepsOutputs,
  '2 detaching restores weights and outputs bit for bit': detachRestores,
  '3 only its variables move in five steps': onlyVariablesMove,
  '4 gradients equal those of stock tfjs, or lie within the bound': gradientsEqualStock,
  '5 finite differences agree': gradientsAgreeWithDifferences,
  '6 the loss falls': lossFalls,
  '7 nothing leaks in steps, predict, dispose and detach': nothingLeaks,
  '9 saved and restored on a new copy, it gives equal outputs': savesAndRestores,
  '10 files of another base or cut short are refused, and change nothing': refusesForeignFiles,
  '11 merging keeps the outputs and leaves an ordinary model, or is refused': merges,
};

/** One model of each kind, for the laws that say nothing new on the others. */
const few = ['layers/residual', 'graph/conv', 'function/attention'];

export interface ContractOptions {
  /** The laws run on this backend: on every tiny model on cpu, on one of each kind elsewhere. @default 'cpu' */
  readonly on?: string;
  /** Law 16 runs on these, next to cpu. They must be registered, and able to train. @default none */
  readonly backends?: readonly string[];
}

/** Declares the tests of the contract for one technique. */
export function testTechnique(name: string, subject: Subject, { on = 'cpu', backends = [] }: ContractOptions = {}): void {
  const works = (on === 'cpu' ? Object.keys(tinyModels) : few).filter((model) => subject.refuses?.[model] === undefined);
  const some = few.filter((model) => works.includes(model));

  describe(`the contract of ${name}${on === 'cpu' ? '' : ` on ${on}`}`, () => {
    beforeAll(async () => {
      await tf.setBackend(on);
    });

    describe.each(works)('on %s', (model) => {
      test.each(Object.entries(laws))('%s', (_, law) => law(subject, tinyModels[model]!));
      if (!model.startsWith('layers/')) return;
      test('13 model.fit runs as usual, also with predict inside a callback', () => fitsAsUsual(subject, tinyModels[model]!));
    });

    if (subject.saves) test('8 the peak falls by the stated factor, and kept bytes equal the formula', () => savesWhatItSays(subject));

    test.each(Object.entries(subject.refuses ?? {}))('12 it refuses %s with the error %s', (model, code) =>
      refuses(subject, tinyModels[model]!, code),
    );

    const others = Object.entries(all).filter(([other]) => other !== name);
    describe.each(others)('14 together with %s, in both orders, laws 1, 2, 3 and 7 hold', (otherName, other) => {
      test.each(some.filter((model) => other.refuses?.[model] === undefined))('on %s', (model) =>
        composes(name, subject, otherName, other, tinyModels[model]!),
      );
    });

    test.each(subject.faults ?? [])('15 $what is explained', (fault) => explainsFault(fault));

    describe.each(backends)('16 on %s outputs and losses are those of cpu', (backend) => {
      test.each(some)('on %s', (model) => sameOnBackend(backend)(subject, tinyModels[model]!));
    });
  });
}
