/**
 * BERT (Devlin et al. 2018, arXiv 1810.04805), MiniLM and RoBERTa (Liu et al. 2019, arXiv 1907.11692): learned positions, norms after
 * each part. RoBERTa counts positions from behind the padding, and its classifier has no pooler.
 */
import { Embedding, LayerNorm, storages } from '../layers/index.ts';
import { type Architecture, apply, type Request, residual, type SymbolicTensor } from './architecture.ts';
import type { ConfigReader } from './config.ts';
import { type BlockNames, type EncoderSizes, postNormBlock, readEncoderSizes } from './encoder-block.ts';
import { classifier, encoderHead } from './encoder-heads.ts';

const names: BlockNames = {
  queryKeyValue: ['attention.self.query', 'attention.self.key', 'attention.self.value'],
  attention: 'attention.self',
  projection: 'attention.output.dense',
  attentionNorm: 'attention.output.LayerNorm',
  wide: 'intermediate.dense',
  act: 'intermediate.act',
  narrow: 'output.dense',
  norm: 'output.LayerNorm',
};

/** Rows of the tables. */
interface Tables {
  readonly words: number;
  readonly positions: number;
  readonly types: number;
  /** Of RoBERTa, which counts positions from behind it. */
  readonly padding: number;
}

const readTables = (config: ConfigReader): Tables => ({
  words: config.number('vocab_size'),
  positions: config.number('max_position_embeddings'),
  types: config.number('type_vocab_size', 2),
  padding: config.number('pad_token_id', config.type === 'roberta' ? 1 : 0),
});

function embed(
  base: string,
  { inputs, config, storage }: Request,
  { hidden: width, epsilon }: EncoderSizes,
  tables: Tables,
): SymbolicTensor {
  const ids = inputs.input_ids!;
  const at = `${base}embeddings`;
  const place =
    config.type === 'roberta' ? ({ by: 'position-after-padding', padding: tables.padding } as const) : ({ by: 'position' } as const);
  const kind = inputs.token_type_ids ? ({ by: 'token' } as const) : ({ by: 'first' } as const);
  const words = apply(new Embedding({ name: `${at}.word_embeddings`, size: tables.words, width, storage }), ids);
  const places = apply(new Embedding({ name: `${at}.position_embeddings`, size: tables.positions, width, ...place }), ids);
  const kinds = apply(
    new Embedding({ name: `${at}.token_type_embeddings`, size: tables.types, width, ...kind }),
    inputs.token_type_ids ?? ids,
  );
  const summed = residual(`${at}.positioned`, residual(`${at}.typed`, words, kinds), places);
  return apply(new LayerNorm({ name: `${at}.LayerNorm`, epsilon }), summed);
}

function build(request: Request): SymbolicTensor {
  const { config, task, inputs, labels, storage } = request;
  const [sizes, tables] = [readEncoderSizes(config, storage), readTables(config)];
  const layers = config.number('num_hidden_layers');
  config.choice('position_embedding_type', ['absolute'], 'absolute');
  const base = task.endsWith('classification') ? `${config.type}.` : '';
  config.check();
  let x = embed(base, request, sizes, tables);
  for (let i = 0; i < layers; i++) x = postNormBlock(`${base}encoder.layer.${i}`, names, x, inputs.attention_mask, sizes);
  const [dense, out] = config.type === 'roberta' ? ['classifier.dense', 'classifier.out_proj'] : [`${base}pooler.dense`, 'classifier'];
  return encoderHead(request, x, classifier(dense!, 'tanh', out!, sizes.hidden, labels));
}

const shared: Omit<Architecture, 'types' | 'prefix'> = {
  tasks: ['hidden-states', 'sentence-embedding', 'sequence-classification', 'token-classification'],
  storages: storages.filter((storage) => storage !== 'nf5'), // whose finer rows are those of tokens that are met most
  inputs: ['input_ids', 'attention_mask', 'token_type_ids'],
  defaultInputs: ['input_ids', 'attention_mask'],
  // the pooler and the heads of pretraining, and a table of numbers 0, 1, 2 …
  unread: /(^|\.)pooler\.|^cls\.|^lm_head\.|position_ids$/,
  build,
};

export const bert: Architecture = { ...shared, types: ['bert'], prefix: 'bert.' };
export const roberta: Architecture = { ...shared, types: ['roberta'], prefix: 'roberta.' };
