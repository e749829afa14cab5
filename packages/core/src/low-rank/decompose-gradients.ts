/**
 * Where a task wants the kernels to go: the truncated SVDs of their gradients, in place of those of the kernels themselves.
 *
 *   G = Σ ∂loss/∂W ≈ U·Σ·Vᵀ        A = U and B = Vᵀ span the best step of rank r that there is from here
 *
 * Ponkshe et al. 2024 (LoRA-SB), arXiv 2411.19557; Wang et al. 2024 (LoRA-GA), arXiv 2407.05000. The gradients of all targets are there at
 * once: the memory of a step of full fine-tuning without an optimizer, and of their sum where there are several batches.
 */
import * as tf from '@tensorflow/tfjs-core';
import { differentiate } from '../autograd/gradients.ts';
import { FinetuneError } from '../errors.ts';
import { readModel, type TunableModel } from '../models/read-model.ts';
import { checkRanges, count } from '../optimizers/ranges.ts';
import type { DecomposeOptions, Decomposition } from './decompose.ts';
import { denseSites, lowRankSites, matrixShape } from './low-rank-sites.ts';
import { type TruncatedSvd, truncatedSvd } from './truncated-svd.ts';

/** Options of {@link decomposeGradients}. */
export interface DecomposeGradientsOptions extends Omit<DecomposeOptions, 'cache' | 'onProgress'> {
  /** How many batches the gradient is summed over: more say better where all of them want to go. @default 1 */
  readonly batches?: number;
}

/**
 * @param loss of the batch of this number, from 0 on: a scalar
 * @throws FinetuneError `no-match`, `bad-option` (a target that holds its kernel packed), `not-reached` (one that the loss does not depend
 *   on), `not-finite`
 *
 * @example
 * const svd = decomposeGradients(model, (i) => lossOf(batches[i]), { rank: 24, targets: /query|value/, batches: 16 });
 * const tuned = finetune(model, lamda({ rank: 24, targets: /query|value/, svd }));
 */
export function decomposeGradients(
  model: TunableModel,
  loss: (batch: number) => tf.Scalar,
  { rank, targets = denseSites, batches = 1, ...options }: DecomposeGradientsOptions,
): Decomposition {
  const who = 'decomposeGradients';
  checkRanges(who, [count, { batches }]);
  const reader = readModel(model);
  const sites = lowRankSites(reader, targets, who);
  const packed = sites.filter((site) => !site.kernel).map(({ name }) => `"${name}"`);
  if (packed.length > 0)
    throw new FinetuneError(
      'bad-option',
      who,
      `got ${packed.join(', ')}, which hold packed kernels; expected ones with gradients. Use decompose.`,
    );
  const kernels = sites.map((site) => site.weights[0]!.variable());
  const state = reader.state();
  const before = state.map((v) => v.clone());
  const uninstall = reader.install(new Set(kernels));
  try {
    const grads: { [name: string]: tf.Tensor } = {};
    try {
      for (let i = 0; i < batches; i++) addGradients(grads, () => loss(i), kernels);
      const missing = sites.filter((_, i) => !grads[kernels[i]!.name]).map(({ name }) => `"${name}"`);
      if (missing.length > 0)
        throw new FinetuneError('not-reached', who, `the loss does not depend on ${missing.join(', ')}. Leave them out.`);
      return new Map(sites.map((site, i) => [site.name, svdOfMatrix(grads[kernels[i]!.name]!, matrixShape(site), rank, options)]));
    } finally {
      tf.dispose(grads);
    }
  } finally {
    for (const [i, v] of state.entries()) v.assign(before[i]!);
    tf.dispose(before);
    uninstall();
  }
}

/** To the sums by name; those of kernels that the loss does not depend on stay away. */
function addGradients(sums: { [name: string]: tf.Tensor }, loss: () => tf.Scalar, kernels: tf.Variable[]): void {
  const { value, grads } = differentiate(loss, kernels);
  value.dispose();
  for (const [name, grad] of Object.entries(grads)) {
    const before = sums[name];
    sums[name] = before ? tf.add(before, grad) : grad;
    if (before) tf.dispose([before, grad]);
  }
}

function svdOfMatrix(gradient: tf.Tensor, shape: [number, number], rank: number, options: object): TruncatedSvd {
  const matrix = tf.reshape<tf.Rank.R2>(gradient, shape);
  try {
    return truncatedSvd(matrix, Math.min(rank, ...shape), options);
  } finally {
    matrix.dispose();
  }
}
