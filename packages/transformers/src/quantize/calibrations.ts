/** What the packed tables of a language model are multiplied with, on given texts: Σ x xᵀ of each. */
import { FinetuneError } from '@leantune/core';
import * as tf from '@tensorflow/tfjs-core';
import type { LayersModel } from '@tensorflow/tfjs-layers';
import { isHalf } from '../blocks/index.ts';
import type { Evidence, PackedWeights } from '../layers/packed-weights.ts';
import type { Weight } from '../layers/stored.ts';

/** Bytes of sums in memory at a time. A model with more runs on the texts more than once. */
const MAX_BYTES = 2 ** 28;
/** Tokens that go through the model at a time. */
const TOKENS = 1024;

type Table = readonly [name: string, packed: PackedWeights<Weight>];

/**
 * Evidence for some of the tables after the other, by the weight's name; tables filled in between are seen as they are then.
 *
 * @param ids tokens [n, T] int32; not disposed
 * @throws FinetuneError `bad-option` for a model without packed tables, or no tokens
 */
export function* calibrations(model: LayersModel, ids: tf.Tensor2D): Generator<ReadonlyMap<string, Evidence>> {
  const tables = model.layers.flatMap((layer): Table[] => {
    const { packed } = layer as { packed?: PackedWeights<Weight> };
    return packed && !isHalf(packed.format) ? [[`${layer.name}.weight`, packed]] : [];
  });
  if (tables.length === 0 || model.inputs.length !== 1 || ids.rank !== 2 || ids.size === 0) {
    const got =
      tables.length === 0 ? 'a model without codes' : model.inputs.length !== 1 ? 'a model with a mask' : `tokens of shape [${ids.shape}]`;
    const advice = "Give calibration with storage: 'nf4', 'nf5' or 'int8', and no inputs.";
    throw new FinetuneError(
      'bad-option',
      'transformers',
      `got calibration for ${got}; expected a packed language model and tokens [n, T]. ${advice}`,
    );
  }
  for (let from = 0, to = 0; from < tables.length; from = to) {
    let bytes = 0;
    do bytes += 8 * tables[to++]![1].columns ** 2;
    while (to < tables.length && bytes + 8 * tables[to]![1].columns ** 2 <= MAX_BYTES);
    yield observe(model, ids, tables.slice(from, to));
  }
}

function observe(model: LayersModel, ids: tf.Tensor2D, tables: readonly Table[]): ReadonlyMap<string, Evidence> {
  const evidence = new Map<string, Evidence>();
  for (const [name, packed] of tables) {
    const hessian = new Float64Array(packed.columns ** 2);
    // only what is looked up has finer rows
    evidence.set(name, packed.finer > 0 ? { hessian, order: byCount(ids, packed.rows) } : { hessian });
    packed.observe = (x) => {
      const sum = tf.tidy(() => tf.matMul(x, x, true, false).dataSync());
      for (let i = 0; i < sum.length; i++) hessian[i]! += sum[i]!;
    };
  }
  const rows = Math.max(1, Math.floor(TOKENS / ids.shape[1]));
  try {
    for (let at = 0; at < ids.shape[0]; at += rows)
      tf.tidy(() => void model.predict(tf.slice(ids, [at, 0], [Math.min(rows, ids.shape[0] - at), -1])));
  } finally {
    for (const [, packed] of tables) packed.observe = undefined;
  }
  return evidence;
}

/** Tokens, those that occur most first; those that do not, in their order. */
function byCount(ids: tf.Tensor2D, size: number): number[] {
  const counts = new Int32Array(size);
  for (const id of ids.dataSync()) counts[id]!++;
  return Array.from(counts.keys()).sort((a, b) => counts[b]! - counts[a]! || a - b);
}
