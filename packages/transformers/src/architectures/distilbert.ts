/** DistilBERT (Sanh et al. 2019, arXiv 1910.01108): BERT without types of tokens and pooler, under names of its own. */
import { Embedding, LayerNorm } from '../layers/index.ts';
import { type Architecture, activations, apply, type Request, residual, type SymbolicTensor } from './architecture.ts';
import { bert } from './bert.ts';
import { type BlockNames, type EncoderSizes, postNormBlock } from './encoder-block.ts';
import { classifier, encoderHead } from './encoder-heads.ts';

const names: BlockNames = {
  queryKeyValue: ['attention.q_lin', 'attention.k_lin', 'attention.v_lin'],
  attention: 'attention',
  projection: 'attention.out_lin',
  attentionNorm: 'sa_layer_norm',
  wide: 'ffn.lin1',
  act: 'ffn.activation',
  narrow: 'ffn.lin2',
  norm: 'output_layer_norm',
};

function build(request: Request): SymbolicTensor {
  const { config, task, inputs, labels, storage } = request;
  const sizes: EncoderSizes = {
    hidden: config.number('dim'),
    middle: config.number('hidden_dim'),
    heads: config.number('n_heads'),
    epsilon: 1e-12,
    act: config.choice('activation', activations, 'gelu'),
    storage,
  };
  const { hidden, epsilon } = sizes;
  const [layers, size, positions] = [config.number('n_layers'), config.number('vocab_size'), config.number('max_position_embeddings')];
  config.check();
  const base = task.endsWith('classification') ? 'distilbert.' : '';
  const at = `${base}embeddings`;
  const words = apply(new Embedding({ name: `${at}.word_embeddings`, size, width: hidden, storage }), inputs.input_ids!);
  const table = new Embedding({ name: `${at}.position_embeddings`, size: positions, width: hidden, by: 'position' });
  let x = apply(new LayerNorm({ name: `${at}.LayerNorm`, epsilon }), residual(`${at}.positioned`, words, apply(table, inputs.input_ids!)));
  for (let i = 0; i < layers; i++) x = postNormBlock(`${base}transformer.layer.${i}`, names, x, inputs.attention_mask, sizes);
  return encoderHead(request, x, classifier('pre_classifier', 'relu', 'classifier', hidden, labels));
}

export const distilbert: Architecture = {
  types: ['distilbert'],
  tasks: ['hidden-states', 'sentence-embedding', 'sequence-classification', 'token-classification'],
  storages: bert.storages,
  inputs: ['input_ids', 'attention_mask'],
  defaultInputs: ['input_ids', 'attention_mask'],
  prefix: 'distilbert.',
  unread: /^vocab_|position_ids$/,
  build,
};
