export { FinetuneError, type FinetuneErrorCode } from './errors.ts';
export { gradients, valueAndGrads } from './gradients.ts';
