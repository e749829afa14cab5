/**
 * The Llama family: RMSNorm before each part, rotary positions, SwiGLU, keys shared by groups of heads. Llama 1 to 3, TinyLlama and
 * SmolLM; Mistral with its window; Qwen 2 and 2.5 with biases of q, k and v; Qwen 3 with norms of q and k.
 */
import { Attention, type AttentionConfig, Embedding, RmsNorm, type Storage, SwiGlu, storages, VocabularyHead } from '../layers/index.ts';
import { type Architecture, apply, linear, present, type Request, residual, type SymbolicTensor } from './architecture.ts';
import type { ConfigReader } from './config.ts';
import { longestText, readRope } from './rope-config.ts';

interface Sizes {
  readonly hidden: number;
  readonly middle: number;
  readonly attention: Omit<AttentionConfig, 'name'>;
  readonly epsilon: number;
  readonly biases: { readonly qkv: boolean; readonly o: boolean; readonly mlp: boolean };
  readonly normsQueries: boolean;
  readonly storage: Storage;
}

function readSizes(config: ConfigReader, storage: Storage): Sizes {
  const { type } = config;
  const [hidden, heads] = [config.number('hidden_size'), config.number('num_attention_heads')];
  const headSize = config.number('head_dim', hidden / heads);
  const kvHeads = config.number('num_key_value_heads', heads);
  const windowed = type === 'mistral' || (type.startsWith('qwen') && config.flag('use_sliding_window', false));
  const window = windowed ? config.number('sliding_window', 0) : 0;
  const rope = readRope(config);
  const positions = longestText(config.raw, rope);
  const bias = type === 'qwen2' || config.flag('attention_bias', false);
  return {
    hidden,
    middle: config.number('intermediate_size'),
    attention: { heads, kvHeads, headSize, causal: true, window, rope, ...(positions && { positions }) },
    epsilon: config.number('rms_norm_eps', 1e-6),
    biases: { qkv: bias, o: bias && type !== 'qwen2', mlp: config.flag('mlp_bias', false) },
    normsQueries: type === 'qwen3',
    storage,
  };
}

/** x [n, T, hidden] -> the same shape. */
function block(at: string, x: SymbolicTensor, mask: SymbolicTensor | undefined, sizes: Sizes, window: number): SymbolicTensor {
  const { attention, epsilon, biases, hidden, middle, storage } = sizes;
  const { heads, kvHeads, headSize } = attention;
  const norm = (name: string, y: SymbolicTensor, width?: number) =>
    apply(new RmsNorm({ name: `${at}.${name}`, epsilon, ...(width && { width }) }), y);
  const normal = norm('input_layernorm', x);
  const project = (part: string, n: number) => linear(`${at}.self_attn.${part}_proj`, normal, n * headSize, biases.qkv, storage);
  let [q, k] = [project('q', heads), project('k', kvHeads)];
  const v = project('v', kvHeads);
  if (sizes.normsQueries) [q, k] = [norm('self_attn.q_norm', q, headSize), norm('self_attn.k_norm', k, headSize)];
  const mixed = apply(new Attention({ ...attention, window, name: `${at}.self_attn` }), present(q, k, v, mask));
  const attended = residual(`${at}.self_attn.residual`, x, linear(`${at}.self_attn.o_proj`, mixed, hidden, biases.o, storage));
  const second = norm('post_attention_layernorm', attended);
  const [gate, up] = ['gate', 'up'].map((part) => linear(`${at}.mlp.${part}_proj`, second, middle, biases.mlp, storage)) as [
    SymbolicTensor,
    SymbolicTensor,
  ];
  const gated = apply(new SwiGlu({ name: `${at}.mlp.act_fn` }), [gate, up]);
  return residual(`${at}.mlp.residual`, attended, linear(`${at}.mlp.down_proj`, gated, hidden, biases.mlp, storage));
}

function build({ config, task, inputs, storage }: Request): SymbolicTensor {
  const sizes = readSizes(config, storage);
  const [size, layers] = [config.number('vocab_size'), config.number('num_hidden_layers')];
  const tied = config.flag('tie_word_embeddings', false);
  config.choice('hidden_act', ['silu', 'swish'], 'silu');
  const kinds = config.raw['layer_types'] as readonly string[] | undefined;
  config.check();
  const embedding = new Embedding({ name: 'model.embed_tokens', size, width: sizes.hidden, storage });
  let x = apply(embedding, inputs.input_ids!);
  for (let i = 0; i < layers; i++) {
    const window = (kinds?.[i] ?? 'sliding_attention') === 'sliding_attention' ? (sizes.attention.window ?? 0) : 0;
    x = block(`model.layers.${i}`, x, inputs.attention_mask, sizes, window);
  }
  x = apply(new RmsNorm({ name: 'model.norm', epsilon: sizes.epsilon }), x);
  if (task !== 'causal-lm') return x;
  return apply(tied ? embedding : new VocabularyHead({ name: 'lm_head', size, storage }), x);
}

export const llama: Architecture = {
  types: ['llama', 'mistral', 'qwen2', 'qwen3'],
  tasks: ['causal-lm', 'hidden-states'],
  storages,
  inputs: ['input_ids', 'attention_mask'],
  defaultInputs: ['input_ids'],
  prefix: 'model.',
  unread: /rotary_emb\.inv_freq$|^lm_head\.weight$/,
  build,
};
