/**
 * The cross-entropy of a vocabulary's logits, without the logits: hidden · weightᵀ goes by slices of the vocabulary, forward keeps a
 * running log-sum-exp, and backward forms each slice again (Wijmans et al. 2024, arXiv 2411.09009). Instead of tokens × vocabulary
 * numbers, what waits is hidden and one number per token.
 *
 *     loss_t = lse_t − h_t · w_label     P = exp(h wᵀ − lse)     dlogits = dy (P − onehot)     dh = dlogits w     dw = dlogitsᵀ h
 */
import * as tf from '@tensorflow/tfjs-core';
import { defineBlock, type Tensors } from './block.ts';
import { asInputs, attrsOf, fromInputs, type PackedTable, type TableAttrs } from './packed-table.ts';
import { gatherRows, unpackRows } from './unpack-table.ts';

/** Logits in memory at a time: 2 MiB. */
const MAX_LOGITS = 2 ** 19;

interface Slice {
  readonly from: number;
  readonly size: number;
}

function slicesOf(tokens: number, vocabulary: number): Slice[] {
  const most = Math.max(1, Math.min(vocabulary, Math.floor(MAX_LOGITS / tokens)));
  return Array.from({ length: Math.ceil(vocabulary / most) }, (_, i) => ({ from: i * most, size: Math.min(most, vocabulary - i * most) }));
}

/** The table of a vocabulary, as it is or packed. */
interface Table {
  readonly size: number;
  slice(slice: Slice): tf.Tensor;
  /** The rows of these tokens. */
  gather(ids: tf.Tensor): tf.Tensor;
}

function tableOf(inputs: Tensors, attrs: Partial<TableAttrs>): Table {
  const { weight } = inputs;
  if (weight)
    return {
      size: weight.shape[0]!,
      slice: ({ from, size }) => tf.slice(weight, [from, 0], [size, -1]),
      gather: (ids) => tf.gather(weight, ids),
    };
  const table = fromInputs(inputs, attrs as TableAttrs);
  return {
    size: table.packed.shape[0]!,
    slice: ({ from, size }) => unpackRows(table, from, size),
    gather: (ids) => gatherRows(table, ids),
  };
}

/** 1 for a token that has a label, 0 for one that is ignored. */
const counted = (labels: tf.Tensor): tf.Tensor => tf.cast(tf.greaterEqual(labels, 0), 'float32');

function forward(inputs: Tensors, attrs: Partial<TableAttrs>): tf.Tensor[] {
  const { hidden, labels } = inputs;
  const table = tableOf(inputs, attrs);
  let [top, sum] = [tf.fill([labels!.size, 1], -1e30), tf.zeros([labels!.size, 1])] as [tf.Tensor, tf.Tensor];
  for (const slice of slicesOf(labels!.size, table.size)) {
    const next = tf.tidy(() => {
      const logits = tf.matMul(hidden!, table.slice(slice), false, true); // [tokens, size]
      const higher = tf.maximum(top, tf.max(logits, 1, true));
      const more = tf.sum(tf.exp(tf.sub(logits, higher)), 1, true);
      return [higher, tf.add(tf.mul(sum, tf.exp(tf.sub(top, higher))), more)] as [tf.Tensor, tf.Tensor];
    });
    tf.dispose([top, sum]);
    [top, sum] = next;
  }
  const lse = tf.squeeze(tf.add(top, tf.log(sum)), [1]);
  const own = table.gather(tf.cast(tf.relu(labels!), 'int32')); // [tokens, d]
  return [tf.mul(tf.sub(lse, tf.sum(tf.mul(hidden!, own), 1)), counted(labels!)), lse];
}

function backward(values: Tensors, attrs: Partial<TableAttrs>, wanted: readonly string[]): tf.Tensor[] {
  const { hidden, labels, y1, dy } = values;
  const [tokens, table] = [labels!.size, tableOf(values, attrs)];
  const scale = tf.reshape(tf.mul(dy!, counted(labels!)), [tokens, 1]);
  const lse = tf.reshape(y1!, [tokens, 1]);
  let dHidden: tf.Tensor = tf.zerosLike(hidden!);
  const dWeight: tf.Tensor[] = [];
  for (const slice of slicesOf(tokens, table.size)) {
    const [dh, dw] = tf.tidy(() => {
      const rows = table.slice(slice);
      const share = tf.exp(tf.sub(tf.matMul(hidden!, rows, false, true), lse));
      const target = tf.oneHot(tf.cast(tf.sub(labels!, slice.from), 'int32') as tf.Tensor1D, slice.size);
      const dLogits = tf.mul(tf.sub(share, target), scale); // [tokens, size]
      return [
        wanted.includes('hidden') ? tf.add(dHidden, tf.matMul(dLogits, rows)) : tf.scalar(0),
        wanted.includes('weight') ? tf.matMul(dLogits, hidden!, true, false) : tf.scalar(0),
      ] as const;
    });
    dHidden.dispose();
    dHidden = dh;
    dWeight.push(dw);
  }
  return wanted.map((input) => (input === 'hidden' ? dHidden : tf.concat(dWeight, 0)));
}

const all = ['hidden', 'weight', 'labels', 'y1'];
const plain = defineBlock<Partial<TableAttrs>>({ kernel: 'LinearCrossEntropy', forward, reads: { hidden: all, weight: all }, backward });
const reads = { hidden: ['hidden', 'packed', 'finerRows', 'finer', 'labels', 'y1'] };
const packed = defineBlock<TableAttrs>({ kernel: 'PackedCrossEntropy', forward, reads, backward });

/**
 * hidden [tokens, d], labels [tokens] int32, below 0 to be ignored -> the loss per token, 0 where ignored.
 *
 * @param weight [vocabulary, d]; a packed table is frozen
 */
export function linearCrossEntropy(hidden: tf.Tensor, weight: tf.Tensor | PackedTable, labels: tf.Tensor): tf.Tensor {
  const run = () => {
    if (weight instanceof tf.Tensor) return plain({ hidden, weight, labels }, {});
    return packed({ hidden, labels, ...asInputs(weight) }, attrsOf(weight));
  };
  return tf.tidy(() => run()[0]!);
}
