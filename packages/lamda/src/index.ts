export { type FreezingOptions, frozenRows, updatesOf } from './freezing.ts';
export type { Init } from './initial-factors.ts';
export { lamda } from './lamda.ts';
export type { LamdaOptions } from './options.ts';
