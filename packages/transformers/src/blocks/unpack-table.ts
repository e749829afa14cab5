/**
 * Some rows of a packed table as numbers: the kernel `UnpackTable`. Here it reads words in JavaScript, for backends whose tensors are in
 * memory; on a GPU tfjs's own slice and gather would send whole numbers through float32, and only a kernel of the backend can.
 */
import { FinetuneError } from '@leantune/core';
import * as tf from '@tensorflow/tfjs-core';
import { ensureKernel, type Tensors } from './block.ts';
import { addCodes, type CodeLayout } from './packed-row.ts';
import { asInputs, attrsOf, type PackedTable, type TableAttrs, unpackWords } from './packed-table.ts';

interface UnpackAttrs extends TableAttrs {
  /** The rows, where there are no `ids`. */
  readonly from: number;
  readonly size: number;
}

/** Rows of a packed table, all by default: [size, columns]. */
export const unpackRows = (table: PackedTable, from = 0, size: number = table.packed.shape[0]!): tf.Tensor => unpack(table, { from, size });

/** The rows of a packed table that `ids` name: [n] int32 -> [n, columns]. */
export const gatherRows = (table: PackedTable, ids: tf.Tensor): tf.Tensor => unpack(table, { from: 0, size: ids.size }, ids);

function unpack(table: PackedTable, which: { readonly from: number; readonly size: number }, ids?: tf.Tensor): tf.Tensor {
  refuseUnable();
  ensureKernel<UnpackAttrs>('UnpackTable', (given, attrs) => [unpackInJs(given, attrs)]);
  return tf.tidy(() => {
    const inputs = { ...asInputs(table), ...(ids && { ids }) };
    const attrs = { ...attrsOf(table), ...which } as object as tf.NamedAttrMap;
    return [tf.engine().runKernel('UnpackTable', inputs, attrs)].flat()[0] as tf.Tensor;
  });
}

/** @throws FinetuneError `bad-option` on a GPU without the kernel */
function refuseUnable(): void {
  const backend = tf.getBackend();
  if (/^(cpu|wasm|tensorflow)$/.test(backend) || tf.getKernel('UnpackTable', backend)) return;
  const expected = "expected cpu, wasm or tensorflow, or webgpu with the kernels of @leantune/backends (useBackend('webgpu'))";
  const advice = "Load the model with storage: 'float32', or use one of those backends.";
  throw new FinetuneError('bad-option', 'transformers', `got a packed table on ${backend}; ${expected}. ${advice}`);
}

function unpackInJs({ packed, ids, finerRows, finer }: Tensors, { layout, finerLayout, from, size }: UnpackAttrs): tf.Tensor {
  const all = !ids && size === packed!.shape[0];
  const some = all ? packed! : ids ? tf.gather(packed!, ids) : tf.slice(packed!, [from, 0], [size, -1]);
  const values = unpackWords(some.dataSync() as Int32Array, layout);
  if (finer!.size > 0) {
    const [numbers, fine, more] = [ids?.dataSync(), finerRows!.dataSync() as Int32Array, finer!.dataSync() as Int32Array];
    for (let i = 0; i < size; i++) {
      const at = indexIn(fine, numbers?.[i] ?? from + i);
      if (at >= 0) addCodes(more, at * finerLayout.words, finerLayout as CodeLayout, values, i * layout.columns);
    }
  }
  return tf.tensor(values, [size, layout.columns]);
}

/** Where `value` is in ascending numbers, or -1. */
function indexIn(sorted: Int32Array, value: number): number {
  let [low, high] = [0, sorted.length];
  while (low < high) {
    const middle = (low + high) >> 1;
    if (sorted[middle]! < value) low = middle + 1;
    else high = middle;
  }
  return sorted[low] === value ? low : -1;
}
