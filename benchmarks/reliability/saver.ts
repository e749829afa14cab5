/** The process that is killed: saves version after version of an adapter into one folder, and says when each is saved. The first is left in peace. */
import { adamW, finetune } from '@leantune/core';
import * as tf from '@tensorflow/tfjs-core';
import '@tensorflow/tfjs-backend-cpu';
import '@tensorflow/tfjs-core/dist/register_all_gradients.js';

const [folder, first] = process.argv.slice(2) as [string, string];
const SIZE = 64_000; // two variables and AdamW's four moments: 1.5 MB a version
const kernel = tf.variable(tf.zeros([SIZE]), true, 'kernel');
const bias = tf.variable(tf.zeros([SIZE]), true, 'bias');
const tuned = finetune({ kernel, bias });
const optimizer = tuned.optimizer(adamW());
tuned.minimize(() => tf.sum(tf.add(kernel, bias)) as tf.Scalar, optimizer).dispose();

for (let version = Number(first); ; version++) {
  for (const v of tuned.variables) v.assign(tf.fill([SIZE], version));
  await tuned.save(`file://${folder}`, { optimizer });
  process.stdout.write(`${version}\n`);
}
