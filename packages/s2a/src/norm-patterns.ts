/**
 * Layer norm and RMS norm over the last axis, which tfjs composes of several kernels, found by their pattern.
 *
 *   z = (x − μ) r,  μ = mean(x),  r = 1 / √(mean((x − μ)²) + ε)        RMS norm: μ = 0        dx = r (g − mean(g) − z · mean(g z))
 *
 * As tf.moments writes it, as Keras exports it (x·r·γ + (β − μ·r·γ)), and as the layer of tfjs-layers calls batch norm. x waits in rows
 * of codes (`rows.ts`), μ and r as they are; γ must not train where the pattern contains it.
 */
import type { Fusion, GradientRule, TapeOp, TapeValue } from '@leantune/core';
import * as tf from '@tensorflow/tfjs-core';
import { sumTo } from './activations.ts';
import { type Precision, run } from './kernels.ts';
import { Trail } from './pattern.ts';
import type { RowStore } from './rows.ts';

/** The statistics of a norm, as they are on the tape. */
interface Norm {
  readonly x: TapeValue;
  /** Where μ can be read; absent for RMS norm. */
  readonly means?: readonly TapeValue[];
  /** mean((x − μ)²) + ε, or that without ε. */
  readonly variance: TapeValue;
  readonly epsilon?: number;
  readonly scale?: TapeValue | undefined;
  readonly offset?: TapeValue | undefined;
}

export function normFusion(store: RowStore, precision: Precision): Fusion {
  return (last) => {
    const trail = new Trail();
    const norm = find(last, trail);
    const width = norm?.x.shape.at(-1) ?? 0;
    if (!norm || (norm.scale && !norm.scale.constant)) return undefined;
    const kernel = norm.means ? 'LayerNorm' : 'RmsNorm';
    const [variance, mean, scale] = [norm.variance.read(), firstRead(norm.means), norm.scale?.read()];
    if (!variance || (norm.means && !mean) || (norm.scale && (!scale || scale.size % width !== 0))) return undefined;
    const bits = precision({ kernel, layer: last.layer, elements: norm.x.shape.reduce((n, d) => n * d, 1), kind: 'norm' });
    if (bits === 32) return undefined;
    const rule = normRule(store, bits, { variance, mean, scale, epsilon: norm.epsilon });
    return { kernel, inputs: { x: norm.x, ...(norm.offset && { offset: norm.offset }) }, through: trail.between(norm.x, last), rule };
  };
}

const firstRead = (values: readonly TapeValue[] = []): tf.Tensor | undefined => {
  for (const value of values) {
    const tensor = value.read();
    if (tensor) return tensor;
  }
  return undefined;
};

/** One value, read where it can be. */
const either = (value: TapeValue, other: TapeValue): TapeValue => ({ ...value, read: () => firstRead([value, other]) });

function find(last: TapeOp, trail: Trail): Norm | undefined {
  if (last.kernel === 'FusedBatchNorm') return ofLayer(last, trail);
  return last.kernel === 'Add' ? exported(last, trail) : composed(last, trail);
}

interface Statistics {
  readonly variance: tf.Tensor;
  readonly mean: tf.Tensor | undefined;
  readonly scale: tf.Tensor | undefined;
  readonly epsilon: number | undefined;
}

function normRule(store: RowStore, bits: number, { variance, mean, scale, epsilon }: Statistics): GradientRule {
  return {
    keep({ inputs }) {
      const x = inputs['x']!;
      const width = x.shape.at(-1)!;
      const rows = x.size / width;
      const small = (make: () => tf.Tensor) => () => {
        const t = tf.keep(tf.tidy(make));
        return { bytes: t.size * 4, decode: () => t, dispose: () => t.dispose() };
      };
      const vector = (t: tf.Tensor) => tf.slice(tf.reshape(t, [-1, width]), [0, 0], [1, width]);
      return {
        codes: () => store.pack(x, bits, width),
        rstd: small(() => tf.rsqrt(epsilon === undefined ? column(variance, rows) : tf.add(column(variance, rows), epsilon))),
        ...(mean && { mean: small(() => tf.clone(column(mean, rows))) }),
        ...(scale && { scale: small(() => vector(scale)) }),
      };
    },
    backward([dy], { codes, ...statistics }, { inputs, wanted }) {
      const { bits, group } = store.rows(codes!);
      return {
        ...(wanted.includes('x') && { x: run('NormGradRows', { codes: codes!, dy: dy!, ...statistics }, { bits, group }) }),
        ...(wanted.includes('offset') && { offset: sumTo(dy!, inputs['offset']!.shape as number[]) }),
      };
    },
  };
}

/** One number a row, of a tensor that may repeat it along the row. */
const column = (t: tf.Tensor, rows: number): tf.Tensor =>
  t.size === rows ? tf.reshape(t, [rows]) : tf.reshape(tf.slice(tf.reshape(t, [rows, -1]), [0, 0], [rows, 1]), [rows]);

const overLast = (op: TapeOp, x: TapeValue): boolean => {
  const axes = [op.attrs['axis']].flat() as number[];
  return axes.length === 1 && (axes[0] === x.shape.length - 1 || axes[0] === -1);
};

/** The x whose mean over the last axis this is. */
function meanOf(value: TapeValue | undefined, trail: Trail): TapeValue | undefined {
  const op = trail.made(value, 'Mean');
  return op && overLast(op, op.inputs['x']!) ? op.inputs['x'] : undefined;
}

/** The x whose variance, or mean square, this is. */
function varianceOf(value: TapeValue | undefined, trail: Trail): { readonly x: TapeValue; readonly mean?: TapeValue } | undefined {
  const square = meanOf(value, trail);
  const difference = trail.made(square, 'SquaredDifference') ?? trail.made(trail.made(square, 'Square')?.inputs['x'], 'Sub');
  if (difference) {
    const { a, b } = difference.inputs;
    const x = trail.plain(a)!;
    const of = meanOf(b, trail);
    return of && trail.plain(of)!.id === x.id ? { x, mean: b! } : undefined;
  }
  const product = trail.made(square, 'Square', 'Multiply');
  if (!product) return undefined;
  const [a, b] = Object.values(product.inputs).map((v) => trail.plain(v)!);
  return b === undefined || a!.id === b.id ? { x: a! } : undefined;
}

/** r, with what it is made of. */
function inverseOf(value: TapeValue | undefined, trail: Trail): Norm | undefined {
  const op = trail.made(value, 'Rsqrt');
  const variance = op?.inputs['x'];
  const inner = variance && varianceOf(trail.withNumber(variance, 'Add')?.[1] ?? variance, trail);
  return inner && { x: inner.x, ...(inner.mean && { means: [inner.mean] }), variance: variance! };
}

/** (x − μ) · r, or x · r. */
function composed(last: TapeOp, trail: Trail): Norm | undefined {
  if (last.kernel !== 'Multiply') return undefined;
  for (const [p, q] of [[last.inputs['a'], last.inputs['b']] as const, [last.inputs['b'], last.inputs['a']] as const]) {
    const norm = inverseOf(q, trail);
    if (!norm) continue;
    if (!norm.means) return trail.plain(p)!.id === norm.x.id ? { ...norm, x: either(p!, norm.x) } : undefined;
    const centered = trail.made(p, 'Sub');
    const mean = centered?.inputs['b'];
    const of = meanOf(mean, trail);
    if (!centered || !of || trail.plain(of)!.id !== norm.x.id || trail.plain(centered.inputs['a'])!.id !== norm.x.id) return undefined;
    return { ...norm, x: either(centered.inputs['a']!, norm.x), means: [mean!, ...norm.means] };
  }
  return undefined;
}

/** x·(r·γ) + (β − μ·(r·γ)) */
function exported(last: TapeOp, trail: Trail): Norm | undefined {
  for (const [p, q] of [[last.inputs['a'], last.inputs['b']] as const, [last.inputs['b'], last.inputs['a']] as const]) {
    const [product, rest] = [trail.operands(p, 'Multiply'), trail.made(q, 'Sub')];
    const shift = rest && trail.operands(rest.inputs['b'], 'Multiply');
    if (!product || !shift) continue;
    for (const [x, gain] of [product, [product[1], product[0]] as const]) {
      const [mean] = shift.filter((v) => v.id !== gain.id);
      const factors = trail.operands(gain, 'Multiply');
      const norm = inverseOf(
        factors?.find((v) => trail.made(v, 'Rsqrt')),
        trail,
      );
      if (!norm || !mean || !shift.some((v) => v.id === gain.id)) continue;
      const of = meanOf(mean, trail);
      if (!of || trail.plain(of)!.id !== norm.x.id || trail.plain(x)!.id !== norm.x.id) continue;
      return {
        ...norm,
        x: either(x, norm.x),
        means: [mean, ...(norm.means ?? [])],
        scale: factors!.find((v) => !trail.made(v, 'Rsqrt')),
        offset: rest!.inputs['a']!,
      };
    }
  }
  return undefined;
}

/** The layer of tfjs-layers: batch norm with statistics of each row, repeated along it. */
function ofLayer(last: TapeOp, trail: Trail): Norm | undefined {
  const { x, mean, variance, scale, offset } = last.inputs;
  const untiled = (value: TapeValue | undefined) => {
    const inner = trail.made(value, 'Tile')?.inputs['x'];
    return inner ?? value;
  };
  const [mu, inner] = [meanOf(untiled(mean), trail), varianceOf(untiled(variance), trail)];
  if (!mu || !inner?.mean || trail.plain(mu)!.id !== inner.x.id || trail.plain(x)!.id !== inner.x.id) return undefined;
  return { x: x!, means: [mean!], variance: variance!, epsilon: last.attrs['varianceEpsilon'] as number, scale, offset };
}
