/** DistilBERT (Sanh et al. 2019, arXiv 1910.01108): BERT without types of tokens and pooler, under names of its own. */
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
import { classifier, encoderHead } from './encoder-heads.ts';

const EPSILON = 1e-12;
const norm = (name: string, x: SymbolicTensor) => apply(new LayerNorm({ name, epsilon: EPSILON }), x);

interface Sizes {
  readonly hidden: number;
  readonly middle: number;
  readonly heads: number;
  readonly act: (typeof activations)[number];
}

/** x [n, T, hidden] -> the same shape. */
function block(at: string, x: SymbolicTensor, mask: SymbolicTensor | undefined, { hidden, middle, heads, act }: Sizes): SymbolicTensor {
  const [q, k, v] = ['q', 'k', 'v'].map((part) => linear(`${at}.attention.${part}_lin`, x, hidden));
  const attention = { heads, kvHeads: heads, headSize: hidden / heads, causal: false };
  const mixed = apply(new Attention({ ...attention, name: `${at}.attention` }), present(q, k, v, mask));
  const projected = linear(`${at}.attention.out_lin`, mixed, hidden);
  const attended = norm(`${at}.sa_layer_norm`, residual(`${at}.attention.residual`, x, projected));
  const wide = activation(act, `${at}.ffn.activation`, linear(`${at}.ffn.lin1`, attended, middle));
  return norm(`${at}.output_layer_norm`, residual(`${at}.ffn.residual`, attended, linear(`${at}.ffn.lin2`, wide, hidden)));
}

function build(request: Request): SymbolicTensor {
  const { config, task, inputs, labels } = request;
  const hidden = config.number('dim');
  const act = config.choice('activation', activations, 'gelu');
  const sizes: Sizes = { hidden, act, middle: config.number('hidden_dim'), heads: config.number('n_heads') };
  const [layers, size, positions] = [config.number('n_layers'), config.number('vocab_size'), config.number('max_position_embeddings')];
  config.check();
  const base = task.endsWith('classification') ? 'distilbert.' : '';
  const at = `${base}embeddings`;
  const words = apply(new Embedding({ name: `${at}.word_embeddings`, size, width: hidden }), inputs.input_ids!);
  const table = new Embedding({ name: `${at}.position_embeddings`, size: positions, width: hidden, by: 'position' });
  let x = norm(`${at}.LayerNorm`, residual(`${at}.positioned`, words, apply(table, inputs.input_ids!)));
  for (let i = 0; i < layers; i++) x = block(`${base}transformer.layer.${i}`, x, inputs.attention_mask, sizes);
  return encoderHead(request, x, classifier('pre_classifier', 'relu', 'classifier', hidden, labels));
}

export const distilbert: Architecture = {
  types: ['distilbert'],
  tasks: ['hidden-states', 'sentence-embedding', 'sequence-classification', 'token-classification'],
  storages: ['float32'],
  inputs: ['input_ids', 'attention_mask'],
  defaultInputs: ['input_ids', 'attention_mask'],
  prefix: 'distilbert.',
  unread: /^vocab_|position_ids$/,
  build,
};
