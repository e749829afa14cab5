/** Each law of the contract fails for a technique that breaks it, and for the reason it says. */
import type { Attachment, Codec, ModelView, Technique } from '@leantune/core';
import * as tf from '@tensorflow/tfjs';
import { beforeAll, describe, expect, test } from 'vitest';
import {
  all,
  composes,
  explainsFault,
  fitsAsUsual,
  type Law,
  laws,
  type Make,
  refuses,
  type Subject,
  sameOnBackend,
  savesWhatItSays,
  tinyModels,
} from '../src/index.ts';
import { rankOne } from '../src/reference/rank-one.ts';

const dense = tinyModels['layers/dense']!;
const exact = all['rank-one']!;
const lossy = all['round-trip']!;

beforeAll(async () => {
  await tf.setBackend('cpu');
});

/** `subject` with something wrong in what its technique attaches. */
function broken(subject: Subject, change: (good: Attachment, model: ModelView) => Partial<Attachment>): Subject {
  const breakOne = (technique: Technique): Technique => ({
    ...technique,
    attach(model) {
      const good = technique.attach(model);
      return { ...good, ...change(good, model) };
    },
  });
  return { ...subject, make: () => [subject.make()].flat().map(breakOne) };
}

/** Puts `forward` at the head, beside what is there; undone by detach. */
function withForward(forward: (y: tf.Tensor) => tf.Tensor): Subject {
  return broken(exact, (good, model) => {
    const undo = model.sites('head')[0]!.replace((x, next) => forward(next(x)));
    return {
      detach: () => {
        undo();
        good.detach();
      },
    };
  });
}

/** Keeps values `factor` times too large. */
function scaledCodec(factor: number): Codec {
  return {
    name: 'scaled',
    encode: (x) => {
      const kept = tf.keep(tf.mul(x, factor));
      return { bytes: 4 * x.size, decode: () => tf.clone(kept), dispose: () => kept.dispose() };
    },
  };
}

/** Doubles the gradient of its input, without changing the value. */
const doubled = (y: tf.Tensor): tf.Tensor =>
  tf.customGrad((x) => ({ value: tf.clone(x as tf.Tensor), gradFunc: (dy: tf.Tensor) => dy.mul(2) }))(y);

/** Adds up to `amount`, growing from element to element: softmax does not see a constant. */
function addToHead(model: ModelView, amount: number): void {
  const head = model.sites('head')[0]!;
  const { shape, size } = head.kernel!;
  tf.tidy(() => head.addToKernel(tf.linspace(0, amount, size).reshape(shape)));
}

const leak = (): void => void tf.keep(tf.scalar(1));
let calls = 0;

const breaks: readonly (readonly [law: string, how: string, subject: Subject, because: RegExp])[] = [
  ['1', 'moves an output', withForward((y) => y.add([0.1, 0, 0])), /attaching claims to change nothing/],
  [
    '2',
    'leaves a weight changed',
    broken(exact, (_, model) => {
      addToHead(model, 0.1);
      return {};
    }),
    /kernel/,
  ],
  ['2', 'leaves its variables behind', broken(exact, () => ({ detach() {} })), /tensors after detach/],
  ['3', 'moves a frozen weight', broken(exact, (_, model) => ({ step: { afterStep: () => addToHead(model, 0.01) } })), /kernel/],
  ['3', 'trains nothing', broken(exact, () => ({ step: { onGradients: () => 'skip' } })), /variables after five steps/],
  ['4', 'keeps values that are off', broken(exact, () => ({ keep: () => scaledCodec(1.01) })), /it claims exact gradients/],
  ['4', 'is further off than its bound', broken(lossy, () => ({ keep: () => scaledCodec(1.2) })), /each kept value is off by at most/],
  ['5', 'has a gradient of its own that is wrong', withForward(doubled), /finite differences give/],
  [
    '6',
    'walks uphill',
    broken(exact, () => ({
      step: { onGradients: (g) => tf.tidy(() => Object.fromEntries(Object.entries(g).map(([name, t]) => [name, t.neg()]))) },
    })),
    /loss after 60 steps/,
  ],
  ['7', 'leaks in each step', broken(exact, () => ({ step: { afterStep: leak } })), /after ten steps/],
  [
    '7',
    'leaks when attached',
    broken(exact, () => {
      leak();
      return {};
    }),
    /after dispose/,
  ],
  [
    '7',
    'leaks in predict',
    withForward((y) => {
      leak();
      return y.clone();
    }),
    /after ten steps/,
  ],
  ['9', 'forgets an option', { ...exact, make: () => ({ ...rankOne({ scale: 3 }), options: { scale: 1 } }) }, /the tensors are the same/],
  [
    '11',
    'merges half',
    broken(exact, (good, model) => ({
      merge: () => {
        good.merge!();
        addToHead(model, 0.05);
      },
    })),
    /merging claims to change nothing/,
  ],
  ['11', 'does not merge', broken(exact, () => ({ merge() {} })), /merging claims to change nothing/],
];

describe('the contract catches a technique that', () => {
  test.each(breaks)('law %s: %s', async (law, _how, subject, because) => {
    await expect(lawOf(law)(subject, dense)).rejects.toThrow(because);
  });

  test('law 8: promises a smaller peak than it has', async () => {
    const subject: Subject = { ...lossy, saves: { ...lossy.saves!, peak: 0.1 } };
    await expect(savesWhatItSays(subject)).rejects.toThrow(/peak \d+ of \d+ bytes/);
  });

  test('law 8: is off by a byte in its formula', async () => {
    const subject: Subject = { ...lossy, saves: { ...lossy.saves!, kept: lossy.saves!.kept + 1 } };
    await expect(savesWhatItSays(subject)).rejects.toThrow(/kept bytes/);
  });

  test('law 10: loads a file that it should not: of a base of another name that has the same weights', async () => {
    const disguised: Make = async (seed) => ({ ...(await dense(seed)), name: 'layers/other' });
    await expect(lawOf('10')(exact, disguised)).rejects.toThrow(/the file of layers\/dense/);
  });

  test('law 12: does nothing where it should refuse', async () => {
    const idle: Subject = { ...exact, make: () => ({ name: 'idle', options: {}, attach: () => ({ detach() {} }) }) };
    const lost: Subject = { ...exact, make: () => rankOne({ targets: 'nowhere' }) };
    await expect(refuses(lost, dense, 'no-match')).resolves.toBeUndefined();
    await expect(refuses(idle, dense, 'no-match')).rejects.toThrow(/the error of finetune on layers\/dense/);
  });

  test('law 13: is disturbed by predict', async () => {
    const counting = withForward((y) => y.mul(1 + 1e-3 * calls++));
    calls = 0;
    await expect(fitsAsUsual(counting, dense)).rejects.toThrow(/losses with predict in a callback/);
  });

  test('law 14: takes no notice of the technique beneath it', async () => {
    const deaf = broken(exact, (good, model) => {
      const head = model.sites('head')[0]!;
      const undo = head.replace((x) => tf.add(tf.matMul(x as tf.Tensor2D, head.kernel as tf.Tensor2D), head.bias!));
      return {
        detach: () => {
          undo();
          good.detach();
        },
      };
    });
    await expect(composes('deaf', deaf, 'rank-one', exact, dense)).rejects.toThrow(/does not depend on/);
  });

  test('law 15: says something else', async () => {
    const fault = { what: 'scale 0', make: () => rankOne({ scale: 0 }), code: 'bad-option', message: 'no' };
    await expect(explainsFault(fault)).rejects.toThrow(/got scale = 0/);
  });

  test('law 16: computes something else on another backend', async () => {
    const fickle = withForward((y) => (tf.getBackend() === 'cpu' ? y.clone() : y.mul([1.1, 1, 1])));
    tf.registerBackend('elsewhere', () => tf.findBackend('cpu'));
    for (const kernel of tf.getKernelsForBackend('cpu')) tf.registerKernel({ ...kernel, backendName: 'elsewhere' });
    await expect(sameOnBackend('elsewhere')(exact, dense)).resolves.toBeUndefined();
    await expect(sameOnBackend('elsewhere')(fickle, dense)).rejects.toThrow(/on elsewhere/);
  });
});

function lawOf(number: string): Law {
  return Object.entries(laws).find(([name]) => name.startsWith(`${number} `))![1];
}
