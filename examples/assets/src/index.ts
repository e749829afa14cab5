export { aliceInWonderland } from './alice.ts';
export { type Cifar10Options, cifar10 } from './cifar10.ts';
export { accuracyOn, type CookingOptions, cookingQuestions, type TextSet } from './cooking-questions.ts';
export { AssetError, cacheFolder, fetchPackage } from './fetch-package.ts';
export type { ImageData, ImageSet } from './image-set.ts';
export {
  type EncoderLayer,
  embed,
  encode,
  MINI_LM,
  type MiniLM,
  miniLM,
  miniLMCheckpoint,
  type RunLayer,
  type TokenBatch,
  type Weights,
} from './mini-lm.ts';
export { type MovieOptions, movieReviews } from './movie-reviews.ts';
export type { AssetPackage } from './packages.ts';
export { type Progress, progressBar } from './progress.ts';
export { type QuickDrawOptions, quickDraw, tenSketches } from './quick-draw.ts';
export { storiesCheckpoint } from './stories.ts';
export { centerNet, centerNetFeatures, mobilenetV2, resnet50, resnet50Input, type VisionOptions } from './vision-models.ts';
