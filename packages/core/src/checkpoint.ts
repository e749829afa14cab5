/**
 * Gradient checkpointing: run f again in backward instead of keeping what its ops read.
 *
 * Forward keeps f's arguments alone (under the keep rules, like any other value); backward replays f on a tape of its own, with
 * the same random numbers and without moving any variable, and walks back through it. Chen et al. 2016, arXiv 1604.06174: with
 * about √n segments of n layers, memory falls to O(√n) for one more forward.
 */
import * as tf from '@tensorflow/tfjs-core';
import { FinetuneError } from './errors.ts';
import { divert, gradients, recording } from './gradients.ts';
import type { Recorder } from './tape.ts';

/**
 * `f(...inputs)`, recomputed in backward. Exact: gradients are bit for bit those without it.
 *
 * @param f a function of its arguments and of variables. What it reads must be an argument or live until backward is over.
 * @param inputs tensors, borrowed. Every differentiable tensor that f reads, except variables, must be among them.
 * @returns what f returns, owned by the caller. Outside of a recording, simply `f(...inputs)`.
 * @throws FinetuneError `bad-option` if f reads a differentiable tensor that is neither
 *
 * @example
 * const loss = () => blocks.reduce((h, block) => checkpoint(block, h), x).mean();
 */
export function checkpoint<T extends tf.Tensor, X extends readonly tf.Tensor[]>(f: (...inputs: X) => T, ...inputs: X): T {
  if (!recording()) return tf.tidy(() => f(...inputs));
  const read = new Map<number, tf.Tensor>();
  const outside = new Set<tf.Tensor>();
  const random: number[] = [];
  let outer: readonly Recorder[] = [];
  const y = withRandom(
    (next) => random[random.push(next()) - 1]!,
    () => divert((tapes) => collector((outer = tapes), read, outside), () => tf.tidy(() => f(...inputs))),
  );
  const sources = [...read.values()];
  const stray = sources.filter((t) => !(t instanceof tf.Variable || inputs.includes(t)));
  if (stray.length > 0) {
    const shapes = stray.map((t) => `[${t.shape}]`).join(', ');
    throw new FinetuneError('bad-option', 'checkpoint', `f reads ${stray.length} differentiable tensor(s) of shape ${shapes} from outside. Pass them to f as arguments.`);
  }
  if (sources.length === 0) return y;
  for (const tape of outer) {
    const held = inputs.map((x, i) => tape.hold('checkpoint', `inputs.${i}`, x));
    tape.recordCustom(Object.fromEntries(sources.entries()), y, held, (dy, saved) => {
      const gone = [...outside].filter((t) => t.isDisposed && !inputs.includes(t)).map((t) => `[${t.shape}]`);
      if (gone.length > 0) {
        throw new FinetuneError('disposed', 'checkpoint', `f read tensors of shape ${gone.join(', ')} from outside, which are disposed when backward runs it again. Pass them to f as arguments.`);
      }
      const again = inputs.map((x) => saved[inputs.indexOf(x)]!) as unknown as X;
      const targets = sources.map((t) => again[inputs.indexOf(t)] ?? t);
      let at = 0;
      const run = () => gradients(() => f(...again), targets, dy, true, tape.extra);
      const { grads } = withRandom(() => random[at++]!, () => frozen(run));
      return Object.fromEntries(grads.map((g, i) => [i, () => g ?? tf.zeros(targets[i]!.shape)]));
    });
  }
  return y;
}

/** Records nothing. Gathers the tensors whose gradient the `outer` tapes want, and those that were there before. */
function collector(outer: readonly Recorder[], read: Map<number, tf.Tensor>, outside: Set<tf.Tensor>): Recorder {
  const start = tf.tidy(() => tf.scalar(0).id); // ids rise
  const wants: Recorder['wants'] = (inputs) => {
    const wanted = inputs.filter((t) => t && outer.some((tape) => tape.wants([t])));
    for (const t of wanted) read.set(t!.id, t!);
    for (const t of inputs) if (t && t.id < start) outside.add(t);
    return wanted.length > 0;
  };
  return {
    extra: outer[0]?.extra ?? {},
    wants,
    record: (_, inputs) => void wants(Object.values(inputs)),
    recordCustom: (inputs) => void wants(Object.values(inputs)),
    hold: () => ({ read: () => tf.scalar(0), drop: () => {} }),
    link: () => {},
  };
}

/** Runs `f` with another source of random numbers: tfjs draws its seeds from Math.random. */
function withRandom<T>(source: (next: () => number) => number, f: () => T): T {
  const next = Math.random;
  Math.random = () => source(next);
  try {
    return f();
  } finally {
    Math.random = next;
  }
}

/** Runs `f` while no variable can be assigned: what f moved in forward (moving statistics) is not moved twice. */
function frozen<T>(f: () => T): T {
  const { assign } = tf.Variable.prototype;
  tf.Variable.prototype.assign = () => {};
  try {
    return f();
  } finally {
    tf.Variable.prototype.assign = assign;
  }
}
