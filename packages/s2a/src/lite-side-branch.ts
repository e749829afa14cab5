/**
 * A light branch beside the frozen backbone, fed with its features after channel average pooling (CAP), which has no parameters.
 *
 *   p = CAP(x): means over positions, then over neighbouring channels, to `width` of them; standardized per example
 *   'head'     h = h + elu((h + p_i)·W_i + c_i) over the taps, and x_head + h·U before the head: no backward through the backbone
 *   'block'    y_i = tap_i(x_i) + elu(p_i·W_i + c_i)·U_i of x_i before tap i: backward goes through the backbone behind the first tap
 *
 * The lite side branch of S2A (arXiv 2503.08154), of which the pooling is public and the rest is not. The ladder to the head is that of
 * LST (arXiv 2206.06522), the residual per block that of TinyTL (arXiv 2007.11622). Ours: positions are averaged too, so one branch
 * serves tokens and maps of any size, and keeps [batch, width] a tap. U = 0: nothing changes at first.
 */
import {
  type Attachment,
  FinetuneError,
  type Json,
  type ModelView,
  type Site,
  type SiteFilter,
  type Technique,
  type Undo,
} from '@leantune/core';
import * as tf from '@tensorflow/tfjs-core';
import { channelsOf } from './low-rank-prompt.ts';

/** Options of {@link liteSideBranch}. */
export interface LiteSideBranchOptions {
  /** Width of the branch. @default 32 */
  readonly width?: number;
  /** Sites whose outputs are tapped. @default up to six dense layers and convolutions, evenly spaced, before the head */
  readonly targets?: string | readonly string[];
  /** The dense site before which the ladder joins. @default the last dense site */
  readonly head?: string;
  /** Where the branch joins: once, before the head, or at every tap. @default 'head' */
  readonly join?: 'head' | 'block';
  /** Of the branch's weights. @default 1 */
  readonly seed?: number;
}

/** Channels of what is pooled at a site; 0: none. */
type Channels = (site: Site) => number;

let made = 0;

/**
 * @throws FinetuneError `bad-option`; when attached also `no-match` (no head, nothing to tap), `bad-option` for taps of fewer channels
 *   than the branch is wide
 *
 * @example
 * const tuned = finetune(model, liteSideBranch({ width: 64 }), { trainable: 'head' });
 */
export function liteSideBranch(options: LiteSideBranchOptions = {}): Technique {
  const { width = 32, targets, head, join = 'head', seed = 1 } = options;
  const faults = [
    ...(Number.isInteger(width) && width > 0 ? [] : [`width ${width}; expected a whole number above 0`]),
    ...(join === 'head' || join === 'block' ? [] : [`join "${join}"; expected "head" or "block"`]),
  ];
  if (faults.length > 0)
    throw new FinetuneError('bad-option', 'liteSideBranch', `got ${faults.join('; ')}. Leave an option out for its default.`);
  return {
    name: 'liteSideBranch',
    options: options as Json,
    attach(model): Attachment {
      const last = headOf(model, head);
      const channels = (site: Site) => (join === 'head' ? channelsOf(site) : channelsOf(site) && site.kernelShape?.at(-2)) ?? 0;
      const taps = targets === undefined ? spaced(model, last, width, channels) : model.sites(targets as SiteFilter, 'liteSideBranch');
      refuseNarrow(taps, width, channels);
      const branch = new Branch(width, seed);
      const undos = join === 'head' ? ladder(branch, taps, last) : residuals(branch, taps);
      return {
        variables: branch.variables,
        detach() {
          for (const undo of undos) undo();
          branch.dispose();
        },
      };
    },
  };
}

function headOf(model: ModelView, head: string | undefined): Site {
  const site = (head === undefined ? model.sites().filter(({ kind }) => kind === 'dense') : model.sites(head, 'liteSideBranch')).at(-1);
  if (!site?.kernelShape)
    throw new FinetuneError('no-match', 'liteSideBranch', 'found no dense site to join before; expected one. Name it with { head }.');
  return site;
}

/** Up to six sites of the backbone that are wide enough, the last of them included. */
function spaced(model: ModelView, head: Site, width: number, channels: Channels): readonly Site[] {
  const all = model.sites();
  const before = all.slice(0, all.indexOf(head)).filter((site) => channels(site) >= width);
  const count = Math.min(6, before.length);
  return Array.from({ length: count }, (_, i) => before[Math.round(((i + 1) * before.length) / count) - 1]!);
}

function refuseNarrow(taps: readonly Site[], width: number, channels: Channels): void {
  if (taps.length === 0)
    throw new FinetuneError(
      'no-match',
      'liteSideBranch',
      `found nothing to tap before the head; expected dense layers or convolutions of at least ${width} channels. Lower { width }, or name some with { targets }.`,
    );
  const narrow = taps.filter((site) => channels(site) < width).map((site) => `"${site.name}" (${channels(site)} channels)`);
  if (narrow.length > 0)
    throw new FinetuneError(
      'bad-option',
      'liteSideBranch',
      `got taps of fewer channels than the branch is wide (${width}): ${narrow.join(', ')}. Lower { width }, or choose { targets }.`,
    );
}

class Branch {
  readonly variables: tf.Variable[] = [];
  readonly width: number;
  #seed: number;
  readonly #id = ++made; // engine-wide names are unique; files leave the number out

  constructor(width: number, seed: number) {
    this.width = width;
    this.#seed = seed;
  }

  /** elu(x·W + c), from and to the branch's width. */
  block(site: Site): (x: tf.Tensor) => tf.Tensor {
    const w = this.#variable(
      tf.randomNormal([this.width, this.width], 0, (2 / this.width) ** 0.5, 'float32', this.#seed++),
      `${site.name}/side`,
    );
    const c = this.#variable(tf.zeros([this.width]), `${site.name}/sideBias`);
    return (x) => tf.elu(tf.add(tf.matMul(x as tf.Tensor2D, w as tf.Tensor2D), c));
  }

  /** x·U to `channels`, from zero. */
  up(site: Site, channels: number): (x: tf.Tensor) => tf.Tensor {
    const u = this.#variable(tf.zeros([this.width, channels]), `${site.name}/sideUp`);
    return (x) => tf.matMul(x as tf.Tensor2D, u as tf.Tensor2D);
  }

  #variable(initial: tf.Tensor, name: string): tf.Variable {
    const variable = tf.variable(initial, true, `${name}#${this.#id}`);
    initial.dispose();
    this.variables.push(variable);
    return variable;
  }

  dispose(): void {
    tf.dispose(this.variables);
  }
}

/**
 * [batch, …, channels] to [batch, width], standardized. Channels are cut into stretches as even as they can be, as in adaptive
 * average pooling. `batch` where positions lie one below the other.
 */
export function channelAveragePool(x: tf.Tensor, width: number, batch: number = x.shape[0]!): tf.Tensor {
  return tf.tidy(() => {
    const channels = x.shape.at(-1)!;
    const means = tf.mean(tf.reshape(x, [batch, -1, channels]), 1) as tf.Tensor2D; // [batch, channels]
    const edge = (i: number) => [Math.floor((i * channels) / width), Math.ceil(((i + 1) * channels) / width)] as const;
    const share = (c: number, i: number) => (c >= edge(i)[0] && c < edge(i)[1] ? 1 / (edge(i)[1] - edge(i)[0]) : 0);
    const pool = tf.tensor2d(
      Float32Array.from({ length: channels * width }, (_, k) => share(Math.floor(k / width), k % width)),
      [channels, width],
    );
    const pooled = channels === width ? means : tf.matMul(means, pool);
    const { mean, variance } = tf.moments(pooled, -1, true);
    return tf.mul(tf.sub(pooled, mean), tf.rsqrt(tf.add(variance, 1e-5)));
  });
}

function ladder(branch: Branch, taps: readonly Site[], head: Site): readonly Undo[] {
  const blocks = taps.map((site) => branch.block(site));
  const up = branch.up(head, head.kernelShape![0]!);
  const seen = new Map<number, tf.Tensor>();
  const forget = () => {
    tf.dispose([...seen.values()]);
    seen.clear();
  };
  // How often a frozen feature is tapped in vain, in a pass that ends before the head, is forgotten by the next.
  const undos = taps.map((site, i) =>
    site.replace((x, next) => {
      const y = next(x);
      seen.get(i)?.dispose();
      seen.set(i, tf.keep(flat(y)));
      return y;
    }),
  );
  const join = head.replace((x, next) => {
    const missing = taps.filter((_, i) => !seen.has(i)).map(({ name }) => `"${name}"`);
    if (missing.length > 0)
      throw new FinetuneError(
        'bad-option',
        'liteSideBranch',
        `got taps that run after the head "${head.name}" or not at all: ${missing.join(', ')}. Name taps before it with { targets }.`,
      );
    const batch = x.shape[0]!;
    const features = taps.map((_, i) => channelAveragePool(seen.get(i)!, branch.width, batch)); // [batch, width] each
    forget();
    const h = features.reduce<tf.Tensor>((before, p, i) => tf.add(before, blocks[i]!(tf.add(before, p))), tf.zerosLike(features[0]!));
    const side = up(h); // [batch, dIn]
    return next(tf.add(x, tf.reshape(side, [batch, ...Array<number>(x.rank - 2).fill(1), -1])));
  });
  return [...undos, join, forget];
}

/** Means over the positions that a tap shows, so that no whole feature map waits for the head. */
const flat = (y: tf.Tensor): tf.Tensor => (y.rank > 2 ? tf.mean(tf.reshape(y, [y.shape[0]!, -1, y.shape.at(-1)!]), 1) : tf.clone(y));

function residuals(branch: Branch, taps: readonly Site[]): readonly Undo[] {
  return taps.map((site) => {
    const [block, up] = [branch.block(site), branch.up(site, channelsOf(site)!)];
    return site.replace((x, next) => {
      const y = next(x);
      const side = up(block(channelAveragePool(x, branch.width))); // [batch, channels]
      return tf.add(y, tf.reshape(side, [y.shape[0]!, ...Array<number>(y.rank - 2).fill(1), -1]));
    });
  });
}
