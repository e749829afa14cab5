/** What a benchmark trains: a model, one batch for it, and how a user of tfjs runs a step on it. The same for both engines. */
import * as tf from '@tensorflow/tfjs-core';
import { type LayersModel, metrics } from '@tensorflow/tfjs-layers';
import { type EncoderOptions, encoderBlocks, encoderParameters, type Parameters } from './encoder.ts';
import { type MlpOptions, mlp } from './mlp.ts';
import { type MobileNetV2Options, mobileNetV2 } from './mobilenet-v2.ts';
import { generator, integers, oneHotRows, uniform } from './random.ts';
import { type ResNet50Options, resNet50 } from './resnet-50.ts';
import { blocksOf, fillWeights, weightsOf } from './layers-model.ts';

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

export interface Subject {
  /** What `finetune` takes. */
  readonly model: LayersModel | Parameters;
  readonly weights: readonly Weight[];
  readonly x: tf.Tensor;
  readonly y: tf.Tensor2D;
  /** The training forward as a chain: residual blocks or encoder layers, between which checkpoints may lie. */
  readonly blocks: readonly ((x: tf.Tensor) => tf.Tensor)[];
  /** How the names of layers or parameters of the last block and the head begin; of the head alone. */
  readonly lastBlock: RegExp;
  readonly head: RegExp;
  /** Mean cross-entropy of what the last block returns. */
  loss(prediction: tf.Tensor): tf.Scalar;
  predict(): tf.Tensor;
  dispose(): void;
}

/** Builds the model with seeded weights and one seeded batch, on the current backend. */
export function makeSubject(spec: ModelSpec, batch: number, seed: number): Subject {
  const next = generator(seed);
  if (spec.name === 'encoder') return encoderSubject(spec, batch, next);
  const [model, shape, ends, lastBlock] = layersModel(spec);
  fillWeights(model, next);
  const x = tf.tensor(uniform(shape.reduce((a, b) => a * b, batch), 1, next), [batch, ...shape]);
  const y = tf.tensor2d(oneHotRows(batch, spec.classes, next), [batch, spec.classes]);
  return {
    model,
    weights: weightsOf(model),
    x,
    y,
    blocks: blocksOf(model, ends),
    lastBlock,
    head: /^head/,
    // What compile's 'categoricalCrossentropy' computes.
    loss: (prediction) => tf.mean(metrics.categoricalCrossentropy(y, prediction)),
    predict: () => model.predict(x, { batchSize: batch }) as tf.Tensor,
    dispose: () => {
      model.dispose();
      tf.dispose([x, y]);
    },
  };
}

/** The model, the shape of an example, the layers at which its blocks end, and its last block. */
function layersModel(spec: Exclude<ModelSpec, { name: 'encoder' }>): [LayersModel, number[], RegExp, RegExp] {
  switch (spec.name) {
    case 'mlp':
      return [mlp(spec), [spec.inputs], /^hidden_/, new RegExp(`^(hidden_${spec.hidden.length}|head)`)];
    case 'mobilenet-v2':
      return [mobileNetV2(spec), [spec.size, spec.size, 3], /^(Conv1_relu|.*_project_BN|.*_add|out_relu)$/, /^(block_16|Conv_1|head)/];
    case 'resnet-50':
      return [resNet50(spec), [spec.size, spec.size, 3], /^(pool1_pool|.*_out)$/, /^(conv5_block3|head)/];
  }
}

function encoderSubject(spec: EncoderOptions, batch: number, next: () => number): Subject {
  const parameters = encoderParameters(spec, next);
  const x = tf.tensor2d(integers(batch * spec.tokens, spec.vocabulary, next), [batch, spec.tokens], 'int32');
  const y = tf.tensor2d(oneHotRows(batch, spec.classes, next), [batch, spec.classes]);
  const mask = tf.ones<tf.Rank.R2>([batch, spec.tokens]);
  const blocks = encoderBlocks(parameters, spec, mask);
  return {
    model: parameters,
    weights: Object.entries(parameters).map(([name, variable]) => ({ name, variable, trainable: true })),
    x,
    y,
    blocks,
    lastBlock: new RegExp(`^(encoder\\.layer\\.${spec.layers - 1}|classifier)`),
    head: /^classifier/,
    loss: (prediction) => tf.losses.softmaxCrossEntropy(y, prediction) as tf.Scalar,
    predict: () => tf.tidy(() => chain(blocks, x)),
    dispose: () => tf.dispose([x, y, mask, ...Object.values(parameters)]),
  };
}

/** Runs one block after another. */
export function chain(blocks: readonly ((x: tf.Tensor) => tf.Tensor)[], x: tf.Tensor): tf.Tensor {
  return blocks.reduce((value, block) => block(value), x);
}
