/** Packing against the bytes worked out here. */
import { describeOn } from '@leantune/testing';
import * as tf from '@tensorflow/tfjs';
import { beforeEach, expect, test } from 'vitest';
import { useBackend } from '../../src/index.ts';
import { decodeNibbles, packNibbles, readCarrier, unpackNibbles } from '../../src/tensorflow/index.ts';

await describeOn('tensorflow', () => {
  beforeEach(() => useBackend('tensorflow').then(() => undefined));

  test('every pair of codes makes its byte, and comes back', () => {
    const codes = Array.from({ length: 512 }, (_, i) => (i % 2 === 0 ? (i >> 1) & 15 : i >> 5));
    for (const dtype of ['float32', 'int32'] as const)
      tf.tidy(() => {
        const packed = packNibbles(tf.tensor(codes, [16, 32], dtype));
        expect([...readCarrier(packed)]).toEqual(Array.from({ length: 256 }, (_, byte) => byte));
        expect([...unpackNibbles(packed, 512).dataSync()]).toEqual(codes);
      });
  });

  test.each([1, 2, 3, 9, 1001])('%d codes take half as many bytes, rounded up', (size) => {
    tf.tidy(() => {
      const codes = Array.from({ length: size }, (_, i) => (i * 7) % 16);
      const packed = packNibbles(tf.tensor(codes));
      expect(packed.shape).toEqual([Math.ceil(size / 2)]);
      expect([...unpackNibbles(packed, size).dataSync()]).toEqual(codes);
    });
  });

  test('a table says what the codes stand for', () => {
    const table = Array.from({ length: 16 }, (_, code) => (code - 7.5) ** 3);
    tf.tidy(() => {
      const packed = packNibbles(tf.tensor([0, 15, 7, 8]));
      expect([...decodeNibbles(packed, table, 4).dataSync()]).toEqual([0, 15, 7, 8].map((code) => table[code]));
    });
  });

  test('a wrong size or table is refused, and nothing stays behind', () => {
    const before = tf.memory().numTensors;
    tf.tidy(() => {
      const packed = packNibbles(tf.tensor([1, 2, 3]));
      expect(() => decodeNibbles(packed, [0, 1], 9)).toThrow(
        '[decodeNibbles] got a table of 2 and 9 codes in 2 bytes; expected 16 values, and 3 or 4 codes.',
      );
      expect(() => unpackNibbles(tf.ones([2]), 4)).toThrow('got a float32 tensor of shape [2]');
    });
    expect(tf.memory().numTensors).toBe(before);
  });
});
