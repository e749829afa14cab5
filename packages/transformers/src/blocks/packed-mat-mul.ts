/**
 * y = x Wᵀ with a frozen W that is packed: W is unpacked by blocks of rows, in forward and again for dx, from one copy. What waits
 * for backward is nothing but W itself. On webgpu a kernel of @leantune/backends reads W's words where they are multiplied.
 *
 *     y[:, rows] = x · W[rows]ᵀ     dx = Σ dy[:, rows] · W[rows]
 */
import * as tf from '@tensorflow/tfjs-core';
import { defineBlock } from './block.ts';
import { asInputs, attrsOf, fromInputs, type PackedTable, type TableAttrs } from './packed-table.ts';
import { unpackRows } from './unpack-table.ts';

/** Unpacked values in memory at a time: 1 MiB. */
const MAX_VALUES = 2 ** 18;

function blocksOf({ packed, columns }: PackedTable): { readonly from: number; readonly size: number }[] {
  const rows = packed.shape[0]!;
  const most = Math.max(1, Math.floor(MAX_VALUES / columns));
  return Array.from({ length: Math.ceil(rows / most) }, (_, i) => ({ from: i * most, size: Math.min(most, rows - i * most) }));
}

const block = defineBlock<TableAttrs>({
  kernel: 'PackedMatMul',
  forward: (inputs, attrs) => {
    const table = fromInputs(inputs, attrs);
    const parts = blocksOf(table).map(({ from, size }) =>
      tf.tidy(() => tf.matMul(inputs['x']!, unpackRows(table, from, size), false, true)),
    );
    return [parts.length === 1 ? parts[0]! : tf.concat(parts, 1)];
  },
  reads: { x: ['packed', 'finerRows', 'finer'] },
  backward: (values, attrs) => {
    const [table, dy] = [fromInputs(values, attrs), values['dy']!];
    let dx: tf.Tensor = tf.zeros([dy.shape[0]!, table.columns]);
    for (const { from, size } of blocksOf(table)) {
      const next = tf.tidy(() => tf.add(dx, tf.matMul(tf.slice(dy, [0, from], [-1, size]), unpackRows(table, from, size))));
      dx.dispose();
      dx = next;
    }
    return [dx];
  },
});

/** x [n, columns], a table of [rows, columns] -> [n, rows]. */
export const packedMatMul = (x: tf.Tensor, table: PackedTable): tf.Tensor =>
  tf.tidy(() => block({ x, ...asInputs(table) }, attrsOf(table))[0]!);
