/**
 * o = softmax(q kᵀ · scale) v per head as one kernel, and its gradient as three: the kernels `Attention` and `AttentionGrad` of
 * @leantune/transformers, which elsewhere go by blocks of scores in memory. FlashAttention-2 (Dao 2023, arXiv 2307.08691): scores are formed a
 * tile at a time in registers and workgroup memory, with a running maximum and sum of each row; backward forms them again from the log-sum-exp.
 *
 *     P = exp(q kᵀ scale − lse)     dv = Pᵀ do     dS = P · (do vᵀ − Σ do · o)     dq = dS k scale     dk = dSᵀ q scale
 *
 * What differs from the paper: dq, and dk with dv, are kernels of their own, each of which forms the scores again: no atomics, so the same
 * bits each time. Heads are read where they lie beside each other, and query heads that share a head of keys (Ainslie et al. 2023, arXiv
 * 2305.13245) are summed in the kernel. Tiles that no query sees, by causality or window, are left out.
 */
import * as tf from '@tensorflow/tfjs-core';
import { attentionFits, attentionSizes, composedAttention } from '../../attention-sizes.ts';
import { type Attrs, type Kernels, type WebGPUBackend, type WebGPUKernel, withTemporaries } from '../backend.ts';
import { prefersTiles } from '../products/plan.ts';
import { dispatch, type Output } from '../recording/dispatch.ts';
import { rowPasses } from '../rows/rows.ts';
import { type AttentionPlan, type AttentionTask, attentionPlanOf, blocksOf, heightOf, widthOf } from './attention-plan.ts';
import { forward, keyGradients, queryGradient } from './attention-shaders.ts';
import type { Tiling } from './attention-tiles.ts';

type Inputs = { readonly [name: string]: tf.TensorInfo };

/** A shader over all rows of all heads. */
interface Pass {
  readonly kernel: string;
  readonly shader: (tiling: Tiling) => string;
  /** Which of them a workgroup owns. */
  readonly rows: 'queries' | 'keys';
  readonly task: Pick<AttentionTask, 'scores' | 'sums'>;
}
const passes = {
  forward: { kernel: 'Attention', shader: forward, rows: 'queries', task: { scores: 1, sums: 1 } },
  queries: { kernel: 'AttentionGrad q', shader: queryGradient, rows: 'queries', task: { scores: 2, sums: 1 } },
  keys: { kernel: 'AttentionGrad k v', shader: keyGradients, rows: 'keys', task: { scores: 2, sums: 2 } },
} as const satisfies { readonly [name: string]: Pass };

const planOf = (backend: WebGPUBackend, inputs: Inputs, attrs: Attrs, { rows, task }: Pass): AttentionPlan | undefined => {
  const { size, ...lengths } = attentionSizes(inputs, attrs);
  return attentionPlanOf(backend, { ...task, size, length: lengths[rows] });
};

/** Beyond every key, with room to add. */
const FAR = 2 ** 30;

interface Run<Name extends string> {
  readonly backend: WebGPUBackend;
  readonly inputs: Inputs;
  readonly attrs: Attrs;
  readonly plan?: AttentionPlan | undefined;
  /** By shape. */
  readonly outputs: { readonly [name in Name]: readonly number[] };
}

function run<Name extends string>(
  pass: Pass,
  { backend, inputs, attrs, outputs, ...given }: Run<Name>,
): { readonly [name in Name]: tf.TensorInfo } {
  const { n, ...sizes } = attentionSizes(inputs, attrs);
  const { heads, kvHeads, size } = sizes;
  const plan = given.plan ?? planOf(backend, inputs, attrs, pass)!;
  const { causal, window, masked, scale } = attrs;
  const room = plan.compact ? 4 * blocksOf(plan, size) * plan.across : size;
  const tiling: Tiling = { plan, size: room, fours: size % 4 === 0, masked };
  const tiles = Math.ceil(sizes[pass.rows] / heightOf(plan));
  const depth = n * (pass.rows === 'queries' ? heads : kvHeads);
  const { mask, stats, ...rows } = inputs;
  const element = tiling.fours ? 'vec4f' : 'f32';
  const counts = {
    ...{ ...sizes, group: heads / kvHeads, later: causal ? 0 : FAR, window: causal && window > 0 ? window : FAR },
    ...{ tiles, depth, four: 4, step: plan.step, width: widthOf(plan) },
  };
  return dispatch<Name>(backend, {
    key: `${pass.kernel} ${JSON.stringify(tiling)}`,
    inputs: {
      ...Object.fromEntries(Object.entries(rows).map(([name, x]) => [name, [x, element] as const])),
      ...(masked && { mask: [mask!, mask!.dtype === 'float32' ? 'f32' : 'i32'] as const }),
      ...(stats && { stats: [stats, 'vec2f'] as const }),
    },
    outputs: Object.fromEntries(
      Object.entries<readonly number[]>(outputs).map(([name, shape]) => [
        name,
        [{ shape, dtype: 'float32' }, name === 'lse' ? 'f32' : element],
      ]),
    ) as unknown as { [name in Name]: Output },
    uniforms: {
      ...Object.fromEntries(Object.entries(counts).map(([name, count]) => [name, ['u32', count] as const])),
      scale: ['f32', scale],
    },
    workgroups: tiles * depth,
    code: () => pass.shader(tiling),
  });
}

/** [o, lse] of { q, k, v, mask }: o as q, lse [n, heads, T]. @param plan @default what suits the device */
export function attend(backend: WebGPUBackend, { q, k, v, mask }: Inputs, attrs: Attrs, plan?: AttentionPlan): tf.TensorInfo[] {
  const inputs = { q: q!, k: k!, v: v!, mask: mask! };
  const { n, queries, heads } = attentionSizes(inputs, attrs);
  const { o, lse } = run(passes.forward, { backend, inputs, attrs, plan, outputs: { o: q!.shape, lse: [n, heads, queries] } });
  return [o, lse];
}

/** The log-sum-exp of each query and head and its Σ do · o, side by side: [n · T · heads, 2]. */
function statsOf(backend: WebGPUBackend, { y, y1: lse, dy, ...inputs }: Inputs, attrs: Attrs): tf.TensorInfo {
  const { queries, heads, size } = attentionSizes(inputs, attrs);
  const place = '(row / (u.heads * u.queries) * u.heads + row % u.heads) * u.queries + row / u.heads % u.queries';
  return rowPasses(backend, {
    key: 'AttentionGrad stats',
    inputs: { y: y!, dy: dy!, lse: lse! },
    shape: [tf.util.sizeFromShape(y!.shape) / size, size],
    sums: [{ name: 'along', term: 'dy[at] * y[at]' }],
    ofRow: `vec2f(lse[${place}], along)`,
    uniforms: { queries: ['u32', queries], heads: ['u32', heads] },
  })['ofRow']!;
}

/** The gradients `wanted` of { q, k, v, mask, y, y1, dy }, where y and y1 are what `attend` gave. */
export const attendGradient = (backend: WebGPUBackend, given: Inputs, attrs: Attrs, plan?: AttentionPlan): tf.TensorInfo[] =>
  withTemporaries(backend, (temporary) => {
    const { q, k, v, mask, dy } = given as { readonly [name in 'q' | 'k' | 'v' | 'mask' | 'dy']: tf.TensorInfo };
    const wanted: readonly string[] = attrs['wanted'];
    const inputs = { q, k, v, mask, dy, stats: temporary(statsOf(backend, given, attrs)) };
    const all = { backend, inputs, attrs, plan };
    const gradients: { [input: string]: tf.TensorInfo } = {};
    if (wanted.includes('q')) gradients['q'] = run(passes.queries, { ...all, outputs: { dq: q.shape } }).dq;
    if (wanted.includes('k') || wanted.includes('v')) {
      const { dk, dv } = run(passes.keys, { ...all, outputs: { dk: k.shape, dv: v.shape } });
      gradients['k'] = wanted.includes('k') ? dk : temporary(dk);
      gradients['v'] = wanted.includes('v') ? dv : temporary(dv);
    }
    return wanted.map((input) => gradients[input]!);
  });

/**
 * Ours on a GPU; else what @leantune/transformers composes of ops and registers beside it: on adapters that run on the CPU, where barriers are
 * costly and such shaders compile for seconds, for heads larger than a work group holds, and for tensors that do not fit.
 */
const orComposed =
  (kernel: string, ours: (...of: Parameters<typeof attend>) => tf.TensorInfo[], needs: readonly Pass[]): WebGPUKernel =>
  (given, attrs, backend) => {
    const inputs = given as Inputs;
    const can = attentionFits(inputs, attrs) && needs.every((pass) => planOf(backend, inputs, attrs, pass));
    const better = prefersTiles(backend) || !tf.getKernel(`Composed${kernel}`, 'webgpu');
    return can && better ? ours(backend, inputs, attrs) : composedAttention(kernel, 'webgpu', inputs, attrs, backend);
  };

export const attentions: Kernels = {
  Attention: orComposed('Attention', attend, [passes.forward]),
  AttentionGrad: orComposed('AttentionGrad', attendGradient, [passes.queries, passes.keys]),
};
