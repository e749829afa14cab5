/**
 * What non-parametric operators keep for backward, in 1 to 8 bits a value instead of 32. Forward is exact; gradients are near.
 *
 *   ReLU, ReLU6, leaky ReLU, clips, dropout        1 bit, exact            max pooling    2 to 8 bits, exact
 *   GELU, SiLU, Mish, ELU, SELU, tanh, …           4-bit codes of f'       softmax, norms, operands of products    4-bit rows
 *
 * The second half of S2A (arXiv 2503.08154), which says that non-parametric structures wait "4-bit … based on their derivatives".
 * The tables (`steps.ts`), the rows (`rows.ts`) and the one-pass gradients are ours: the paper's own are not public.
 */
import {
  type Attachment,
  type Codec,
  FinetuneError,
  type Json,
  type KeepRule,
  type ModelView,
  type Site,
  type Technique,
} from '@leantune/core';
import { activationFusion } from './activation-fusion.ts';
import { activationRules, packSteps } from './activations.ts';
import { batchNormRule } from './batch-norm.ts';
import { blockRules, operands } from './blocks.ts';
import { type Bits, type Precision, requireKernels, run } from './kernels.ts';
import { normFusion } from './norm-fusion.ts';
import { maxPoolRule } from './pooling.ts';
import { type Rounding, RowStore } from './rows.ts';
import { softmaxRule } from './softmax.ts';
import { exactSteps, type Reading } from './steps.ts';

/** Options of {@link fourBit}. */
export interface FourBitOptions {
  /** Bits of softmax outputs, norms and operands of products, or of each class of values; 32 leaves a class as it is. @default 4 */
  readonly bits?:
    | 4
    | 8
    | { readonly activation?: 2 | 4 | 8 | 32; readonly softmax?: 4 | 8 | 32; readonly norm?: 4 | 8 | 32; readonly matmul?: 4 | 8 | 32 };
  /** What a code of an activation stands for: one of 16 values of its derivative, or one of 16 intervals of its input. @default 'value' */
  readonly reading?: Reading;
  /** How rows are rounded. 'stochastic' is right on average, and twice as far off. @default 'nearest' */
  readonly rounding?: 'nearest' | 'stochastic';
  /** Of stochastic rounding. @default 1 */
  readonly seed?: number;
}

/**
 * @throws FinetuneError `bad-option`; when attached, `bad-model` on a backend without the kernels
 *
 * @example
 * const tuned = finetune(model, [biasTuning(), fourBit()]);
 */
export function fourBit(options: FourBitOptions = {}): Technique {
  refuseBad(options);
  const { bits = 4 } = options;
  const byKind = typeof bits === 'number' ? { softmax: bits, norm: bits, matmul: bits } : bits;
  const precision: Precision = ({ kind }) => byKind[kind as 'softmax'] ?? 4;
  return { name: 'fourBit', options: options as Json, attach: (model) => quantized(model, precision, options, 'fourBit') };
}

/** What waits where `precision` says. */
export function quantized(
  model: ModelView,
  precision: Precision,
  { reading = 'value', rounding = 'nearest', seed = 1 }: FourBitOptions,
  who: string,
): Attachment {
  requireKernels(who);
  const store = new RowStore({ rounding, seed } satisfies Rounding);
  return {
    gradients: {
      ...activationRules(precision, reading),
      ...blockRules(store, precision, reading),
      BatchNormTrain: batchNormRule(store, precision),
      Softmax: softmaxRule(store, precision),
      MaxPool: maxPoolRule,
    },
    fusions: [activationFusion(precision, reading), normFusion(store, precision)],
    keep: keepRule(store, precision, model.sites()),
    detach() {},
  };
}

/** By layer: what a value that is not dropped is multiplied with. */
function dropouts(sites: readonly Site[]): ReadonlyMap<string, number> {
  const found = sites.filter(({ type }) => /^(Spatial)?Dropout(1D)?$/.test(type));
  return new Map(found.map(({ name, layer }) => [name, 1 / (1 - (layer as { readonly rate: number }).rate)]));
}

function keepRule(store: RowStore, precision: Precision, sites: readonly Site[]): KeepRule {
  const dropped = dropouts(sites);
  const norms = new Set(sites.filter(({ kind }) => kind === 'batchNorm').map(({ name }) => name));
  const rows = (bits: Bits): Codec | undefined =>
    bits === 32 ? undefined : { name: `rows of ${bits} bits`, encode: (x) => store.hold(x, bits) };
  return ({ kernel, role, layer, tensor, parametric }) => {
    const scale = kernel === 'Multiply' ? dropped.get(layer) : undefined;
    if (scale !== undefined) return mask(scale);
    const at = { kernel, layer, elements: tensor.size };
    if (/^(BatchMatMul|_FusedMatMul|Einsum)$/.test(kernel) && !parametric && tensor.rank > 1)
      return rows(precision({ ...at, kind: 'matmul' }));
    if (operands[kernel]?.test(role)) return rows(precision({ ...at, kind: 'matmul' }));
    const ofNorm = kernel === 'FusedBatchNorm' || (kernel === 'Square' && norms.has(layer));
    if (ofNorm && role === 'inputs.x' && tensor.rank > 1) return rows(precision({ ...at, kind: 'norm' }));
    return undefined;
  };
}

/** Values that are 0 or `scale`. */
const mask = (scale: number): Codec => ({
  name: 'mask',
  encode(x) {
    const steps = exactSteps([0], [0, scale]);
    const kept = packSteps(x, steps);
    const decode = () => run('DecodeSteps', { codes: kept.decode() }, { levels: steps.levels, bits: steps.bits, shape: x.shape });
    return { ...kept, decode };
  },
});

const allowed: { readonly [option: string]: readonly unknown[] } = {
  activation: [2, 4, 8, 32],
  softmax: [4, 8, 32],
  norm: [4, 8, 32],
  matmul: [4, 8, 32],
};

function refuseBad({ bits = 4, reading = 'value', rounding = 'nearest', seed = 1 }: FourBitOptions): void {
  const faults: string[] = [];
  if (typeof bits !== 'object' && bits !== 4 && bits !== 8) faults.push(`bits ${bits}; expected 4, 8 or an object`);
  for (const [kind, value] of Object.entries(typeof bits === 'object' ? bits : {}))
    if (!allowed[kind]?.includes(value))
      faults.push(
        `bits.${kind} ${value}; expected ${allowed[kind] ? `one of ${allowed[kind].join(', ')}` : `one of the classes ${Object.keys(allowed).join(', ')}`}`,
      );
  if (reading !== 'value' && reading !== 'interval') faults.push(`reading "${reading}"; expected "value" or "interval"`);
  if (rounding !== 'nearest' && rounding !== 'stochastic') faults.push(`rounding "${rounding}"; expected "nearest" or "stochastic"`);
  if (!Number.isInteger(seed)) faults.push(`seed ${seed}; expected a whole number`);
  if (faults.length > 0) throw new FinetuneError('bad-option', 'fourBit', `got ${faults.join('; ')}. Leave an option out for its default.`);
}
