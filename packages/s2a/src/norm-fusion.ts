/**
 * Layer norm and RMS norm that tfjs composes of several kernels wait as one: x in rows of codes (`rows.ts`), μ and r as they are; γ must
 * not train where the pattern contains it.
 *
 *   z = (x − μ) r,  r = 1 / √(mean((x − μ)²) + ε)        RMS norm: μ = 0        dx = r (g − mean(g) − z · mean(g z))
 */
import type { Fusion, GradientRule, TapeValue } from '@leantune/core';
import { findNorm } from '@leantune/core/patterns';
import * as tf from '@tensorflow/tfjs-core';
import { sumTo } from './activations.ts';
import { type Precision, run } from './kernels.ts';
import type { RowStore } from './rows.ts';

export function normFusion(store: RowStore, precision: Precision): Fusion {
  return (last) => {
    const norm = findNorm(last);
    const width = norm?.x.shape.at(-1) ?? 0;
    if (!norm || (norm.scale && !norm.scale.constant)) return undefined;
    const kernel = norm.means ? 'LayerNorm' : 'RmsNorm';
    const [variance, mean, scale] = [norm.variance.read(), firstRead(norm.means), norm.scale?.read()];
    if (!variance || (norm.means && !mean) || (norm.scale && (!scale || scale.size % width !== 0))) return undefined;
    const bits = precision({ kernel, layer: last.layer, elements: norm.x.shape.reduce((n, d) => n * d, 1), kind: 'norm' });
    if (bits === 32) return undefined;
    const rule = normRule(store, bits, { variance, mean, scale, epsilon: norm.epsilonAdded ? undefined : norm.epsilon });
    return { kernel, inputs: { x: norm.x, ...(norm.offset && { offset: norm.offset }) }, through: norm.through, rule };
  };
}

const firstRead = (values: readonly TapeValue[] = []): tf.Tensor | undefined => {
  for (const value of values) {
    const tensor = value.read();
    if (tensor) return tensor;
  }
  return undefined;
};

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
