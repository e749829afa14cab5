/**
 * Activations, norms and attention that are one kernel each, as the blocks of @leantune/transformers are: `Gelu`, `LayerNorm`, `RmsNorm`,
 * and by what they keep `Attention` and `SwiGlu` (`four-bit.ts`). By name: any package may run kernels of these names.
 */
import type { GradientRule, GradientRules } from '@leantune/core';
import * as tf from '@tensorflow/tfjs-core';
import { stepRule, stepsOf, sumTo } from './activations.ts';
import { type Precision, rowMoments, run, runMany } from './kernels.ts';
import type { RowStore } from './rows.ts';
import type { Reading } from './steps.ts';

/** What waits as rows of the kernels that go by several inputs. */
export const operands: { readonly [kernel: string]: RegExp } = {
  Attention: /^(inputs\.[qkv]|y)$/,
  SwiGlu: /^inputs\.(gate|up)$/,
};

export function blockRules(store: RowStore, precision: Precision, reading: Reading): GradientRules {
  return {
    Gelu: stepRule(({ attrs, inputs, layer = '' }) => {
      const bits = precision({ kernel: 'Gelu', layer, elements: inputs!['x']!.size, kind: 'activation' });
      return stepsOf(attrs['approximate'] ? 'geluTanh' : 'gelu', bits, reading);
    }),
    LayerNorm: normRule('LayerNorm', store, precision),
    RmsNorm: normRule('RmsNorm', store, precision),
  };
}

/** x waits in rows of codes, its statistics as they are: y = x̂ · weight + bias over the last axis. */
function normRule(kernel: 'LayerNorm' | 'RmsNorm', store: RowStore, precision: Precision): GradientRule {
  return {
    keep({ inputs, attrs, layer = '', wanted }) {
      const { x, weight } = inputs as { readonly [name: string]: tf.Tensor };
      if (wanted.every((name) => name === 'bias')) return {};
      const bits = precision({ kernel, layer, elements: x!.size, kind: 'norm' });
      if (bits === 32) return { x: x!, weight: weight! };
      const width = x!.shape.at(-1)!;
      const centered = kernel === 'LayerNorm';
      const moments = () => {
        const t = tf.keep(tf.tidy(() => rowMoments(x!, attrs['epsilon'] as number, centered)));
        return { bytes: t.size * 4, decode: () => t, dispose: () => t.dispose() };
      };
      return { codes: () => store.pack(x!, bits, width), moments, scale: weight! };
    },
    backward([dy], { codes, moments, scale, ...exact }, { inputs, attrs, wanted }) {
      if (exact['x']) {
        const dxs = tf.engine().runKernel(`${kernel}Grad`, { ...exact, dy: dy! } as tf.NamedTensorMap, { ...attrs, wanted } as never);
        return Object.fromEntries(wanted.map((name, i) => [name, [dxs].flat()[i]!]));
      }
      const packed = codes && store.rows(codes);
      const [rstd, mean] = moments ? tf.unstack(moments).reverse() : [];
      const given = { codes: codes!, dy: dy!, ...(mean && { mean }), rstd: rstd! };
      const inOnePass = wanted.includes('weight') && tf.getKernel('NormScaleGradRows', tf.getBackend());
      const [dscale, doffset] = inOnePass ? runMany('NormScaleGradRows', given, packed!) : [];
      const gradients: { [name: string]: () => tf.Tensor } = {
        x: () => run('NormGradRows', { ...given, scale: scale! }, packed!),
        weight: () => {
          if (dscale) return tf.reshape(dscale, inputs['weight']!.shape as number[]);
          const column = (t: tf.Tensor) => tf.reshape(t, [...dy!.shape.slice(0, -1), 1]);
          const x = tf.reshape(store.read(codes!), dy!.shape);
          return sumTo(tf.mul(dy!, tf.mul(mean ? tf.sub(x, column(mean)) : x, column(rstd!))), inputs['weight']!.shape as number[]);
        },
        bias: () => (doffset ? tf.reshape(doffset, inputs['bias']!.shape as number[]) : sumTo(dy!, inputs['bias']!.shape as number[])),
      };
      return Object.fromEntries(wanted.map((name) => [name, tf.tidy(gradients[name]!)]));
    },
  };
}
