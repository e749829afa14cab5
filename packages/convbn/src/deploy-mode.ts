/**
 * Deploy mode: pairs are folded once, and w' and b' are what trains.
 *
 *   z = w'∗x + b'        w' = w·k and b' = β − (μ − b)·k of the beginning
 *
 * As cheap as it gets, and unstable: one SGD step in Eval or Tune mode moves the effective kernel by −η k² dw', this one by −η dw',
 * so channels of small k take steps that are 1/k² larger. You et al. 2023, arXiv 2305.11624. Here to be compared with Tune mode.
 */
import type { Attachment, ModelView, Technique } from '@leantune/core';
import * as tf from '@tensorflow/tfjs-core';
import { type ConvBnWeights, foldBias, scaleOf } from './fold-weights.ts';
import { foldedNow } from './folded.ts';
import { freezeNorm, type SitedPair, type SitedPlan, sitedPlan } from './fuse.ts';
import { type ModeOptions, optionsOf } from './norms.ts';
import { type Folded, type Pair, replacePair } from './pair.ts';
import { describe } from './pairs-of.ts';
import { type Container, trainableOf } from './tfjs-layers.ts';

interface Deployed extends SitedPair {
  readonly kernel: tf.Variable;
  readonly bias: tf.Variable;
}

/** Layers that run folded weights in place of their own. */
const running = new WeakSet<object>();
export const isDeployed = (layer: object): boolean => running.has(layer);

let made = 0;

/**
 * Trains the folded weights, and whatever else of the model trains by its own flags. Pairs whose weights are all frozen are folded and
 * stay frozen. `tuned.merge()` puts the folded weights into the convolution and makes its norm neutral.
 *
 * @throws FinetuneError when attached: `no-match`, `bad-option`, `bad-model` (plain variables, a graph that is folded),
 *   `conflict` (another mode of the same norm)
 */
export function deployMode(options: ModeOptions = {}): Technique {
  return {
    name: 'deployMode',
    options: optionsOf(options),
    attach(model): Attachment {
      const plan = withoutPadding(sitedPlan(model, options, 'deployMode'));
      const { pairs, left } = plan;
      const trained = new Set(model.kind === 'layers' ? trainableOf(model.model as Container) : undefined);
      const frozen = ({ pair }: SitedPair) => model.kind === 'layers' && !tensorsOf(pair).some((w) => trained.has(w as tf.Variable));
      const deployed = pairs.filter((sited) => !frozen(sited)).map(deploy);
      const layers = deployed.flatMap(({ conv }) => (conv.layer as object | undefined) ?? []);
      for (const layer of layers) running.add(layer);
      const undos = [
        ...deployed.map((one) => replace(one, () => one)),
        ...pairs.filter(frozen).map((one) => replace(one, () => foldedNow(one.pair))),
        ...left.map(({ site }) => freezeNorm(site)),
      ];
      return {
        variables: [...deployed.flatMap(({ kernel, bias }) => [kernel, bias]), ...others(model, pairs, trained)],
        notes: describe(plan),
        merge: () => tf.tidy(() => deployed.forEach(absorb)),
        detach() {
          undos.forEach((undo) => undo());
          for (const layer of layers) running.delete(layer);
          tf.dispose(deployed.flatMap(({ kernel, bias }) => [kernel, bias]));
        },
      };
    },
  };
}

/** With zeros between there is a constant beside w' and b', which does not fold. */
function withoutPadding({ pairs, left, folded }: SitedPlan): SitedPlan {
  const padded = pairs.filter(({ pair }) => pair.padded);
  const more = padded.map(({ norm }) => ({ norm: norm.name, reason: 'zero padding comes between', site: norm }));
  return { pairs: pairs.filter(({ pair }) => !pair.padded), left: [...left, ...more], folded };
}

const tensorsOf = (pair: Pair): readonly unknown[] => Object.values(pair.weights());
const replace = ({ pair, conv, norm }: SitedPair, folded: () => Folded) => replacePair(pair, conv, norm, folded, { yields: false });

function deploy(sited: SitedPair): Deployed {
  const id = ++made; // engine-wide names are unique; files leave the number out
  const { kernel, bias } = tf.tidy(() => {
    const folded = foldedNow(sited.pair);
    const variable = (value: tf.Tensor, name: string) => tf.variable(value, true, `${sited.conv.name}/folded_${name}#${id}`);
    return { kernel: variable(folded.kernel, 'kernel'), bias: variable(folded.bias!, 'bias') };
  });
  return { ...sited, kernel, bias };
}

/** What trains beside the pairs. */
function others(model: ModelView, pairs: readonly SitedPair[], trained: ReadonlySet<tf.Variable>): readonly tf.Variable[] {
  if (model.kind === 'layers') {
    const inPairs = new Set(pairs.flatMap(({ pair }) => tensorsOf(pair)));
    return [...trained].filter((v) => !inPairs.has(v));
  }
  const halves = new Set(pairs.flatMap(({ conv, norm }) => [conv, norm]));
  const added = new Set(pairs.map(({ pair }) => pair.biasBehind));
  // A vector that multiplies is as often data preparation as it is a weight.
  const sites = model.sites().filter((site) => !halves.has(site) && site.type !== 'Mul');
  return sites.flatMap(({ weights }) => weights.filter(({ name }) => !added.has(name)).map((w) => w.variable()));
}

/** Writes w' and b' into the weights of the pair: γ becomes √(σ² + ε), so that k is 1, and the rest goes where there is room. */
function absorb({ pair, kernel, bias }: Deployed): void {
  const before = pair.weights();
  const put = (role: keyof ConvBnWeights, value: tf.Tensor) => pair.variable(role).assign(value);
  if (before.gamma) put('gamma', tf.sqrt(tf.add(before.variance, before.epsilon)));
  const k = scaleOf(pair.weights());
  put('kernel', tf.div(kernel, tf.reshape(k, [...pair.channels])));
  const wanted = pair.biasBehind === undefined ? bias : tf.add(bias, before.bias!);
  const missing = tf.sub(wanted, foldBias(pair.weights(), k)); // [c]
  if (before.beta) put('beta', tf.add(before.beta, missing));
  else if (before.bias) put('bias', tf.add(before.bias, tf.div(missing, k)));
  else put('mean', tf.sub(before.mean, tf.div(missing, k)));
}
