/**
 * Adds a learned matrix of low rank to the activation of a layer.
 *
 *   y = x + A·B        A [positions, rank], B [rank, channels]        G = Σ over the batch of dL/dy
 *   dL/dA = G·Bᵀ       dL/dB = Aᵀ·G        dL/dx = dL/dy              none reads x: nothing is kept but A and B
 *
 * The low-rank prompt of S2A (arXiv 2503.08154), of which only y = x + A·B is public. Ours: it is added to what a layer computes before
 * its activation function; A ~ N(0, 0.02), B = 0, so that nothing changes at first. Prompts that are prepended lengthen the sequence
 * (VPT, arXiv 2203.12119); these do not.
 */
import { type Attachment, FinetuneError, type Json, type Site, type SiteFilter, type Technique } from '@leantune/core';
import * as tf from '@tensorflow/tfjs-core';

/** Options of {@link lowRankPrompt}. */
export interface LowRankPromptOptions {
  /** Rank of A·B; no more than there are positions or channels. @default 4 */
  readonly rank?: number;
  /** Sites behind which a prompt is added. @default every dense layer and convolution */
  readonly targets?: string | readonly string[];
  /** Tokens, or pixels of a map, where the model does not say. @default as the layers say; else 1, a prompt shared by all positions */
  readonly positions?: number;
  /** Of A. @default 1 */
  readonly seed?: number;
}

const kinds = /^(dense|conv[123]d|depthwiseConv2d|separableConv2d)$/;
let made = 0;

/**
 * @throws FinetuneError `bad-option` (rank, positions, targets without channels); when attached also `no-match`; when run, `bad-option`
 *   for inputs of more positions than there are prompts
 *
 * @example
 * const tuned = finetune(model, [lowRankPrompt({ rank: 8 }), fourBit()], { trainable: 'head' });
 */
export function lowRankPrompt(options: LowRankPromptOptions = {}): Technique {
  const { rank = 4, targets, positions, seed = 1 } = options;
  const whole = (value: number) => Number.isInteger(value) && value > 0;
  const faults = Object.entries({ rank, positions: positions ?? 1 }).filter(([, value]) => !whole(value));
  if (faults.length > 0)
    throw new FinetuneError(
      'bad-option',
      'lowRankPrompt',
      `got ${faults.map(([name, value]) => `${name} ${value}`).join(', ')}; expected whole numbers above 0. Leave an option out for its default.`,
    );
  return {
    name: 'lowRankPrompt',
    options: options as Json,
    attach(model): Attachment {
      const sites =
        targets === undefined ? model.sites().filter((site) => channelsOf(site)) : model.sites(targets as SiteFilter, 'lowRankPrompt');
      const wrong = sites.filter((site) => channelsOf(site) === undefined).map(({ name, type }) => `"${name}" (${type})`);
      if (sites.length === 0)
        throw new FinetuneError(
          'no-match',
          'lowRankPrompt',
          'found no dense layer and no convolution; expected at least one. Leave the technique out.',
        );
      if (wrong.length > 0)
        throw new FinetuneError(
          'bad-option',
          'lowRankPrompt',
          `targets select ${wrong.join(', ')}; expected dense layers and convolutions with a kernel. Leave them out.`,
        );
      const prompts = sites.map((site, i) => prompt(site, rank, positions, seed + i));
      const clipped = prompts.filter(({ a }) => a.shape[1]! < rank);
      return {
        variables: prompts.flatMap(({ a, b }) => [a, b]),
        notes: clipped.map(({ site, a }) => `lowRankPrompt: "${site.name}" has rank ${a.shape[1]}, all that ${a.shape[0]} positions allow`),
        detach() {
          for (const { a, b, undo } of prompts) {
            undo();
            tf.dispose([a, b]);
          }
        },
      };
    },
  };
}

/** Channels of what the site computes. */
export function channelsOf({ kind, kernelShape, layer }: Site): number | undefined {
  if (!kinds.test(kind)) return undefined;
  const shape = outputShape(layer);
  if (shape) return shape.at(-1) ?? undefined;
  if (!kernelShape) return undefined;
  return kind === 'depthwiseConv2d' ? kernelShape.at(-1)! * kernelShape.at(-2)! : kernelShape.at(-1)!;
}

/** [batch, …, channels] of a layer; undefined for layers that are used in several places, and for nodes. */
function outputShape(layer: unknown): readonly (number | null)[] | undefined {
  const { inboundNodes } = (layer ?? {}) as {
    readonly inboundNodes?: readonly { readonly outputShapes: readonly (readonly (number | null)[])[] }[];
  };
  return inboundNodes?.length === 1 ? inboundNodes[0]!.outputShapes[0] : undefined;
}

interface Prompt {
  readonly site: Site;
  readonly a: tf.Variable;
  readonly b: tf.Variable;
  readonly undo: () => void;
}

function prompt(site: Site, rank: number, given: number | undefined, seed: number): Prompt {
  const inner = outputShape(site.layer)?.slice(1, -1) ?? [];
  const known = inner.every((d) => d !== null) ? inner.reduce<number>((n, d) => n * d!, 1) : 1;
  const [positions, channels] = [given ?? known, channelsOf(site)!];
  const r = Math.min(rank, positions, channels);
  const id = ++made; // engine-wide names are unique; files leave the number out
  const [a, b] = tf.tidy(() => [
    tf.variable(tf.randomNormal([positions, r], 0, 0.02, 'float32', seed), true, `${site.name}/promptA#${id}`),
    tf.variable(tf.zeros([r, channels]), true, `${site.name}/promptB#${id}`),
  ]) as [tf.Variable, tf.Variable];
  return { site, a, b, undo: site.replace((x, next) => add(next(x), a, b, site.name)) };
}

/** y [..., channels] + A·B, by position. A matrix of tokens one below the other is taken as batch · positions rows. */
function add(y: tf.Tensor, a: tf.Variable, b: tf.Variable, site: string): tf.Tensor {
  const product = tf.matMul(a as tf.Tensor2D, b as tf.Tensor2D); // [positions, channels]
  const [positions, channels] = product.shape as [number, number];
  if (positions === 1) return tf.add(y, tf.reshape(product, [channels]));
  const rows = y.size / channels;
  const here = y.rank === 2 && rows % positions === 0 ? positions : y.shape.slice(1, -1).reduce((n, d) => n * d, 1);
  if (here > positions || rows % here !== 0 || (y.rank === 2 && here !== positions))
    throw new FinetuneError(
      'bad-option',
      'lowRankPrompt',
      `got [${y.shape}] at "${site}", of ${here} positions; expected at most ${positions}. Set { positions } to the longest input.`,
    );
  const first = here === positions ? product : tf.slice(product, [0, 0], [here, channels]);
  return tf.reshape(tf.add(tf.reshape(y, [-1, here, channels]), first), y.shape);
}
