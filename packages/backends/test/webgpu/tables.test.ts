/**
 * Products that read the words of a frozen table through tiles in workgroup memory, as on GPUs, against products with what the words stand
 * for. How adapters on the processor multiply is tested with all formats in packages/transformers/test/packed.test.ts.
 */
import { describeOn } from '@leantune/testing';
import * as tf from '@tensorflow/tfjs';
import { beforeAll, expect, test } from 'vitest';
import { useBackend } from '../../src/index.ts';
import type { TableRow } from '../../src/tables.ts';
import type { WebGPUBackend } from '../../src/webgpu/index.ts';
import { matMul } from '../../src/webgpu/products/mat-mul.ts';
import { smallTiles } from '../../src/webgpu/products/plan.ts';
import { distance, random } from '../compare.ts';

const columns = 96;
const levels = Array.from({ length: 32 }, (_, i) => Math.tanh(i / 8 - 2));
// 1 word for the largest scale, 1 for the scales of 3 groups of 32, then codes and fifth bits
const layouts: readonly TableRow[] = [
  { format: 'nf5', columns, group: 32, bits: 5, codes: 2, fifths: 14, words: 17, levels },
  { format: 'bfloat16', columns, words: 48 },
];

/** Words of any bits, but for what would not be a finite number. */
function wordsOf(rows: number, { format, words }: TableRow): tf.Tensor {
  const bits = Int32Array.from({ length: rows * words }, (_, i) => Math.imul(i + 1, 0x9e3779b1));
  for (let i = 0; i < bits.length; i++)
    if (format === 'bfloat16')
      bits[i]! &= ~0x40004000; // below 2
    else if (i % words === 0) bits[i] = 0x3f800000 + i; // about 1
  return tf.tensor(bits, [rows, words], 'int32');
}

const gpu = () => tf.backend() as WebGPUBackend;
const none = () => tf.tensor1d([], 'int32');
const tensorOf = (info: tf.TensorInfo) => tf.engine().makeTensorFromTensorInfo(info);

await describeOn('webgpu', () => {
  beforeAll(() => useBackend('webgpu'));

  test.each(layouts)('$format', (row) => {
    const before = tf.backend().numDataIds();
    tf.tidy(() => {
      const rows = 37;
      const words = wordsOf(rows, row);
      const attrs = { layout: row, finerLayout: row, from: 0, size: rows } as object as tf.NamedAttrMap;
      const inputs = { packed: words, finerRows: none(), finer: none() };
      const plain = tf.engine().runKernel('UnpackTable', inputs, attrs) as tf.Tensor2D;
      const table = { ...words, dataId: words.dataId, shape: [rows, columns] } as tf.TensorInfo;
      const how = { row, plan: smallTiles };
      const given = (shape: [number, number], seed: number) => tf.tensor2d(random(shape, seed).data as number[], shape);
      const [x, dy] = [given([13, columns], 1), given([13, rows], 2)];
      const [y, dx] = [matMul(gpu(), x, table, { ...how, transposeB: true }), matMul(gpu(), dy, table, how)].map(tensorOf);
      expect(distance(y!.dataSync(), tf.matMul(x, plain, false, true).dataSync())).toBeLessThanOrEqual(1e-6);
      expect(distance(dx!.dataSync(), tf.matMul(dy, plain).dataSync())).toBeLessThanOrEqual(1e-6);
    });
    expect(tf.backend().numDataIds()).toBe(before);
  });
});
