/** MobileNetV2 sorts photos of CIFAR-10: a LayersModel with a new head. */
import { cifar10, mobilenetV2 } from '@leantune/assets';
import { biasTuning, liteSideBranch, lowRankPrompt, s2a } from '@leantune/s2a';
import * as tf from '@tensorflow/tfjs';
import type { Task } from './compare.ts';

const batchSize = 8;

export async function photos(quick: boolean, seed: number): Promise<Task> {
  const size = quick ? 64 : 96;
  const { train, test, classes } = await cifar10({ size, train: quick ? 64 : 600, test: quick ? 40 : 300 });
  const kernelInitializer = tf.initializers.randomNormal({ stddev: 0.02, seed });
  const head = tf.layers.dense({ name: 'head', units: classes.length, kernelInitializer });
  const model = tf.sequential({ layers: [await mobilenetV2({ size }), head] });
  const first = model.getWeights().map((weight) => weight.clone());
  return {
    title: 'MobileNetV2, photos of CIFAR-10',
    model,
    modes: {
      full: { rate: 3e-4, techniques: [] },
      biases: { rate: 3e-3, techniques: [biasTuning()], trainable: 'head' },
      prompt: { rate: 3e-3, techniques: [lowRankPrompt({ rank: 1, seed })], trainable: 'head' },
      'side branch': { rate: 3e-3, techniques: [liteSideBranch({ seed })], trainable: 'head' },
      S2A: { rate: 3e-3, techniques: s2a({ prompt: { rank: 1, seed }, side: { seed } }), trainable: 'head' },
    },
    epochs: quick ? 1 : 3,
    batches: Math.floor(train.images.shape[0] / batchSize),
    restart: () => model.setWeights(first),
    loss: (batch) =>
      tf.tidy(() => {
        const [x, y] = [train.images, train.labels].map((t: tf.Tensor) => t.slice(batch * batchSize, batchSize)) as [tf.Tensor, tf.Tensor];
        return tf.losses.softmaxCrossEntropy(y, model.apply(x) as tf.Tensor);
      }),
    accuracy() {
      const right = tf.tidy(() => tf.equal(tf.argMax(model.predict(test.images) as tf.Tensor, 1), tf.argMax(test.labels, 1)).mean());
      const [share] = right.dataSync();
      right.dispose();
      return share!;
    },
  };
}
