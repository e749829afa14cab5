/** Picks the reader of a model. */

import type { GraphModel } from '@tensorflow/tfjs-converter';
import * as tf from '@tensorflow/tfjs-core';
import type { LayersModel } from '@tensorflow/tfjs-layers';
import { FinetuneError } from '../errors.ts';
import { readGraphModel } from './graph-model.ts';
import { readLayersModel } from './layers-model.ts';
import type { ModelReader } from './model-reader.ts';
import { readVariables } from './variables.ts';

/** What {@link finetune} takes: a LayersModel, a GraphModel, or variables by name. */
export type TunableModel = LayersModel | GraphModel | { readonly [name: string]: tf.Variable };

export function readModel(model: TunableModel): ModelReader {
  const { layers, executor } = (model ?? {}) as { readonly layers?: unknown; readonly executor?: unknown };
  if (Array.isArray(layers)) return readLayersModel(model as LayersModel);
  if (executor && !(executor instanceof tf.Tensor)) return readGraphModel(model as GraphModel);
  const values = Object.values(model ?? {});
  if (values.length > 0 && values.every((v) => v instanceof tf.Variable))
    return readVariables(model as { readonly [name: string]: tf.Variable });
  throw new FinetuneError(
    'bad-model',
    'finetune',
    `got ${model === null ? 'null' : typeof model}; expected a LayersModel, a GraphModel, or an object of variables by name.`,
  );
}
