export { type AdamW, type AdamWOptions, adamW } from './adamw.ts';
export { checkpoint } from './checkpoint.ts';
export { clipByGlobalNorm } from './clip.ts';
export { FinetuneError, type FinetuneErrorCode } from './errors.ts';
export { finetune } from './finetune.ts';
export { type GradcheckOptions, type GradcheckReport, gradcheck } from './gradcheck.ts';
export { gradients, valueAndGrads } from './gradients.ts';
export { type Measured, type MemoryReport, measure, type TrackOptions, type Tracker, trackMemory } from './memory.ts';
export type { TunableModel } from './models/read-model.ts';
export type { StepOptions } from './optimizer.ts';
export {
  constant as constantSchedule,
  cosine as cosineSchedule,
  join as joinSchedules,
  linear as linearSchedule,
  type Schedule,
  setLearningRate,
  warmup as warmupSchedule,
  warmupCosine,
} from './schedules.ts';
export { restore } from './restore.ts';
export type * from './technique.ts';
export type { FinetuneOptions, Summary, Tuned } from './tuned.ts';
export { explain, type ExplainedRow, type ExplainOptions, type Explanation } from './explain.ts';
