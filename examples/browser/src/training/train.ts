/** One run, by LeanTune or by stock tfjs: the same model, pictures, weights, optimizer and order of batches for both. */
import { finetune, type MemoryData, type Schedule, setLearningRate, type Tuned, trackMemory, warmupCosine } from '@leantune/core';
import * as tf from '@tensorflow/tfjs-core';
import { type LayersModel, metrics } from '@tensorflow/tfjs-layers';
import { type Labels, labels } from './labels.ts';
import { modes } from './modes.ts';
import { batchOf } from './order.ts';

export type By = 'LeanTune' | 'tfjs';

export interface PictureSet {
  /** [n, size, size, 3] in [-1, 1]. */
  readonly images: tf.Tensor4D;
  /** Index of the class of each. */
  readonly classes: readonly number[];
}

export interface Run {
  readonly by: By;
  readonly epochs: number;
  readonly train: PictureSet;
  /** Pictures that are not learnt from. */
  readonly check: PictureSet;
  readonly labels: Labels;
}

export interface Progress {
  readonly step: number;
  readonly steps: number;
  readonly loss: number;
  /** After the last batch of an epoch: how many of the pictures that are not learnt from are told right. */
  readonly right?: number;
  readonly memory: MemoryData;
}

const BATCH = 12;

/**
 * Trains `model`, and gives word after every step; true in `next` ends the run there. Gives back the tuning, with which LeanTune saves.
 *
 * The pictures were there before and cost the run nothing; the model, and all else that the run makes, is tracked.
 */
export async function* train(
  model: LayersModel,
  { by, epochs, train, check, labels: meaning }: Run,
): AsyncGenerator<Progress, Tuned, boolean | undefined> {
  const { techniques, trainable, stock, rate } = modes[meaning.mode];
  const batch = Math.min(BATCH, train.classes.length);
  const perEpoch = Math.ceil(train.classes.length / batch);
  const steps = epochs * perEpoch;
  const schedule = warmupCosine({ peak: rate, warmupSteps: Math.min(perEpoch, steps - 1), steps });
  const selected = by === 'LeanTune' ? trainable : stock;
  const tuned = finetune(model, by === 'LeanTune' ? [labels(meaning), ...techniques()] : [], selected ? { trainable: selected } : {});
  const tracker = trackMemory({ model });
  const optimizer = tf.train.adam();
  try {
    const minimize = by === 'LeanTune' ? leanStep(tuned, optimizer, schedule) : stockStep(tuned, optimizer, schedule);
    for (let step = 0; step < steps; step++) {
      const loss = await minimize(() => lossOf(model, train, batchOf(step, batch, train.classes.length), meaning.classes.length));
      const ended = (step + 1) % perEpoch === 0;
      const right = ended && check.classes.length > 0 ? { right: await countRight(model, check, batch) } : {};
      const { toString: _, toHTML: __, ...memory } = tracker.report(); // plain data, for a worker to post
      if (yield { step: step + 1, steps, loss, ...right, memory }) break;
    }
    return tuned;
  } finally {
    tracker.stop();
    optimizer.dispose();
  }
}

type Minimize = (loss: () => tf.Scalar) => Promise<number>;

function leanStep(tuned: Tuned, adam: tf.Optimizer, schedule: Schedule): Minimize {
  const optimizer = tuned.optimizer(adam, { schedule });
  return (loss) => numberOf(tuned.minimize(loss, optimizer));
}

/** tfjs gets the variables that were selected, and its own tape. */
function stockStep(tuned: Tuned, adam: tf.Optimizer, schedule: Schedule): Minimize {
  const variables = [...tuned.variables];
  tuned.detach();
  return (loss) => {
    setLearningRate(adam, schedule(adam.iterations));
    return numberOf(adam.minimize(loss, true, variables)!);
  };
}

async function numberOf(scalar: tf.Scalar): Promise<number> {
  const [value] = await scalar.data();
  scalar.dispose();
  return value!;
}

/** Mean cross-entropy of the pictures at `indices`. */
function lossOf(model: LayersModel, { images, classes }: PictureSet, indices: readonly number[], depth: number): tf.Scalar {
  const pictures = tf.gather(images, tf.tensor1d([...indices], 'int32'));
  const truth = tf.tensor1d(
    indices.map((i) => classes[i]!),
    'int32',
  );
  const probabilities = model.apply(pictures) as tf.Tensor; // batch norms as in inference
  return tf.mean(metrics.categoricalCrossentropy(tf.oneHot(truth, depth, 1, 0, 'float32'), probabilities)) as tf.Scalar;
}

/** No more at once than in a step, so that looking costs less than learning. */
async function countRight(model: LayersModel, { images, classes }: PictureSet, batch: number): Promise<number> {
  let right = 0;
  for (let from = 0; from < classes.length; from += batch) {
    const size = Math.min(batch, classes.length - from);
    const guesses = tf.tidy(() => tf.argMax(model.apply(tf.slice(images, from, size)) as tf.Tensor, 1));
    right += [...(await guesses.data())].filter((guess, i) => guess === classes[from + i]).length;
    guesses.dispose();
  }
  return right;
}
