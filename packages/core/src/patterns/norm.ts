/**
 * Layer norm and RMS norm over the last axis, which tfjs composes of several kernels, found by their pattern.
 *
 *   z = (x − μ) r,  μ = mean(x),  r = 1 / √(mean((x − μ)²) + ε)        RMS norm: μ = 0
 *
 * As tf.moments writes it, as a quotient, as Keras exports it (x·r·γ + (β − μ·r·γ)), and as the layer of tfjs-layers calls batch norm.
 */
import type { TapeOp, TapeValue } from '../technique.ts';
import { either, Trail } from './trail.ts';

/** The statistics of a norm, as they are on the tape. */
interface Norm {
  readonly x: TapeValue;
  /** Where μ can be read; absent for RMS norm. */
  readonly means?: readonly TapeValue[];
  /** mean((x − μ)²), or that plus ε. */
  readonly variance: TapeValue;
  readonly epsilon: number;
  readonly epsilonAdded: boolean;
  readonly scale?: TapeValue | undefined;
  readonly offset?: TapeValue | undefined;
}

/** A norm on the tape, from x to its last run. */
export interface NormPattern extends Norm {
  readonly through: readonly TapeOp[];
}

/** The layer or RMS norm over the last axis whose last run is `last`, if it is one; with weight and bias where the spelling holds them. */
export function findNorm(last: TapeOp): NormPattern | undefined {
  const trail = new Trail();
  const norm = spellings[last.kernel]?.(last, trail);
  return norm && { ...norm, through: trail.between(norm.x, last) };
}

const spellings: { readonly [kernel: string]: (last: TapeOp, trail: Trail) => Norm | undefined } = {
  Add: exported,
  FusedBatchNorm: ofLayer,
  Multiply: composed,
  RealDiv: composed,
};

/** One value, read where it can be. */
const readable = (value: TapeValue, other: TapeValue): TapeValue => ({ ...value, read: () => value.read() ?? other.read() });

/** Whether a value has one number for each row of x. */
function perRow(value: TapeValue, x: TapeValue): boolean {
  const rows = ({ shape }: TapeValue) =>
    shape
      .slice(0, -1)
      .join()
      .replace(/^(1,)+/, ''); // a batch norm is of rank 4
  return value.shape.at(-1) === 1 && rows(value) === rows(x);
}

/** The x whose mean over the last axis this is. */
function meanOf(value: TapeValue | undefined, trail: Trail): TapeValue | undefined {
  const op = trail.made(value, 'Mean');
  const x = op?.inputs['x'];
  const axes = op && ([op.attrs['axis']].flat() as number[]);
  return axes?.length === 1 && (axes[0] === x!.shape.length - 1 || axes[0] === -1) ? x : undefined;
}

/** Whether a value is the mean of each row of x. */
function isMeanOf(x: TapeValue, value: TapeValue | undefined, trail: Trail): value is TapeValue {
  const of = meanOf(value, trail);
  return of !== undefined && of.shape.at(-1) === x.shape.at(-1) && trail.plain(of).id === trail.plain(x).id && perRow(value!, x);
}

/** The value that is squared. */
function squared(value: TapeValue | undefined, trail: Trail): TapeValue | undefined {
  const op = trail.made(value, 'Square', 'Multiply', 'Pow');
  if (!op) return undefined;
  const { x, a, b } = op.inputs;
  if (op.kernel === 'Pow') return b!.number === 2 ? a : undefined;
  return x ?? (trail.plain(a!).id === trail.plain(b!).id && a!.shape.join() === b!.shape.join() ? a : undefined);
}

/** The x whose variance, or mean square, this is. */
function varianceOf(value: TapeValue | undefined, trail: Trail): { readonly x: TapeValue; readonly mean?: TapeValue } | undefined {
  const square = meanOf(value, trail);
  const root = squared(square, trail);
  const difference = trail.made(square, 'SquaredDifference') ?? trail.made(root, 'Sub');
  const { a, b } = difference?.inputs ?? {};
  if (a && isMeanOf(a, b, trail)) return { x: a, mean: b };
  return root && { x: root };
}

/** r, or 1 / r, with what it is made of. */
function deviationOf(value: TapeValue | undefined, kernel: 'Rsqrt' | 'Sqrt', trail: Trail): Norm | undefined {
  const variance = trail.made(value, kernel)?.inputs['x'];
  if (!variance) return undefined;
  const [epsilon, plain] = trail.withNumber(variance, 'Add') ?? [0, variance];
  const inner = varianceOf(plain, trail);
  return inner && { x: inner.x, ...(inner.mean && { means: [inner.mean] }), variance, epsilon, epsilonAdded: true };
}

/** Whether both are made of one value, in rows of one length. */
const alike = (a: TapeValue, b: TapeValue, trail: Trail): boolean =>
  trail.plain(a).id === trail.plain(b).id && a.shape.at(-1) === b.shape.at(-1);

/** (x − μ) · r, or x · r; or / √(variance + ε). */
function composed({ kernel, inputs }: TapeOp, trail: Trail): Norm | undefined {
  const [turns, of] = [either([inputs['a']!, inputs['b']!]), kernel === 'Multiply' ? 'Rsqrt' : 'Sqrt'] as const;
  for (const [p, q] of of === 'Rsqrt' ? turns : [turns[0]]) {
    const norm = deviationOf(q, of, trail);
    if (!norm || !perRow(q, p)) continue;
    if (!norm.means) return alike(p, norm.x, trail) ? { ...norm, x: readable(p, norm.x) } : undefined;
    const { a: x, b: mean } = trail.made(p, 'Sub')?.inputs ?? {};
    if (!x || !isMeanOf(x, mean, trail) || !alike(x, norm.x, trail)) return undefined;
    return { ...norm, x: readable(x, norm.x), means: [mean, ...norm.means] };
  }
  return undefined;
}

/** x·(r·γ) + (β − μ·(r·γ)) */
function exported({ inputs }: TapeOp, trail: Trail): Norm | undefined {
  for (const [p, q] of either([inputs['a']!, inputs['b']!])) {
    const [product, rest] = [trail.operands(p, 'Multiply'), trail.made(q, 'Sub')];
    const shift = rest && trail.operands(rest.inputs['b'], 'Multiply');
    if (!product || !shift) continue;
    for (const [x, gain] of either(product)) {
      const mean = shift.find((v) => v.id !== gain.id);
      const factors = shift.some((v) => v.id === gain.id) ? trail.operands(gain, 'Multiply') : undefined;
      for (const [r, scale] of factors ? either(factors) : []) {
        const norm = deviationOf(r, 'Rsqrt', trail);
        if (!norm?.means || !perRow(r, x) || !isMeanOf(x, mean, trail) || !alike(x, norm.x, trail)) continue;
        return { ...norm, x: readable(x, norm.x), means: [mean, ...norm.means], scale, offset: rest!.inputs['a']! };
      }
    }
  }
  return undefined;
}

/** The layer of tfjs-layers: batch norm with statistics of each row, repeated along it. */
function ofLayer({ inputs, attrs }: TapeOp, trail: Trail): Norm | undefined {
  const untiled = (value: TapeValue | undefined) => trail.made(value, 'Tile')?.inputs['x'] ?? value;
  const [x, mean, variance] = [inputs['x']!, untiled(inputs['mean']), untiled(inputs['variance'])];
  const inner = varianceOf(variance, trail);
  if (!inner?.mean || !isMeanOf(x, mean, trail) || !alike(x, inner.x, trail)) return undefined;
  return {
    ...{ x: readable(x, inner.x), means: [inputs['mean']!, mean], variance: inputs['variance']! },
    ...{ epsilon: attrs['varianceEpsilon'] as number, epsilonAdded: false },
    ...{ scale: untiled(inputs['scale']), offset: untiled(inputs['offset']) },
  };
}
