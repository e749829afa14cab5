export type { LoraOptions, PeftConfig } from './config.ts';
export { lora } from './lora.ts';
export { type ExportOptions, exportPeft, importPeft, type PeftFiles } from './peft-files.ts';
