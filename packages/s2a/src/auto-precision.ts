/**
 * Chooses for every place where values wait how many bits they wait in, by what each place's rounding does to the gradient.
 *
 *   minimize Σ C_l 4^(−b_l)   so that   Σ b_l n_l / 8 <= budget,   b_l of 1, 2, 4, 8, 16, 32
 *   C_l = ‖g(place l in 2 bits, all others as they are) − g‖² · 4² / ‖g‖²
 *
 * GACT (Liu et al. 2022, arXiv 2206.11357), which estimates C_l from gradients of two seeds; here each is measured against the exact
 * gradient of one batch, one pass a place. The choice is greedy: the bit that helps most for its bytes comes next.
 */
import { type Attachment, FinetuneError, type GradientRule, type Json, type Technique, type Tuned } from '@leantune/core';
import * as tf from '@tensorflow/tfjs-core';
import { quantized } from './four-bit.ts';
import type { Bits, KeptAt, Precision } from './kernels.ts';

/** Options of {@link autoPrecision}. */
export interface AutoPrecisionOptions {
  /** Bytes that may wait for backward in the places it decides on, at the batch it was calibrated with. Row headers come on top. */
  readonly budget: number;
  /** Bits by place, as `calibrate` chose them; set when an adapter is restored. @default 4 bits everywhere until calibrated */
  readonly plan?: { readonly [place: string]: Bits };
}

export interface AutoPrecision extends Technique {
  /**
   * Measures every place on one batch, and decides. One pass a place, and one more; leaves weights as they are.
   *
   * @returns bits by place: layer, kernel and, where a layer runs it more than once, its turn
   * @throws FinetuneError `bad-option` if the budget is below 1 bit a value
   */
  calibrate(tuned: Tuned, loss: () => tf.Scalar): { readonly [place: string]: Bits };
}

const PROBE = 2;
const choices: readonly Bits[] = [1, 2, 4, 8, 16, 32];

/**
 * @example
 * const auto = autoPrecision({ budget: 8e6 });
 * const tuned = finetune(model, [biasTuning(), auto]);
 * auto.calibrate(tuned, () => loss(batch));
 */
export function autoPrecision({ budget, plan = {} }: AutoPrecisionOptions): AutoPrecision {
  if (!(budget > 0))
    throw new FinetuneError('bad-option', 'autoPrecision', `got budget ${budget}; expected bytes above 0. 1e6 is a megabyte.`);
  const places = new Places();
  let bits: { readonly [place: string]: Bits } = plan;
  places.decide = (place) => bits[place] ?? 4;
  return {
    name: 'autoPrecision',
    get options(): Json {
      return { budget, plan: bits };
    },
    attach(model): Attachment {
      const attachment = quantized(model, places.precision, {}, 'autoPrecision');
      return {
        ...attachment,
        gradients: Object.fromEntries(Object.entries(attachment.gradients!).map(([kernel, rule]) => [kernel, places.watch(rule)])),
        fusions: attachment.fusions!.map((fusion) => (last) => {
          const fused = fusion(last);
          return fused && { ...fused, rule: places.watch(fused.rule) };
        }),
      };
    },
    calibrate(tuned, loss) {
      const before = places.decide;
      try {
        const exact = gradientWith(tuned, loss, places, () => 32);
        const found = [...places.seen];
        const size = norm(exact);
        const costs = found.map(([place, at]) => {
          const off = gradientWith(tuned, loss, places, (name) => (name === place ? PROBE : 32));
          const error = norm(Object.fromEntries(Object.entries(off).map(([name, g]) => [name, g.map((v, i) => v - exact[name]![i]!)])));
          return { place, elements: at.elements, cost: (error / (size || 1)) * 4 ** PROBE || 0 };
        });
        bits = allocate(costs, budget);
        return bits;
      } finally {
        places.decide = before;
      }
    },
  };
}

/** Names places by layer, kernel and turn within one pass. */
class Places {
  readonly seen = new Map<string, KeptAt>();
  decide: (place: string) => Bits = () => 4;
  readonly #turns = new Map<string, number>();

  readonly precision: Precision = (at) => {
    const name = [at.layer, at.kernel].filter((part) => part !== '').join(' ');
    const turn = (this.#turns.get(name) ?? 0) + 1;
    this.#turns.set(name, turn);
    const place = turn === 1 ? name : `${name} ${turn}`;
    this.seen.set(place, at);
    return this.decide(place);
  };

  /** Once backward runs, the next pass counts anew. */
  watch({ keep, backward }: GradientRule): GradientRule {
    return {
      keep,
      backward: (...args) => {
        this.#turns.clear();
        return backward(...args);
      },
    };
  }
}

type Values = { readonly [name: string]: Float32Array };

function gradientWith(tuned: Tuned, loss: () => tf.Scalar, places: Places, decide: Places['decide']): Values {
  places.decide = decide;
  places.seen.clear();
  const { value, grads } = tuned.valueAndGrads(loss);
  try {
    return Object.fromEntries(Object.entries(grads).map(([name, g]) => [name, Float32Array.from(g.dataSync())]));
  } finally {
    tf.dispose([value, grads]);
  }
}

const norm = (values: Values): number => Object.values(values).reduce((sum, g) => sum + g.reduce((s, v) => s + v * v, 0), 0);

export interface Cost {
  readonly place: string;
  readonly elements: number;
  /** C of the formula above. */
  readonly cost: number;
}

/** Bits by place within a budget in bytes: from 1 bit each, the best gain for its bytes first. */
export function allocate(costs: readonly Cost[], budget: number): { readonly [place: string]: Bits } {
  const level = new Map(costs.map(({ place }) => [place, 0]));
  let left = budget * 8 - costs.reduce((sum, { elements }) => sum + elements, 0);
  if (left < 0)
    throw new FinetuneError(
      'bad-option',
      'autoPrecision',
      `got a budget of ${budget} bytes, below the ${Math.ceil((budget * 8 - left) / 8)} that 1 bit a value takes. Raise it, or use a smaller batch.`,
    );
  for (;;) {
    const steps = costs.flatMap(({ place, elements, cost }) => {
      const at = level.get(place)!;
      const [now, next] = [choices[at]!, choices[at + 1]];
      if (next === undefined || (next - now) * elements > left) return [];
      return [{ place, price: (next - now) * elements, gain: (cost * (4 ** -now - 4 ** -next)) / ((next - now) * elements) }];
    });
    if (steps.length === 0) break;
    const best = steps.reduce((a, b) => (b.gain > a.gain ? b : a));
    level.set(best.place, level.get(best.place)! + 1);
    left -= best.price;
  }
  return Object.fromEntries([...level].map(([place, at]) => [place, choices[at]!]));
}
