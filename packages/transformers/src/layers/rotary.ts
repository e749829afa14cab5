/**
 * The frequencies of rotary positions: θ^(−2i/d), and how checkpoints stretch them to texts longer than those of their pretraining.
 * Formulas as in Hugging Face's `modeling_rope_utils.py`: linear (Chen et al. 2023, arXiv 2306.15595), llama3 (arXiv 2407.21783),
 * yarn (Peng et al. 2023, arXiv 2309.00071).
 */
export interface RopeConfig {
  readonly theta: number;
  readonly scaling?: RopeScaling;
}

export type RopeScaling =
  | { readonly type: 'linear'; readonly factor: number }
  | { readonly type: 'llama3'; readonly factor: number; readonly lowFactor: number; readonly highFactor: number; readonly original: number }
  | {
      readonly type: 'yarn';
      readonly factor: number;
      readonly original: number;
      readonly betaFast: number;
      readonly betaSlow: number;
      readonly magnitude: number;
    };

export interface Rotary {
  /** Radians per position, for each pair of a head. */
  readonly frequencies: readonly number[];
  /** Factor of cos and sin. */
  readonly magnitude: number;
}

const known = new WeakMap<RopeConfig, Rotary>();

/** The same object for the same config: tables are made once. */
export function rotary(config: RopeConfig, headSize: number): Rotary {
  const found = known.get(config) ?? frequenciesOf(config, headSize);
  known.set(config, found);
  return found;
}

function frequenciesOf({ theta, scaling }: RopeConfig, headSize: number): Rotary {
  const plain = Array.from({ length: headSize / 2 }, (_, i) => theta ** ((-2 * i) / headSize));
  if (!scaling) return { frequencies: plain, magnitude: 1 };
  if (scaling.type === 'linear') return { frequencies: plain.map((f) => f / scaling.factor), magnitude: 1 };
  if (scaling.type === 'llama3') return { frequencies: plain.map((f) => llama3(f, scaling)), magnitude: 1 };
  const { factor, original, betaFast, betaSlow, magnitude } = scaling;
  // the pair that turns `turns` times within the original length
  const pairOf = (turns: number) => (headSize * Math.log(original / (turns * 2 * Math.PI))) / (2 * Math.log(theta));
  const low = Math.max(Math.floor(pairOf(betaFast)), 0);
  const high = Math.min(Math.ceil(pairOf(betaSlow)), headSize - 1);
  const ramp = (i: number) => Math.min(1, Math.max(0, (i - low) / (high === low ? 0.001 : high - low)));
  return { frequencies: plain.map((f, i) => (f / factor) * ramp(i) + f * (1 - ramp(i))), magnitude };
}

/** Long waves are stretched, short ones kept, and those between are mixed. */
function llama3(f: number, { factor, lowFactor, highFactor, original }: Extract<RopeScaling, { type: 'llama3' }>): number {
  const turns = (original * f) / (2 * Math.PI);
  if (turns > highFactor) return f;
  if (turns < lowFactor) return f / factor;
  const smooth = (turns - lowFactor) / (highFactor - lowFactor);
  return ((1 - smooth) * f) / factor + smooth * f;
}
