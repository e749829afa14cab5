/** Matchers for tensors and memory. Import this file for its side effect. */
import { measure } from '@leantune/core';
import * as tf from '@tensorflow/tfjs-core';
import { expect } from 'vitest';

/** A tensor, or what `data()` of one gave. */
export type Numbers = tf.Tensor | ArrayLike<number> | number;

export interface Closeness {
  /** Allowed error, relative to the largest magnitude expected. @default 1e-5 */
  readonly rel?: number;
  /** Allowed error, added to the relative one. @default 0 */
  readonly abs?: number;
  /** Where the bound comes from. */
  readonly because?: string;
}

type Work = () => unknown;
type Verdict = { pass: boolean; message: () => string };

declare module 'vitest' {
  interface Matchers<T = any> {
    /** Equal shapes, and max |received − expected| <= abs + rel · max |expected|. */
    toBeClose(expected: Numbers, closeness?: Closeness): T;
    /** Equal shapes, dtypes and bits: tells −0 from 0, and takes NaN for NaN. */
    toBeBitEqual(expected: tf.Tensor): T;
    /** Runs the function four times, and compares tensors, buffers and bytes after the first and the last. Await it if the function is async. */
    toLeakNothing(): T;
    /** Measures the function: its peak of unique bytes lies below. Await it if the function is async. */
    toPeakBelow(bytes: number, options?: { readonly because?: string }): T;
  }
}

const isTensor = (value: unknown): value is tf.Tensor => value instanceof tf.Tensor;
const valuesOf = (value: Numbers): ArrayLike<number> => (isTensor(value) ? value.dataSync() : typeof value === 'number' ? [value] : value);
const shapeOf = (value: Numbers): string => `[${isTensor(value) ? value.shape : valuesOf(value).length}]`;
const reason = (because?: string): string => (because ? `, because ${because}` : '');

function then<A, B>(value: A | Promise<A>, next: (value: A) => B): B | Promise<B> {
  return value instanceof Promise ? value.then(next) : next(value);
}

function toBeClose(received: Numbers, expected: Numbers, { rel = 1e-5, abs = 0, because }: Closeness = {}): Verdict {
  const [got, want] = [valuesOf(received), valuesOf(expected)];
  const bothTensors = isTensor(received) && isTensor(expected);
  if (got.length !== want.length || (bothTensors && shapeOf(received) !== shapeOf(expected)))
    return { pass: false, message: () => `got shape ${shapeOf(received)}; expected ${shapeOf(expected)}` };
  let [scale, error, at] = [0, 0, 0];
  for (let i = 0; i < want.length; i++) {
    scale = Math.max(scale, Math.abs(want[i]!));
    const difference = got[i] === want[i] ? 0 : Math.abs(got[i]! - want[i]!);
    if (!(difference <= error)) [error, at] = [difference, i];
    if (Number.isNaN(error)) break;
  }
  const bound = abs + rel * scale;
  return {
    pass: error <= bound,
    message: () =>
      `largest error is ${error} at ${at} (got ${got[at]}, expected ${want[at]}); allowed ${bound} = ${abs} + ${rel} x ${scale}${reason(because)}`,
  };
}

function bitsOf(tensor: tf.Tensor): Uint32Array {
  const data = tensor.dataSync();
  return tensor.dtype === 'float32' ? new Uint32Array(Float32Array.from(data).buffer) : Uint32Array.from(data);
}

function toBeBitEqual(received: tf.Tensor, expected: tf.Tensor): Verdict {
  const describe = (t: tf.Tensor): string => `${t.dtype} ${shapeOf(t)}`;
  if (describe(received) !== describe(expected))
    return { pass: false, message: () => `got ${describe(received)}; expected ${describe(expected)}` };
  const [got, want] = [bitsOf(received), bitsOf(expected)];
  const at = want.findIndex((bits, i) => bits !== got[i]);
  const count = want.reduce((sum, bits, i) => sum + Number(bits !== got[i]), 0);
  return {
    pass: at < 0,
    message: () =>
      at < 0
        ? 'expected some bit to differ'
        : `${count} of ${want.length} values differ, first at ${at}: got ${received.dataSync()[at]}; expected ${expected.dataSync()[at]}`,
  };
}

function counts(): string {
  const { numTensors, numDataBuffers, numBytes } = tf.memory();
  return `${numTensors} tensors, ${numDataBuffers} buffers, ${numBytes} bytes`;
}

function toLeakNothing(work: Work): Verdict | Promise<Verdict> {
  const settled = (work: Work): string | Promise<string> => then(work(), counts);
  const judge = (before: string, after: string): Verdict => ({
    pass: before === after,
    message: () => `after the first run there were ${before}; after the fourth ${after}`,
  });
  return then(settled(work), (before) =>
    then(settled(work), () => then(settled(work), () => then(settled(work), (after) => judge(before, after)))),
  ) as Verdict | Promise<Verdict>;
}

function toPeakBelow(work: Work, bytes: number, { because }: { readonly because?: string } = {}): Verdict | Promise<Verdict> {
  return then(measure(work), ({ memory }) => ({
    pass: memory.peakBytes < bytes,
    message: () => `the peak was ${memory.peakBytes} bytes; expected less than ${bytes}${reason(because)}\n${memory}`,
  }));
}

expect.extend({ toBeClose, toBeBitEqual, toLeakNothing, toPeakBelow });
