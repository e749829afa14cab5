export { allocateRanks, type Budget, type Spectrum } from './allocate.ts';
export { type FreezingOptions, frozenRows, updatesOf } from './freezing.ts';
export type { Init } from './initial-factors.ts';
export { lamda } from './lamda.ts';
export { explainRanks, type LamdaPlusPlusOptions, lamdaPlusPlus } from './lamda-plus-plus.ts';
export type { LamdaOptions } from './options.ts';
export type { RankPlan } from './rank-plan.ts';
