/** What encoders share: their sizes, and the block of the first transformers, whose norms come after each part (arXiv 1706.03762). */
import { Attention, LayerNorm, type Storage } from '../layers/index.ts';
import { activation, activations, apply, linear, present, residual, type SymbolicTensor } from './architecture.ts';
import type { ConfigReader } from './config.ts';

export interface EncoderSizes {
  readonly hidden: number;
  readonly middle: number;
  readonly heads: number;
  readonly epsilon: number;
  readonly act: (typeof activations)[number];
  /** Of linear layers in blocks. */
  readonly storage: Storage;
}

/** By the names that BERT's and ViT's configs have for them. */
export const readEncoderSizes = (config: ConfigReader, storage: Storage): EncoderSizes => ({
  hidden: config.number('hidden_size'),
  middle: config.number('intermediate_size'),
  heads: config.number('num_attention_heads'),
  epsilon: config.number('layer_norm_eps', 1e-12),
  act: config.choice('hidden_act', activations, 'gelu'),
  storage,
});

/** How a checkpoint calls the parts of a block. */
export interface BlockNames {
  readonly queryKeyValue: readonly [string, string, string];
  readonly attention: string;
  readonly projection: string;
  readonly attentionNorm: string;
  readonly wide: string;
  readonly act: string;
  readonly narrow: string;
  readonly norm: string;
}

/** x [n, T, hidden] -> the same shape. @param at what names begin with */
export function postNormBlock(
  at: string,
  names: BlockNames,
  x: SymbolicTensor,
  mask: SymbolicTensor | undefined,
  sizes: EncoderSizes,
): SymbolicTensor {
  const { hidden, middle, heads, epsilon, act, storage } = sizes;
  const dense = (name: string, y: SymbolicTensor, units: number) => linear(`${at}.${name}`, y, units, true, storage);
  const norm = (name: string, y: SymbolicTensor) => apply(new LayerNorm({ name: `${at}.${name}`, epsilon }), y);
  const qkv = names.queryKeyValue.map((name) => dense(name, x, hidden));
  const attention = { heads, kvHeads: heads, headSize: hidden / heads, causal: false };
  const mixed = apply(new Attention({ ...attention, name: `${at}.${names.attention}` }), present(...qkv, mask));
  const attended = norm(names.attentionNorm, residual(`${at}.attention.residual`, x, dense(names.projection, mixed, hidden)));
  const wide = activation(act, `${at}.${names.act}`, dense(names.wide, attended, middle));
  return norm(names.norm, residual(`${at}.residual`, attended, dense(names.narrow, wide, hidden)));
}
