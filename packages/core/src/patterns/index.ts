export { type ActivationPattern, findActivation } from './activation.ts';
export { findNorm, type NormPattern } from './norm.ts';
