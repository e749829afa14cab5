/**
 * Reads a LayersModel: sequential, functional, with shared layers and nested models.
 *
 * Each layer's `call` is replaced on the instance, once: around the layer's own (or somebody else's) `call` come what BatchNorm
 * needs (`batch-norm.ts`), then what replaces the site, then the early release of layer outputs (`release.ts`).
 */
import type * as tf from '@tensorflow/tfjs-core';
import type { LayersModel } from '@tensorflow/tfjs-layers';
import { fusing, recording, wanted } from '../autograd/gradients.ts';
import { inLayer } from '../autograd/tape.ts';
import { FinetuneError } from '../errors.ts';
import { override } from '../override.ts';
import type { SiteWeight, Undo } from '../technique.ts';
import { batchNorm } from './batch-norm.ts';
import { clippedTo, readersOfNorms, relu } from './batch-norm-relu.ts';
import { forward, type LayerSite, layerSite, weightSpecs } from './layer-site.ts';
import { type ModelReader, makeReader } from './model-reader.ts';
import { Release } from './release.ts';
import { Segments } from './segments.ts';
import { type Container, isContainer, type Kwargs, type Layer, type Tensors, toList } from './tfjs-layers.ts';

export function readLayersModel(model: LayersModel): ModelReader {
  const root = model as unknown as Container;
  const power = { off: false };
  const names = namesOf(root);
  refuseShared(names);
  const sites = [...names]
    .filter(([layer]) => !isContainer(layer) && !wrapped(layer))
    .map(([layer, name]) => layerSite(name, layer, power));
  const weights = sites.flatMap((site): SiteWeight[] => [...site.weights, ...site.state, ...site.packed]);
  let frozen: ReadonlySet<Layer> = new Set();

  return makeReader({
    kind: 'layers',
    model,
    sites,
    power,
    base: () => weights.map((w) => [w.name, w.variable()]),
    fingerprint: () => sites.flatMap(weightSpecs),
    assign: (name, value) =>
      weights
        .find((w) => w.name === name)!
        .variable()
        .assign(value),
    own: () => root.trainableWeights.map((w) => w.read()),
    state: () => sites.filter((site) => !frozen.has(site.layer)).flatMap((site) => site.state.map((w) => w.variable())),
    install(selected, checkpoint) {
      // A batch norm with neither scale nor center follows the layer before it.
      let trains = selected.size > 0;
      const still = sites.filter(({ kind, weights: own }) => {
        if (own.length > 0) trains = own.some((w) => selected.has(w.variable()));
        return kind === 'batchNorm' && !trains;
      });
      frozen = new Set(still.map((site) => site.layer));
      const trained = new Set(sites.filter((site) => site.weights.some((w) => selected.has(w.variable()))).map((site) => site.layer));
      const undo = hook(root, names, new Map(sites.map((site) => [site.layer, site])), { frozen, trained, checkpoint });
      return () => {
        undo();
        frozen = new Set();
      };
    },
  });
}

function refuseShared(names: ReadonlyMap<Layer, string>): void {
  const shared = [...names].flatMap(([layer, name]) => (hooked.has(layer) ? [name || layer.name] : []));
  if (shared.length > 0) {
    const some = shared
      .slice(0, 3)
      .map((name) => `"${name}"`)
      .join(', ');
    const advice = 'End the other tuning first, or tune one model that has all their outputs.';
    throw new FinetuneError(
      'already-tuned',
      'finetune',
      `${shared.length} layers of this model, such as ${some}, belong to a model that is being fine-tuned. ${advice}`,
    );
  }
}

const wrapped = (layer: Layer): Layer | undefined => (layer.getClassName() === 'TimeDistributed' ? layer.layer : undefined);

/** All layers with their paths, a container before its layers; a layer that is met twice has its first path. */
function namesOf(root: Container): Map<Layer, string> {
  const names = new Map<Layer, string>();
  const visit = (layer: Layer, name: string): void => {
    if (names.has(layer) || layer.getClassName() === 'InputLayer') return;
    names.set(layer, name);
    const inner = isContainer(layer) ? layer.layers : [wrapped(layer) ?? []].flat();
    for (const child of inner) visit(child, layer === root ? child.name : `${name}/${child.name}`);
  };
  visit(root, '');
  return names;
}

interface Plan {
  /** BatchNorm layers that run as inference. */
  readonly frozen: ReadonlySet<Layer>;
  readonly trained: ReadonlySet<Layer>;
  readonly checkpoint: boolean | undefined;
}

function hook(
  root: Container,
  names: ReadonlyMap<Layer, string>,
  sites: ReadonlyMap<Layer, LayerSite>,
  { frozen, trained, checkpoint }: Plan,
): Undo {
  const release = new Release(root);
  const containers = [root, ...names.keys()].filter(isContainer);
  const segments = checkpoint ? new Segments([...names.keys()], containers) : undefined;
  const readers = new Map(containers.map((container) => [container, readersOfNorms(container)]));
  // Of layers whose call was tfjs's before.
  const calls = new Map<Layer, Layer['call']>();
  const unchanged = (layer: Layer) => layer.call === calls.get(layer) && !Object.hasOwn(layer, 'apply') && !sites.get(layer)?.replaced;
  const undos = [...names].map(([layer, name]) => {
    const site = sites.get(layer);
    const call = adapted(layer, layer.call, frozen.has(layer));
    const replacing = (own: LayerSite, inputs: Tensors, kwargs: Kwargs, by: Container | undefined) => {
      const behind = by && readers.get(by)?.get(layer);
      const max = behind && [layer, ...behind].every(unchanged) ? clippedTo(behind) : undefined;
      const run = () => forward(own, inputs, kwargs, (given, all) => call(given, all, max));
      const unread = recording() && !(trained.has(layer) || own.replaced || wanted(toList(inputs)));
      return inLayer(name, unread ? () => fusing(run) : run);
    };
    const released: Layer['call'] = (inputs, kwargs) =>
      release.around(layer, inputs, kwargs, (by) => (site ? replacing(site, inputs, kwargs, by) : call(inputs, kwargs)));
    const segmented: Layer['call'] = (inputs, kwargs) => {
      segments?.begin(layer);
      const caller = segments && release.caller(kwargs);
      return (caller && segments.around(caller, layer, kwargs, inputs)?.made) ?? released(inputs, kwargs);
    };
    if (!Object.hasOwn(layer, 'call')) calls.set(layer, segmented);
    return override(layer, { call: segmented });
  });
  undos.push(aroundFit(root, (step) => release.fitting(step)));
  for (const layer of names.keys()) hooked.add(layer);
  return () => {
    for (const undo of undos) undo();
    for (const layer of names.keys()) hooked.delete(layer);
  };
}

/** Runs `around` what `fit` does with each batch. A Sequential fits by an inner model, which it makes anew at every compile. */
function aroundFit(root: Container, around: <T>(step: () => T) => T): Undo {
  const watch = (model: Container): Undo => {
    const make = model.makeTrainFunction;
    return override(model, {
      makeTrainFunction() {
        const step = make.call(model);
        return (batch: tf.Tensor[]) => around(() => step(batch));
      },
    });
  };
  if (root.getClassName() !== 'Sequential') return watch(root);
  let inner = root.model;
  let undo = inner ? watch(inner) : () => {};
  const property = { configurable: true, enumerable: true };
  Object.defineProperty(root, 'model', {
    ...property,
    get: () => inner,
    set(model: Container) {
      undo();
      inner = model;
      undo = watch(model);
    },
  });
  return () => {
    undo();
    Object.defineProperty(root, 'model', { ...property, value: inner, writable: true });
  };
}

/** Layers of models that are being tuned. */
const hooked = new WeakSet<Layer>();

/** A layer's `call`, with what tfjs-layers gets wrong in training put right. */
function adapted(layer: Layer, original: Layer['call'], frozen: boolean): ReturnType<typeof batchNorm> {
  if (layer.getClassName() === 'BatchNormalization') return batchNorm(layer, original, frozen);
  if (/^(ReLU|Activation)$/.test(layer.getClassName())) return relu(layer, original);
  return (inputs, kwargs) => original.call(layer, inputs, kwargs);
}
