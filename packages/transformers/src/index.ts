export type { InputName } from './architectures/architecture.ts';
export type { Task } from './architectures/config.ts';
export {
  type AttentionAttrs,
  attention,
  gelu,
  layerNorm,
  linearCrossEntropy,
  type PackedTable,
  packedMatMul,
  type RopeAttrs,
  rmsNorm,
  rope,
  swiglu,
} from './blocks/index.ts';
export { type BatchOptions, byLength, type LanguageBatch, languageBatches } from './data/batches.ts';
export { type Example, IGNORED, promptAndAnswer } from './data/example.ts';
export { type PackOptions, pack, type Row } from './data/pack.ts';
export { fromConfig, fromPretrained, type PretrainedOptions } from './from-pretrained.ts';
export { type GenerateOptions, generate } from './generation/generate.ts';
export type { SamplingOptions } from './generation/sampling.ts';
export { lossModel, meanLoss } from './loss-model.ts';
export { type HubOptions, hubRepository } from './sources/hub.ts';
export { localFolder } from './sources/local-folder.ts';
export type { Source, SourceFile } from './sources/source.ts';
export { type WebOptions, webFolder } from './sources/web.ts';
export type { ChatMessage } from './text/chat-template.ts';
export { type EncodeOptions, loadTokenizer, type TextTokenizer } from './text/tokenizer.ts';
