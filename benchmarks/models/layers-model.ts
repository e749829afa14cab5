/** What the benchmarks need of a functional LayersModel: seeded weights, its weights by name, and its forward cut into blocks. */
import * as tf from '@tensorflow/tfjs-core';
import type { LayersModel, SymbolicTensor, layers } from '@tensorflow/tfjs-layers';
import { uniform } from './random.ts';
import type { Weight } from './subject.ts';

type Layer = layers.Layer;

/** Gives kernels He's uniform distribution (arXiv 1502.01852); biases, norms and moving statistics keep their constants. */
export function fillWeights(model: LayersModel, next: () => number): void {
  for (const { name, variable } of weightsOf(model)) {
    if (!/kernel$/.test(name)) continue;
    const dIn = variable.shape.slice(0, /depthwise_kernel$/.test(name) ? 2 : -1).reduce((a, b) => a * b, 1);
    const values = tf.tensor(uniform(variable.size, Math.sqrt(6 / dIn), next), variable.shape);
    variable.assign(values);
    values.dispose();
  }
}

/** All weights as `layer/weight`. */
export function weightsOf(model: LayersModel): Weight[] {
  return model.layers.flatMap((layer) =>
    layer.weights.map((weight) => ({
      name: weight.originalName,
      variable: weight.read() as tf.Variable,
      trainable: layer.trainableWeights.includes(weight),
    })),
  );
}

/** The training forward as a chain, cut after each layer whose name matches `ends`, unless a shortcut jumps over the cut. */
export function blocksOf(model: LayersModel, ends: RegExp): ((x: tf.Tensor) => tf.Tensor)[] {
  const blocks: ((x: tf.Tensor) => tf.Tensor)[] = [];
  let layers: Layer[] = [];
  for (const [i, layer] of model.layers.slice(1).entries()) {
    layers.push(layer);
    const next = model.layers[i + 2];
    const shortcutFollows = next !== undefined && Array.isArray(next.input);
    if (next === undefined || (ends.test(layer.name) && !shortcutFollows)) {
      blocks.push(blockOf(layers));
      layers = [];
    }
  }
  return blocks;
}

/** Runs single-use layers in order from the one value that enters them to the one that leaves. */
function blockOf(layers: readonly Layer[]): (x: tf.Tensor) => tf.Tensor {
  return (x) =>
    tf.tidy(() => {
      const values = new Map<number, tf.Tensor>();
      let y = x;
      for (const layer of layers) {
        const inputs = ([layer.input].flat() as SymbolicTensor[]).map(({ id }) => values.get(id) ?? x);
        y = layer.apply(inputs.length === 1 ? (inputs[0] as tf.Tensor) : inputs, { training: true }) as tf.Tensor;
        values.set((layer.output as SymbolicTensor).id, y);
      }
      return y;
    });
}
