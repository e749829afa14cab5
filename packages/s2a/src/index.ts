export { type AutoPrecision, type AutoPrecisionOptions, autoPrecision } from './auto-precision.ts';
export { type BiasTuningOptions, biasTuning } from './bias-tuning.ts';
export { type FourBitOptions, fourBit } from './four-bit.ts';
export { channelAveragePool, type LiteSideBranchOptions, liteSideBranch } from './lite-side-branch.ts';
export { type LowRankPromptOptions, lowRankPrompt } from './low-rank-prompt.ts';
export { type S2AOptions, s2a } from './s2a.ts';
export type { Reading } from './steps.ts';
