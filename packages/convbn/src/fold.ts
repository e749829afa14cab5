/**
 * A copy of a LayersModel without its batch norms, for inference: each is folded into the layer before.
 *
 * The copy is made of the model's own classes by applying copies of its layers to each other, so this package needs no tfjs-layers.
 */
import { FinetuneError } from '@leantune/core';
import * as tf from '@tensorflow/tfjs-core';
import type { LayersModel } from '@tensorflow/tfjs-layers';
import { isDeployed } from './deploy-mode.ts';
import { foldWeights } from './fold-weights.ts';
import type { LayersPair } from './layers-pair.ts';
import { layersPlan } from './layers-pairs.ts';
import type { Pair } from './pair.ts';
import { type Container, isContainer, type Layer, type LayerClass, type Symbolic, tensorsOf } from './tfjs-layers.ts';

/** What `fold` can be told. */
export interface FoldOptions {
  /** Leaves batch norms that cannot be folded where they are. @default false: they are an error */
  readonly partial?: boolean;
}

/**
 * A plain LayersModel of the same outputs in inference, which stock tfjs saves and loads. `model` stays as it is; may be called
 * while it is fine-tuned in Tune, Eval or Train mode; in Deploy mode after `tuned.merge()`. Folded layers have no constraints any more.
 *
 * @returns a model of its own weights, not compiled; dispose of it as of any other
 * @throws FinetuneError `bad-model` (no LayersModel; batch norms that cannot be folded, each with the reason, unless `partial`),
 *   `no-match` (no batch norm), `conflict` (deployMode trains folded weights now, which the layers do not have)
 *
 * @example
 * await fold(tuned.merge()).save('file://exported');
 */
export function fold(model: LayersModel, { partial = false }: FoldOptions = {}): LayersModel {
  const root = model as unknown as Container;
  if (!isContainer(root))
    throw new FinetuneError('bad-model', 'fold', 'got no LayersModel; expected one. A GraphModel is folded by the converter.');
  const { pairs, left } = layersPlan(root);
  const stay = [...left, ...pairs.filter(({ padded }) => padded).map(({ norm }) => ({ norm, reason: 'zero padding comes between' }))];
  if (pairs.length + left.length === 0)
    throw new FinetuneError('no-match', 'fold', 'found no batch norm in this model; expected at least one. Use the model as it is.');
  if (pairs.some(({ convLayer }) => isDeployed(convLayer)))
    throw new FinetuneError(
      'conflict',
      'fold',
      'got a model that trains in Deploy mode, whose layers lack what was trained. Call tuned.merge() first.',
    );
  if (stay.length > 0 && !partial)
    throw new FinetuneError(
      'bad-model',
      'fold',
      `${stay.length} batch norms cannot be folded: ${stay.map(({ norm, reason }) => `${norm} (${reason})`).join('; ')}. Leave them in the copy with { partial: true }.`,
    );
  const copies = new Copies(pairs.filter(({ padded }) => !padded));
  const copy = copies.of(root);
  copies.fill();
  return copy as unknown as LayersModel;
}

/** The copies made so far: a layer that is called twice is copied once. */
class Copies {
  readonly #made = new Map<Layer, Layer>();
  readonly #convs: ReadonlyMap<Layer, Pair>;
  readonly #norms: ReadonlySet<Layer>;

  constructor(pairs: readonly LayersPair[]) {
    this.#convs = new Map(pairs.map((pair) => [pair.convLayer, pair]));
    this.#norms = new Set(pairs.map(({ normLayer }) => normLayer));
  }

  of(layer: Layer): Layer {
    const copy = this.#made.get(layer) ?? (isContainer(layer) ? this.#container(layer) : this.#plain(layer));
    this.#made.set(layer, copy);
    return copy;
  }

  #plain(layer: Layer): Layer {
    const made = layer.constructor as unknown as LayerClass;
    return made.fromConfig(made, this.#convs.has(layer) ? foldedConfig(layer.getConfig()) : layer.getConfig());
  }

  #container(container: Container): Layer {
    const { name, layers, inputs, outputs } = container;
    const Made = container.constructor as unknown as LayerClass;
    if (container.getClassName() === 'Sequential')
      return new Made({ name, layers: layers.filter((layer) => !this.#norms.has(layer)).map((layer) => this.of(layer)) });
    const tensors = new Map(inputs.map((t) => [t, this.of(t.sourceLayer).inboundNodes[0]!.outputTensors[0]!]));
    const copied = (t: Symbolic) => tensors.get(t)!;
    for (const t of tensorsOf(container)) {
      const layer = t.sourceLayer;
      const { inputTensors, outputTensors } = layer.inboundNodes[t.nodeIndex]!;
      if (tensors.has(t)) continue;
      if (this.#norms.has(layer)) tensors.set(t, copied(inputTensors[0]!));
      else {
        const xs = inputTensors.map(copied);
        const made = [this.of(layer).apply(xs.length === 1 ? xs[0]! : xs)].flat();
        for (const [i, output] of outputTensors.entries()) tensors.set(output, made[i]!);
      }
    }
    return new Made({ name, inputs: inputs.map(copied), outputs: outputs.map(copied) });
  }

  /** Gives the copies their weights, once all are built. */
  fill(): void {
    for (const [layer, copy] of this.#made) if (!isContainer(layer)) tf.tidy(() => copy.setWeights(this.#weightsOf(layer)));
  }

  #weightsOf(layer: Layer): tf.Tensor[] {
    const own = layer.weights.map((w) => w.read());
    const pair = this.#convs.get(layer);
    if (!pair) return own;
    const weights = pair.weights();
    const { kernel, bias } = foldWeights(weights, pair.channels);
    const kernels = own.filter((w) => w !== weights.bias); // two of a separable convolution
    return [...kernels.map((w) => (w === weights.kernel ? kernel : w)), bias];
  }
}

/** With a bias, and without what would change the folded weights: a constraint is for the original ones, and is applied as they are set. */
function foldedConfig(config: { [option: string]: unknown }): { [option: string]: unknown } {
  const free = Object.keys(config).filter((option) => option.endsWith('Constraint'));
  return { ...config, useBias: true, ...Object.fromEntries(free.map((option) => [option, null])) };
}
