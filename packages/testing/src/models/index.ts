import { functionModels } from './functions.ts';
import { graphModels } from './graphs.ts';
import { layersModels } from './layers.ts';
import type { MakeTinyModel } from './tiny-model.ts';

export * from './functions.ts';
export { attribute, GraphBuilder } from './graph-builder.ts';
export * from './graphs.ts';
export * from './layers.ts';
export { summed } from './summed.ts';
export * from './tiny-model.ts';

/** Every tiny model, by name: `'layers/residual'`. */
export const tinyModels: { readonly [name: string]: MakeTinyModel } = Object.fromEntries([
  ...Object.entries(layersModels).map(([name, make]) => [`layers/${name}`, make]),
  ...Object.entries(graphModels).map(([name, make]) => [`graph/${name}`, make]),
  ...Object.entries(functionModels).map(([name, make]) => [`function/${name}`, make]),
]);
