/**
 * Gradient checkpointing: run f again in backward instead of keeping what its ops read.
 *
 * Forward keeps f's arguments alone (under the keep rules, like any other value); backward replays f on a tape of its own, with
 * the same random numbers and the same values of variables, which it leaves as they are, and walks back through it. Chen et al. 2016, arXiv 1604.06174: with
 * about √n segments of n layers, memory falls to O(√n) for one more forward.
 */
import * as tf from '@tensorflow/tfjs-core';
import { FinetuneError } from '../errors.ts';
import { divert, gradients, recording } from './gradients.ts';
import { view } from './held.ts';
import type { Recorder } from './recorder.ts';

/**
 * `f(...inputs)`, recomputed in backward. Exact: gradients are bit for bit those without it; of what several checkpoints read, up to
 * the order in which they add up.
 *
 * @param f a function of its arguments and of variables. Other tensors that it reads must live until backward is over.
 * @param inputs tensors, borrowed. Every differentiable tensor that f reads, except variables, must be among them.
 * @returns what f returns, owned by the caller. Outside of a recording, simply `f(...inputs)`.
 * @throws FinetuneError `bad-option` if f reads a differentiable tensor that is neither
 *
 * @example
 * const loss = () => blocks.reduce((h, block) => checkpoint(block, h), x).mean();
 */
export function checkpoint<T extends tf.Tensor, X extends readonly tf.Tensor[]>(f: (...inputs: X) => T, ...inputs: X): T {
  if (!recording()) return tf.tidy(() => f(...inputs));
  const seen = new Seen();
  const random: number[] = [];
  let outer: readonly Recorder[] = [];
  const collect = (tapes: readonly Recorder[]) => {
    outer = tapes;
    return collector(tapes, seen);
  };
  try {
    const y = withRandom(
      (next) => random[random.push(next()) - 1]!,
      () => divert(collect, () => tf.tidy(() => f(...inputs))),
    );
    const sources = [...seen.wanted.values()];
    const stray = sources.filter((t) => !(t instanceof tf.Variable || inputs.includes(t))).map((t) => `[${t.shape}]`);
    if (stray.length > 0) {
      throw new FinetuneError(
        'bad-option',
        'checkpoint',
        `f reads ${stray.length} differentiable tensor(s) of shape ${stray.join(', ')} from outside. Pass them to f as arguments.`,
      );
    }
    const variables = [...seen.variables];
    for (const tape of sources.length > 0 ? outer : []) {
      const held = [...inputs, ...variables.map(([, value]) => value)].map((x, i) => tape.hold('checkpoint', `inputs.${i}`, x));
      tape.recordCustom(Object.fromEntries(sources.entries()), y, held, (dy, saved) => {
        seen.refuseFreed(inputs);
        const again = inputs.map((x) => saved[inputs.indexOf(x)]!) as unknown as X;
        const targets = sources.map((t) => again[inputs.indexOf(t)] ?? t);
        let at = 0;
        const replay = () => gradients(() => f(...again), targets, dy, true, tape.extra).grads;
        const values = variables.map(([v], i) => [v, saved[inputs.length + i]!] as const);
        const grads = withRandom(
          () => random[at++]!,
          () => rewound(values, replay),
        );
        return Object.fromEntries(grads.map((g, i) => [i, () => g ?? tf.zeros(targets[i]!.shape)]));
      });
    }
    return y;
  } finally {
    for (const value of seen.variables.values()) value.dispose();
  }
}

/** What f reads while it runs for the first time. */
class Seen {
  /** Tensors whose gradient is wanted. */
  readonly wanted = new Map<number, tf.Tensor>();
  /** Handles on the values that variables had when f first read them. */
  readonly variables = new Map<tf.Variable, tf.Tensor>();
  /** Tensors that were there before f ran. */
  readonly #outside = new Set<tf.Tensor>();
  readonly #start = tf.tidy(() => tf.scalar(0).id); // ids rise

  add(t: tf.Tensor, wanted: boolean): void {
    if (wanted) this.wanted.set(t.id, t);
    if (!(t instanceof tf.Variable)) {
      if (t.id < this.#start) this.#outside.add(t);
    } else if (!this.variables.has(t)) this.variables.set(t, tf.keep(view(t)));
  }

  refuseFreed(inputs: readonly tf.Tensor[]): void {
    const gone = [...this.#outside].filter((t) => t.isDisposed && !inputs.includes(t)).map((t) => `[${t.shape}]`);
    if (gone.length === 0) return;
    throw new FinetuneError(
      'disposed',
      'checkpoint',
      `f read tensors of shape ${gone.join(', ')} from outside, which are disposed when backward runs it again. Pass them to f as arguments.`,
    );
  }
}

/** Records nothing, and notes what is read. */
function collector(outer: readonly Recorder[], seen: Seen): Recorder {
  const wants: Recorder['wants'] = (inputs) => {
    let any = false;
    for (const t of inputs) {
      const wanted = t != null && outer.some((tape) => tape.wants([t]));
      if (t) seen.add(t, wanted);
      any ||= wanted;
    }
    return any;
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

/** Runs `f` with variables as they were, and leaves all that it assigns as it is now: what f moved in forward is not moved twice. */
function rewound<T>(values: readonly (readonly [tf.Variable, tf.Tensor])[], f: () => T): T {
  const { assign } = tf.Variable.prototype;
  const now = new Map<tf.Variable, tf.Tensor>();
  tf.Variable.prototype.assign = function (value) {
    if (!now.has(this)) now.set(this, tf.keep(view(this)));
    assign.call(this, value);
  };
  try {
    for (const [v, value] of values) if (v.dataId !== value.dataId) v.assign(value);
    return f();
  } finally {
    tf.Variable.prototype.assign = assign;
    for (const [v, value] of now) {
      v.assign(value);
      value.dispose();
    }
  }
}
