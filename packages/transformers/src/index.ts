export type { InputName } from './architectures/architecture.ts';
export type { Task } from './architectures/config.ts';
export * from './blocks/index.ts';
export { fromConfig, fromPretrained, type PretrainedOptions } from './from-pretrained.ts';
export { lossModel, meanLoss } from './loss-model.ts';
export { type HubOptions, hubRepository } from './sources/hub.ts';
export { localFolder } from './sources/local-folder.ts';
export type { Source, SourceFile } from './sources/source.ts';
export { type WebOptions, webFolder } from './sources/web.ts';
