/** What a benchmark trains: a model, one batch for it, and how a user of tfjs runs a step on it. The same for both engines. */
import * as tf from '@tensorflow/tfjs-core';
import type { LayersModel } from '@tensorflow/tfjs-layers';
import { type DecoderOptions, decode, decoderParameters, decoderPositions } from './decoder.ts';
import { type EncoderOptions, encode, encoderParameters } from './encoder.ts';
import { fillWeights, weightsOf } from './layers-model.ts';
import { type MlpOptions, mlp } from './mlp.ts';
import { type MobileNetV2Options, mobileNetV2 } from './mobilenet-v2.ts';
import { generator, integers, oneHotRows, uniform } from './random.ts';
import { type ResNet50Options, resNet50 } from './resnet-50.ts';
import type { Parameters, RunBlock } from './transformer-ops.ts';
import { look, type VitOptions, vitParameters } from './vit.ts';

export type ModelSpec =
  | ({ readonly name: 'mlp' } & MlpOptions)
  | ({ readonly name: 'mobilenet-v2' } & MobileNetV2Options)
  | ({ readonly name: 'resnet-50' } & ResNet50Options)
  | FunctionSpec;

type LayersSpec = Exclude<ModelSpec, FunctionSpec>;
type FunctionSpec =
  | ({ readonly name: 'encoder' } & EncoderOptions)
  | ({ readonly name: 'decoder' } & DecoderOptions)
  | ({ readonly name: 'vit' } & VitOptions);

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
  if (!isLayersSpec(spec)) return functionSubject(spec, batch, next);
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
function layersModel(spec: LayersSpec): [LayersModel, number[], RegExp] {
  switch (spec.name) {
    case 'mlp':
      return [mlp(spec), [spec.inputs], new RegExp(`^(hidden_${spec.hidden.length}|head)`)];
    case 'mobilenet-v2':
      return [mobileNetV2(spec), [spec.size, spec.size, 3], /^(block_16|Conv_1|head)/];
    case 'resnet-50':
      return [resNet50(spec), [spec.size, spec.size, 3], /^(conv5_block3|head)/];
  }
}

/** What differs between models that are functions. */
interface Written {
  readonly parameters: Parameters;
  readonly x: tf.Tensor;
  readonly y: tf.Tensor2D;
  /** Constants that the forward reads. */
  readonly constants: readonly tf.Tensor[];
  readonly lastBlock: RegExp;
  readonly head: RegExp;
  logits(run: RunBlock): tf.Tensor;
  loss(logits: tf.Tensor): tf.Scalar;
}

function functionSubject(spec: FunctionSpec, batch: number, next: () => number): Subject {
  const { parameters, x, y, constants, logits, loss, lastBlock, head } = written(spec, batch, next);
  return {
    kind: 'function',
    model: parameters,
    weights: Object.entries(parameters).map(([name, variable]) => ({ name, variable, trainable: true })),
    ...{ x, y, lastBlock, head },
    loss: (run) => loss(logits(run)),
    predict: () => tf.tidy(() => logits(tidied)),
    dispose: () => tf.dispose([x, y, ...constants, ...Object.values(parameters)]),
  };
}

function written(spec: FunctionSpec, batch: number, next: () => number): Written {
  switch (spec.name) {
    case 'encoder':
      return encoder(spec, batch, next);
    case 'decoder':
      return decoder(spec, batch, next);
    case 'vit':
      return vit(spec, batch, next);
  }
}

function encoder(spec: EncoderOptions, batch: number, next: () => number): Written {
  const parameters = encoderParameters(spec, next);
  const x = tf.tensor2d(integers(batch * spec.tokens, spec.vocabulary, next), [batch, spec.tokens], 'int32');
  const y = tf.tensor2d(oneHotRows(batch, spec.classes, next), [batch, spec.classes]);
  const mask = tf.ones<tf.Rank.R2>([batch, spec.tokens]);
  return {
    ...{ parameters, x, y, constants: [mask] },
    lastBlock: new RegExp(`^(encoder\\.layer\\.${spec.layers - 1}|classifier)`),
    head: /^classifier/,
    logits: (run) => encode(parameters, spec, x, mask, run),
    loss: (logits) => tf.losses.softmaxCrossEntropy(y, logits),
  };
}

/** Predicts the next token; tfjs's cross-entropy wants labels as one-hot rows. */
function decoder(spec: DecoderOptions, batch: number, next: () => number): Written {
  const parameters = decoderParameters(spec, next);
  const x = tf.tensor2d(integers(batch * spec.tokens, spec.vocabulary, next), [batch, spec.tokens], 'int32');
  const positions = decoderPositions(spec);
  return {
    ...{ parameters, x, y: x.clone(), constants: Object.values(positions) },
    lastBlock: new RegExp(`^model\\.layers\\.${spec.layers - 1}`),
    head: /^model\.norm/,
    logits: (run) => decode(parameters, spec, x, positions, run),
    loss: (logits) =>
      tf.losses.softmaxCrossEntropy(
        tf.oneHot(tf.slice(x, [0, 1], [-1, -1]) as tf.Tensor2D, spec.vocabulary),
        tf.slice(logits, [0, 0, 0], [-1, spec.tokens - 1, -1]),
      ),
  };
}

function vit(spec: VitOptions, batch: number, next: () => number): Written {
  const parameters = vitParameters(spec, next);
  const x = tf.tensor(uniform(batch * spec.size ** 2 * 3, 1, next), [batch, spec.size, spec.size, 3]);
  const y = tf.tensor2d(oneHotRows(batch, spec.classes, next), [batch, spec.classes]);
  return {
    ...{ parameters, x, y, constants: [] },
    lastBlock: new RegExp(`^(vit\\.encoder\\.layer\\.${spec.layers - 1}|classifier)`),
    head: /^classifier/,
    logits: (run) => look(parameters, spec, x, run),
    loss: (logits) => tf.losses.softmaxCrossEntropy(y, logits),
  };
}

const isLayersSpec = (spec: ModelSpec): spec is LayersSpec => ['mlp', 'mobilenet-v2', 'resnet-50'].includes(spec.name);

/** A block as users of tfjs write it: what it made on the way goes when it returns. */
export const tidied: RunBlock = (block, x) => tf.tidy(() => block(x));
