export { attention } from './attention.ts';
export type { AttentionAttrs } from './attention-scores.ts';
export { gelu } from './gelu.ts';
export { layerNorm } from './layer-norm.ts';
export { linearCrossEntropy } from './linear-cross-entropy.ts';
export { rmsNorm } from './rms-norm.ts';
export { type RopeAttrs, rope } from './rope.ts';
export { swiglu } from './swiglu.ts';
