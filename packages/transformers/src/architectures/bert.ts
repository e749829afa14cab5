/**
 * BERT (Devlin et al. 2018, arXiv 1810.04805), MiniLM and RoBERTa (Liu et al. 2019, arXiv 1907.11692): learned positions, norms after
 * each part. RoBERTa counts positions from behind the padding, and its classifier has no pooler.
 */
import { Attention, Embedding, LayerNorm } from '../layers/index.ts';
import {
  type Architecture,
  activation,
  activations,
  apply,
  linear,
  present,
  type Request,
  residual,
  type SymbolicTensor,
} from './architecture.ts';
import type { ConfigReader } from './config.ts';
import { classifier, encoderHead } from './encoder-heads.ts';

interface Sizes {
  readonly hidden: number;
  readonly middle: number;
  readonly heads: number;
  readonly epsilon: number;
  readonly act: (typeof activations)[number];
  /** Rows of the tables. */
  readonly tables: { readonly words: number; readonly positions: number; readonly types: number };
  /** Of RoBERTa, which counts positions from behind it. */
  readonly padding: number;
}

function readSizes(config: ConfigReader): Sizes {
  return {
    hidden: config.number('hidden_size'),
    middle: config.number('intermediate_size'),
    heads: config.number('num_attention_heads'),
    epsilon: config.number('layer_norm_eps', 1e-12),
    act: config.choice('hidden_act', activations, 'gelu'),
    tables: {
      words: config.number('vocab_size'),
      positions: config.number('max_position_embeddings'),
      types: config.number('type_vocab_size', 2),
    },
    padding: config.number('pad_token_id', config.type === 'roberta' ? 1 : 0),
  };
}

/** x [n, T, hidden] -> the same shape. */
function block(
  at: string,
  x: SymbolicTensor,
  mask: SymbolicTensor | undefined,
  { hidden, middle, heads, epsilon, act }: Sizes,
): SymbolicTensor {
  const norm = (name: string, y: SymbolicTensor) => apply(new LayerNorm({ name: `${at}.${name}.LayerNorm`, epsilon }), y);
  const [q, k, v] = ['query', 'key', 'value'].map((part) => linear(`${at}.attention.self.${part}`, x, hidden));
  const attention = { heads, kvHeads: heads, headSize: hidden / heads, causal: false };
  const mixed = apply(new Attention({ ...attention, name: `${at}.attention.self` }), present(q, k, v, mask));
  const projected = linear(`${at}.attention.output.dense`, mixed, hidden);
  const attended = norm('attention.output', residual(`${at}.attention.residual`, x, projected));
  const wide = activation(act, `${at}.intermediate.act`, linear(`${at}.intermediate.dense`, attended, middle));
  return norm('output', residual(`${at}.residual`, attended, linear(`${at}.output.dense`, wide, hidden)));
}

function embed(base: string, { inputs, config }: Request, { hidden: width, epsilon, tables, padding }: Sizes): SymbolicTensor {
  const ids = inputs.input_ids!;
  const at = `${base}embeddings`;
  const place = config.type === 'roberta' ? ({ by: 'position-after-padding', padding } as const) : ({ by: 'position' } as const);
  const kind = inputs.token_type_ids ? ({ by: 'token' } as const) : ({ by: 'first' } as const);
  const words = apply(new Embedding({ name: `${at}.word_embeddings`, size: tables.words, width }), ids);
  const places = apply(new Embedding({ name: `${at}.position_embeddings`, size: tables.positions, width, ...place }), ids);
  const kinds = apply(
    new Embedding({ name: `${at}.token_type_embeddings`, size: tables.types, width, ...kind }),
    inputs.token_type_ids ?? ids,
  );
  const summed = residual(`${at}.positioned`, residual(`${at}.typed`, words, kinds), places);
  return apply(new LayerNorm({ name: `${at}.LayerNorm`, epsilon }), summed);
}

function build(request: Request): SymbolicTensor {
  const { config, task, inputs, labels } = request;
  const sizes = readSizes(config);
  const layers = config.number('num_hidden_layers');
  config.choice('position_embedding_type', ['absolute'], 'absolute');
  const base = task.endsWith('classification') ? `${config.type}.` : '';
  config.check();
  let x = embed(base, request, sizes);
  for (let i = 0; i < layers; i++) x = block(`${base}encoder.layer.${i}`, x, inputs.attention_mask, sizes);
  const [dense, out] = config.type === 'roberta' ? ['classifier.dense', 'classifier.out_proj'] : [`${base}pooler.dense`, 'classifier'];
  return encoderHead(request, x, classifier(dense!, 'tanh', out!, sizes.hidden, labels));
}

const shared: Omit<Architecture, 'types' | 'prefix'> = {
  tasks: ['hidden-states', 'sentence-embedding', 'sequence-classification', 'token-classification'],
  storages: ['float32'],
  inputs: ['input_ids', 'attention_mask', 'token_type_ids'],
  defaultInputs: ['input_ids', 'attention_mask'],
  // the pooler and the heads of pretraining, and a table of numbers 0, 1, 2 …
  unread: /(^|\.)pooler\.|^cls\.|^lm_head\.|position_ids$/,
  build,
};

export const bert: Architecture = { ...shared, types: ['bert'], prefix: 'bert.' };
export const roberta: Architecture = { ...shared, types: ['roberta'], prefix: 'roberta.' };
