/**
 * Products and convolutions in half precision, forward and backward; weights, optimizer, reductions, norm statistics and the loss in
 * float32; what waits for backward in two bytes a value; the loss scaled for float16.
 *
 * Micikevicius et al. 2017, arXiv 1710.03740, by the lists of TensorFlow's AMP (`lists.ts`). What differs: the model outside of a
 * training step (`predict`, `evaluate`, validation) stays float32, so attaching changes no output, and there is nothing to merge.
 */
import type { Attachment, Json, KeepRule, ModelView, Technique } from '@leantune/core';
import { FinetuneError } from '@leantune/core';
import { Autocast } from './autocast.ts';
import { clips } from './clips.ts';
import { type HalfType, halfCodec, requireKernels } from './kernels.ts';
import { type Lists, type Precision, precisions } from './lists.ts';
import { dynamicLossScale, type LossScale } from './loss-scale.ts';
import { ScaledSteps } from './scaled-steps.ts';

/** Options of {@link mixedPrecision}. */
export interface MixedPrecisionOptions {
  /** float16 has 11 bits of precision and ends at 65504; bfloat16 has 8, and float32's range. @default 'mixed_float16' */
  readonly policy?: 'mixed_float16' | 'mixed_bfloat16';
  /** @default dynamicLossScale() for float16, 'none' for bfloat16, as in Keras */
  readonly lossScale?: LossScale | 'none';
  /** Kernels that go another way than the lists of `docs/techniques/mixed-precision.md` say. @default none */
  readonly lists?: Lists;
}

const halfOf: { readonly [policy: string]: HalfType } = { mixed_float16: 'float16', mixed_bfloat16: 'bfloat16' };

/**
 * @throws FinetuneError `bad-option`; when attached, `bad-model` on a backend without the kernels
 *
 * @example
 * const tuned = finetune(model, [lora(), mixedPrecision()]);
 */
export function mixedPrecision(options: MixedPrecisionOptions = {}): Technique {
  const { policy = 'mixed_float16', lists = {} } = options;
  const half = halfOf[policy];
  if (!half)
    throw new FinetuneError(
      'bad-option',
      'mixedPrecision',
      `got policy "${policy}"; expected ${Object.keys(halfOf).join(' or ')}. Leave it out for mixed_float16.`,
    );
  const lossScale = options.lossScale ?? (half === 'float16' ? dynamicLossScale() : 'none');
  if (lossScale !== 'none' && lossScale.kind !== 'dynamic' && lossScale.kind !== 'fixed')
    throw new FinetuneError(
      'bad-option',
      'mixedPrecision',
      `got lossScale ${JSON.stringify(lossScale)}; expected dynamicLossScale(…), fixedLossScale(…) or 'none'.`,
    );
  const byKernel = precisions(lists);
  return {
    name: 'mixedPrecision',
    options: options as Json,
    attach(model): Attachment {
      requireKernels();
      const outputs = outputLayers(model);
      const inModel = model.kind !== 'variables';
      const autocast = new Autocast(half, byKernel, (layer) => outputs.has(layer) || (inModel && layer === ''));
      const steps = lossScale === 'none' ? undefined : new ScaledSteps(lossScale);
      return {
        compute: autocast.compute,
        gradients: clips,
        keep: keepRule(half, byKernel, autocast, outputs),
        ...(steps && { step: steps, saved: steps }),
        notes: [`products in ${half}; ${steps ? `loss scale ${steps.scale}` : 'no loss scale'}`],
        detach() {},
      };
    },
  };
}

/** Blocks of one kernel each, which wait in half wherever they are. */
const blocks = new Set(['Attention', 'Gelu', 'LayerNorm', 'RmsNorm', 'SwiGlu']);
const statistics = new Set(['inputs.mean', 'inputs.variance', 'y1']);

/**
 * Values that a half holds wait in two bytes, exactly. So do those that a product reads, as it read them; and those of a layer, rounded.
 * What losses and statistics read waits as it is.
 */
function keepRule(
  half: HalfType,
  byKernel: ReadonlyMap<string, Precision>,
  { isHalf, mark }: Autocast,
  outputs: ReadonlySet<string>,
): KeepRule {
  const codec = halfCodec(half, mark);
  return ({ tensor, kernel, role, layer }) => {
    if (tensor.size === 1) return undefined;
    if (isHalf(tensor) || byKernel.get(kernel) === 'half') return codec;
    if (statistics.has(role)) return undefined;
    if (blocks.has(kernel)) return codec;
    if (kernel === 'Softmax') return tensor.rank < 3 ? undefined : codec; // a matrix of probabilities is a model's output
    const precise = byKernel.get(kernel) === 'float32' && kernel !== 'Square';
    return layer === '' || outputs.has(layer) || precise ? undefined : codec;
  };
}

/** The layers whose outputs are the model's, by name. */
function outputLayers({ kind, model }: ModelView): ReadonlySet<string> {
  if (kind === 'variables') return new Set();
  const { outputs } = model as { readonly outputs: readonly { readonly name: string; readonly sourceLayer?: { readonly name: string } }[] };
  return new Set(outputs.map(({ sourceLayer, name }) => sourceLayer?.name ?? name.replace(/:\d+$/, '')));
}
