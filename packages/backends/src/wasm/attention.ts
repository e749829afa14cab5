/**
 * Attention and its gradient as one kernel each: `Attention` and `AttentionGrad` of @leantune/transformers, which elsewhere are made of
 * tfjs's ops, a block of queries at a time. Heads are read and written where they lie, and of the scores one block is in memory,
 * in backward with its gradient.
 */
import * as tf from '@tensorflow/tfjs-core';
import { attentionFits, attentionSizes, composedAttention } from '../attention-sizes.ts';
import type { Kernel, KernelMap } from '../kernels.ts';
import { type Attrs, allOrNone, input, makeFloats, offset, places, run, type WasmBackend, withTemporaries } from './backend.ts';
import { type AttentionTask, native } from './native.ts';

/** Scores of a block: what leaves them in a cache. */
const SCORES = 2 ** 16;
/** Rows of a block, of which each meets every key that was read: no fewer than pay for reading it, no more than native/attention.c has room for. */
const [FEWEST, MOST] = [32, 64];

interface Task {
  readonly given: AttentionTask;
  /** Of what is one number a query. */
  readonly perQuery: number[];
  /** Of a block's scores. */
  readonly scores: number[];
}

/** Runs `compute` with what the native kernels are told first. Disposes what it calls temporary. */
function withTask(
  inputs: tf.NamedTensorInfoMap,
  attrs: Attrs,
  backend: WasmBackend,
  compute: (task: Task, temporary: (x: tf.TensorInfo) => tf.TensorInfo) => tf.TensorInfo[],
): tf.TensorInfo[] {
  const { n, queries, keys, heads, kvHeads, size } = attentionSizes(inputs as { [name: string]: tf.TensorInfo }, attrs);
  const { causal, window, masked, scale } = attrs;
  const rows = Math.min((queries * heads) / kvHeads, Math.max(FEWEST, Math.min(MOST, Math.floor(SCORES / keys))));
  return withTemporaries(backend, (temporary) => {
    const numbers = masked ? offset(backend, temporary(run(backend, tf.Cast, { x: input(inputs, 'mask') }, { dtype: 'float32' }))) : 0;
    const given = [n, queries, keys, heads, kvHeads, size, causal, Math.min(window, keys), rows, scale, numbers] as const;
    return compute({ given, perQuery: [n, heads, queries], scores: [rows, keys] }, temporary);
  });
}

/** [o, lse]: o as q, lse [n, heads, queries]. */
const attend = (inputs: tf.NamedTensorInfoMap, attrs: Attrs, backend: WasmBackend): tf.TensorInfo[] =>
  withTask(inputs, attrs, backend, ({ given, perQuery, scores }, temporary) =>
    allOrNone(backend, (made) => {
      const o = made(backend.makeOutput(input(inputs, 'q').shape, 'float32'));
      const [top, sum, block] = [perQuery, perQuery, scores].map((shape) => temporary(backend.makeOutput(shape, 'float32')));
      const own = { o, top: top!, sum: sum!, block: block! };
      const { attention, scratch } = native(backend);
      attention(...given, ...places({ ...inputs, ...own }, backend, ['q', 'k', 'v', 'o', 'top', 'sum', 'block']), scratch);
      return [o, run(backend, tf.Add, { a: own.top, b: temporary(run(backend, tf.Log, { x: own.sum })) })];
    }),
  );

/** The gradients `wanted` from q, k, v, mask, what `attend` gave as y and y1, and dy. */
const attendGradient = (inputs: tf.NamedTensorInfoMap, attrs: Attrs, backend: WasmBackend): tf.TensorInfo[] =>
  withTask(inputs, attrs, backend, ({ given, scores }, temporary) => {
    const [block, slopes] = [scores, scores].map((shape) => temporary(backend.makeOutput(shape, 'float32')));
    const wanted: readonly string[] = attrs.wanted;
    const gradients = makeFloats(
      backend,
      wanted.map((name) => input(inputs, name).shape),
    );
    const named = Object.fromEntries(wanted.map((name, i) => [`d${name}`, gradients[i]!]));
    const all = { ...inputs, ...named, block: block!, slopes: slopes! };
    const { attentionGradient, scratch } = native(backend);
    const names = ['q', 'k', 'v', 'y', 'y1', 'dy', 'dq', 'dk', 'dv', 'block', 'slopes'] as const;
    attentionGradient(...given, ...places(all, backend, names), scratch);
    return gradients;
  });

/** Ours, or what @leantune/transformers composes of ops for tensors that do not fit. */
const orComposed =
  (kernel: string, ours: typeof attend): Kernel<WasmBackend, tf.TensorInfo[]> =>
  (given, attrs, backend) => {
    const inputs = given as { [name: string]: tf.TensorInfo };
    return attentionFits(inputs, attrs) ? ours(given, attrs, backend) : composedAttention(kernel, 'wasm', inputs, attrs, backend);
  };

export const attentions: KernelMap<WasmBackend, tf.TensorInfo[]> = {
  Attention: orComposed('Attention', attend),
  AttentionGrad: orComposed('AttentionGrad', attendGradient),
};
