export type { Lists, Precision } from './lists.ts';
export {
  type DynamicLossScaleOptions,
  dynamicLossScale,
  fixedLossScale,
  type LossScale,
  type LossScaleState,
} from './loss-scale.ts';
export { type MixedPrecisionOptions, mixedPrecision } from './mixed-precision.ts';
