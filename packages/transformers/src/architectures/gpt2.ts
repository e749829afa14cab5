/** GPT-2: learned positions, LayerNorm before each part, one projection for q, k and v, weights stored [in, out], output tied to input. */
import { Attention, Embedding, LayerNorm, Linear, type Storage, storages, VocabularyHead } from '../layers/index.ts';
import { type Architecture, activation, activations, apply, present, type Request, residual, type SymbolicTensor } from './architecture.ts';
import type { ConfigReader } from './config.ts';

interface Sizes {
  readonly hidden: number;
  readonly middle: number;
  readonly heads: number;
  readonly epsilon: number;
  readonly act: (typeof activations)[number];
  /** By layer. */
  readonly scale: (layer: number) => number;
  readonly storage: Storage;
}

function readSizes(config: ConfigReader, storage: Storage): Sizes {
  const [hidden, heads] = [config.number('n_embd'), config.number('n_head')];
  const [scaled, byLayer] = [config.flag('scale_attn_weights', true), config.flag('scale_attn_by_inverse_layer_idx', false)];
  return {
    hidden,
    middle: config.number('n_inner', 4 * hidden),
    heads,
    epsilon: config.number('layer_norm_epsilon', 1e-5),
    act: config.choice('activation_function', activations, 'gelu_new'),
    scale: (layer) => (scaled ? (hidden / heads) ** -0.5 : 1) / (byLayer ? layer + 1 : 1),
    storage,
  };
}

const norm = (name: string, x: SymbolicTensor, { epsilon }: Sizes) => apply(new LayerNorm({ name, epsilon }), x);

/** x [n, T, hidden] -> the same shape. */
function block(layer: number, x: SymbolicTensor, mask: SymbolicTensor | undefined, sizes: Sizes): SymbolicTensor {
  const { hidden, heads, middle, act, scale, storage } = sizes;
  const conv1d = (name: string, y: SymbolicTensor, units: number) => apply(new Linear({ name, units, layout: 'same', storage }), y);
  const at = `transformer.h.${layer}`;
  const qkv = conv1d(`${at}.attn.c_attn`, norm(`${at}.ln_1`, x, sizes), 3 * hidden);
  const attention = { heads, kvHeads: heads, headSize: hidden / heads, causal: true, fused: true, scale: scale(layer) };
  const mixed = apply(new Attention({ ...attention, name: `${at}.attn` }), present(qkv, mask));
  const attended = residual(`${at}.attn.residual`, x, conv1d(`${at}.attn.c_proj`, mixed, hidden));
  const wide = conv1d(`${at}.mlp.c_fc`, norm(`${at}.ln_2`, attended, sizes), middle);
  return residual(`${at}.mlp.residual`, attended, conv1d(`${at}.mlp.c_proj`, activation(act, `${at}.mlp.act`, wide), hidden));
}

function build({ config, task, inputs, storage }: Request): SymbolicTensor {
  const sizes = readSizes(config, storage);
  const [size, positions, layers] = [config.number('vocab_size'), config.number('n_positions'), config.number('n_layer')];
  const tied = config.flag('tie_word_embeddings', true);
  config.check();
  const { hidden: width } = sizes;
  const words = new Embedding({ name: 'transformer.wte', size, width, storage });
  const places = new Embedding({ name: 'transformer.wpe', size: positions, width, by: 'position' });
  let x = residual('transformer.embedded', apply(words, inputs.input_ids!), apply(places, inputs.input_ids!));
  for (let layer = 0; layer < layers; layer++) x = block(layer, x, inputs.attention_mask, sizes);
  x = norm('transformer.ln_f', x, sizes);
  if (task !== 'causal-lm') return x;
  return apply(tied ? words : new VocabularyHead({ name: 'lm_head', size, storage }), x);
}

export const gpt2: Architecture = {
  types: ['gpt2'],
  tasks: ['causal-lm', 'hidden-states'],
  storages,
  inputs: ['input_ids', 'attention_mask'],
  defaultInputs: ['input_ids'],
  prefix: 'transformer.',
  unread: /\.attn\.(masked_)?bias$|^lm_head\.weight$/,
  build,
};
