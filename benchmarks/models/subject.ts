/** What a benchmark trains: a model, one batch for it, and how a user of tfjs runs a step on it. The same for both engines. */
import * as tf from '@tensorflow/tfjs-core';
import type { LayersModel } from '@tensorflow/tfjs-layers';
import { type EncoderOptions, encode, encoderParameters, type Parameters, type RunBlock } from './encoder.ts';
import { fillWeights, weightsOf } from './layers-model.ts';
import { type MlpOptions, mlp } from './mlp.ts';
import { type MobileNetV2Options, mobileNetV2 } from './mobilenet-v2.ts';
import { generator, integers, oneHotRows, uniform } from './random.ts';
import { type ResNet50Options, resNet50 } from './resnet-50.ts';

export type ModelSpec =
  | ({ readonly name: 'mlp' } & MlpOptions)
  | ({ readonly name: 'mobilenet-v2' } & MobileNetV2Options)
  | ({ readonly name: 'resnet-50' } & ResNet50Options)
  | ({ readonly name: 'encoder' } & EncoderOptions);

/** A weight, under a name that is the same in every copy of the model. */
export interface Weight {
  readonly name: string;
  readonly variable: tf.Variable;
  /** False for moving statistics. */
  readonly trainable: boolean;
}

export type Subject = LayersSubject | FunctionSubject;

/** Trained by `compile` with the loss 'categoricalCrossentropy' and `fit`. */
interface LayersSubject extends Batch {
  readonly kind: 'layers';
  readonly model: LayersModel;
}

/** Trained by an own loop on `loss`. */
interface FunctionSubject extends Batch {
  readonly kind: 'function';
  readonly model: Parameters;
  /** Mean cross-entropy over the batch, each block of the forward run by `run`. */
  loss(run: RunBlock): tf.Scalar;
}

interface Batch {
  readonly weights: readonly Weight[];
  readonly x: tf.Tensor;
  readonly y: tf.Tensor2D;
  /** How the names of layers or parameters of the last block and the head begin; of the head alone. */
  readonly lastBlock: RegExp;
  readonly head: RegExp;
  predict(): tf.Tensor;
  dispose(): void;
}

/** Builds the model with seeded weights and one seeded batch, on the current backend. */
export function makeSubject(spec: ModelSpec, batch: number, seed: number): Subject {
  const next = generator(seed);
  if (spec.name === 'encoder') return encoderSubject(spec, batch, next);
  const [model, shape, lastBlock] = layersModel(spec);
  fillWeights(model, next);
  const x = tf.tensor(
    uniform(
      shape.reduce((a, b) => a * b, batch),
      1,
      next,
    ),
    [batch, ...shape],
  );
  const y = tf.tensor2d(oneHotRows(batch, spec.classes, next), [batch, spec.classes]);
  return {
    kind: 'layers',
    model,
    weights: weightsOf(model),
    x,
    y,
    lastBlock,
    head: /^head/,
    predict: () => model.predict(x, { batchSize: batch }) as tf.Tensor,
    dispose: () => {
      model.dispose();
      tf.dispose([x, y]);
    },
  };
}

/** The model, the shape of an example, and the last block. */
function layersModel(spec: Exclude<ModelSpec, { name: 'encoder' }>): [LayersModel, number[], RegExp] {
  switch (spec.name) {
    case 'mlp':
      return [mlp(spec), [spec.inputs], new RegExp(`^(hidden_${spec.hidden.length}|head)`)];
    case 'mobilenet-v2':
      return [mobileNetV2(spec), [spec.size, spec.size, 3], /^(block_16|Conv_1|head)/];
    case 'resnet-50':
      return [resNet50(spec), [spec.size, spec.size, 3], /^(conv5_block3|head)/];
  }
}

function encoderSubject(spec: EncoderOptions, batch: number, next: () => number): Subject {
  const parameters = encoderParameters(spec, next);
  const x = tf.tensor2d(integers(batch * spec.tokens, spec.vocabulary, next), [batch, spec.tokens], 'int32');
  const y = tf.tensor2d(oneHotRows(batch, spec.classes, next), [batch, spec.classes]);
  const mask = tf.ones<tf.Rank.R2>([batch, spec.tokens]);
  const logits = (run: RunBlock): tf.Tensor => encode(parameters, spec, x, mask, run);
  return {
    kind: 'function',
    model: parameters,
    weights: Object.entries(parameters).map(([name, variable]) => ({ name, variable, trainable: true })),
    x,
    y,
    lastBlock: new RegExp(`^(encoder\\.layer\\.${spec.layers - 1}|classifier)`),
    head: /^classifier/,
    loss: (run) => tf.losses.softmaxCrossEntropy(y, logits(run)),
    predict: () => tf.tidy(() => logits(tidied)),
    dispose: () => tf.dispose([x, y, mask, ...Object.values(parameters)]),
  };
}

/** A block as users of tfjs write it: what it made on the way goes when it returns. */
export const tidied: RunBlock = (block, x) => tf.tidy(() => block(x));
