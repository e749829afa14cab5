export { deployMode } from './deploy-mode.ts';
export { evalMode } from './eval-mode.ts';
export { type FoldOptions, fold } from './fold.ts';
export { type ConvBnWeights, foldWeights } from './fold-weights.ts';
export type { ModeOptions } from './norms.ts';
export { type LeftNorm, type PairReport, pairsOf } from './pairs-of.ts';
export { trainMode } from './train-mode.ts';
export { tuneMode } from './tune-mode.ts';
