export { checkpoint } from './autograd/checkpoint.ts';
export { type GradcheckOptions, type GradcheckReport, gradcheck } from './autograd/gradcheck.ts';
export { gradients, valueAndGrads } from './autograd/gradients.ts';
export { registerGradientRule } from './autograd/kernel-rules.ts';
export { FinetuneError, type FinetuneErrorCode } from './errors.ts';
export {
  type Measured,
  type MemoryCategory,
  type MemoryData,
  type MemoryPoint,
  type MemoryReport,
  measure,
  type Tracker,
  type TrackOptions,
  trackMemory,
} from './memory/measure.ts';
export type { TunableModel } from './models/read-model.ts';
export { type AdamW, type AdamWOptions, adamW } from './optimizers/adamw.ts';
export { clipByGlobalNorm } from './optimizers/clip.ts';
export {
  constant as constantSchedule,
  cosine as cosineSchedule,
  join as joinSchedules,
  linear as linearSchedule,
  type Schedule,
  setLearningRate,
  warmup as warmupSchedule,
  warmupCosine,
} from './optimizers/schedules.ts';
export type * from './technique.ts';
export { type ExplainedRow, type ExplainOptions, type Explanation, explain } from './tuning/explain.ts';
export { finetune } from './tuning/finetune.ts';
export type { StepOptions } from './tuning/finetune-optimizer.ts';
export { restore } from './tuning/restore.ts';
export type { FinetuneOptions, Summary, Tuned } from './tuning/tuned.ts';
