/**
 * y = x Wᵀ with a frozen W that is packed: W is unpacked by blocks of rows, in forward and again for dx, from one copy. What waits
 * for backward is nothing but W itself.
 *
 *     y[:, rows] = x · W[rows]ᵀ     dx = Σ dy[:, rows] · W[rows]
 */
import * as tf from '@tensorflow/tfjs-core';
import { defineBlock } from './block.ts';
import { type Bits, type PackedTable, perWord, rowsOf, unpackTable } from './packed-table.ts';

/** Unpacked values in memory at a time: 1 MiB. */
const MAX_VALUES = 2 ** 18;

interface PackedAttrs {
  readonly bits: Bits;
}

function blocksOf({ shape }: tf.Tensor, bits: Bits): { readonly from: number; readonly size: number }[] {
  const [rows, words] = shape as [number, number];
  const most = Math.max(1, Math.floor(MAX_VALUES / (words * perWord(bits))));
  return Array.from({ length: Math.ceil(rows / most) }, (_, i) => ({ from: i * most, size: Math.min(most, rows - i * most) }));
}

const block = defineBlock<PackedAttrs>({
  kernel: 'PackedMatMul',
  forward: ({ x, packed, scale }, { bits }) => {
    const table = { packed: packed!, scale: scale!, bits };
    const parts = blocksOf(packed!, bits).map(({ from, size }) =>
      tf.tidy(() => tf.matMul(x!, unpackTable(rowsOf(table, from, size)), false, true)),
    );
    return [parts.length === 1 ? parts[0]! : tf.concat(parts, 1)];
  },
  reads: { x: ['packed', 'scale'] },
  backward: ({ packed, scale, dy }, { bits }) => {
    const table = { packed: packed!, scale: scale!, bits };
    let dx: tf.Tensor = tf.zeros([dy!.shape[0]!, packed!.shape[1]! * perWord(bits)]);
    for (const { from, size } of blocksOf(packed!, bits)) {
      const next = tf.tidy(() => tf.add(dx, tf.matMul(tf.slice(dy!, [0, from], [-1, size]), unpackTable(rowsOf(table, from, size)))));
      dx.dispose();
      dx = next;
    }
    return [dx];
  },
});

/** x [n, columns], a table of [rows, columns] -> [n, rows]. */
export const packedMatMul = (x: tf.Tensor, { packed, scale, bits }: PackedTable): tf.Tensor => block({ x, packed, scale }, { bits })[0]!;
