import * as tf from '@tensorflow/tfjs';
import { beforeAll, describe, expect, test } from 'vitest';
import '../src/matchers.ts';

beforeAll(async () => {
  await tf.setBackend('cpu');
});

describe('toBeClose', () => {
  const x = tf.tensor1d([1, -4, 0]);

  test('allows an error relative to the largest magnitude expected', () => {
    expect(tf.tensor1d([1.03, -4, 0.03])).toBeClose(x, { rel: 0.01 });
    expect(tf.tensor1d([1.05, -4, 0])).not.toBeClose(x, { rel: 0.01 });
    expect([1, -4, 0.5]).toBeClose(x, { rel: 0, abs: 0.5 });
    expect(2).toBeClose(2.0000001);
  });

  test('refuses another shape, and NaN', () => {
    expect(x.reshape([3, 1])).not.toBeClose(x);
    expect([1, -4]).not.toBeClose(x);
    expect([NaN, -4, 0]).not.toBeClose(x, { rel: 100 });
    expect([NaN, -4, 1000]).not.toBeClose(x, { rel: 100 });
  });

  test('says where the bound comes from', () => {
    expect(() => expect([1, -3, 0]).toBeClose(x, { rel: 1 / 15, because: '4-bit step is 1/15 of the range' })).toThrow(
      /largest error is 1 at 1 \(got -3, expected -4\); allowed 0\.26\d+ = 0 \+ 0\.06\d+ x 4, because 4-bit step is 1\/15 of the range/,
    );
  });
});

test('toBeBitEqual tells −0 from 0, takes NaN for NaN, and looks at dtype and shape', () => {
  expect(tf.tensor1d([NaN, 0])).toBeBitEqual(tf.tensor1d([NaN, 0]));
  expect(tf.tensor1d([-0])).not.toBeBitEqual(tf.tensor1d([0]));
  expect(tf.tensor1d([1])).not.toBeBitEqual(tf.tensor1d([1], 'int32'));
  expect(tf.tensor1d([1])).not.toBeBitEqual(tf.tensor2d([[1]]));
  expect(tf.tensor1d([1, 2], 'int32')).toBeBitEqual(tf.tensor1d([1, 2], 'int32'));
  expect(() => expect(tf.tensor1d([1, 2, 3])).toBeBitEqual(tf.tensor1d([1, 5, 4]))).toThrow(
    '2 of 3 values differ, first at 1: got 2; expected 5',
  );
});

describe('toLeakNothing', () => {
  test('passes what cleans up, and what leaks only the first time', async () => {
    const cache: tf.Tensor[] = [];
    expect(() => {
      if (cache.length === 0) cache.push(tf.scalar(1));
      tf.scalar(2).dispose();
    }).toLeakNothing();
    await expect(async () => tf.scalar(2).dispose()).toLeakNothing();
  });

  test('fails what leaves a tensor, a larger tensor or a handle, also when async', async () => {
    expect(() => tf.scalar(1)).not.toLeakNothing();
    await expect(expect(async () => tf.scalar(1)).toLeakNothing()).rejects.toThrow(/after the first run there were .* after the fourth/);
    let grown = tf.zeros([1]);
    expect(() => {
      const larger = tf.zeros([grown.size + 1]);
      grown.dispose();
      grown = larger;
    }).not.toLeakNothing();
  });
});

describe('toPeakBelow', () => {
  const work = (): void => tf.tidy(() => void tf.zeros([256]).add(1)); // two buffers of 1,024 bytes

  test('measures unique bytes', async () => {
    expect(work).toPeakBelow(2100);
    expect(work).not.toPeakBelow(2048);
    await expect(async () => work()).toPeakBelow(2100);
  });

  test('shows the table when it fails', () => {
    expect(() => expect(work).toPeakBelow(1000, { because: 'one buffer is enough' })).toThrow(
      /the peak was \d+ bytes; expected less than 1000, because one buffer is enough\n.*transient/s,
    );
  });
});
