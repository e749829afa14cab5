import { tCritical } from './distributions.ts';
import { numbersOf } from './sample.ts';

/** Repeated measurements in a few figures. */
export interface Summary {
  readonly n: number;
  readonly mean: number;
  /** Standard deviation of the sample (n − 1); NaN for one value. */
  readonly sd: number;
  /** Confidence interval of the mean by Student's t; NaN for one value. */
  readonly interval: readonly [low: number, high: number];
  /** @default 0.95 */
  readonly confidence: number;
}

/**
 * Mean, standard deviation, and an interval of the mean: mean ± t · sd / √n.
 *
 * @throws {EnergyError} no value, or one that is not finite
 */
export function summarize(values: readonly number[], confidence = 0.95): Summary {
  const { n, mean, variance } = moments(numbersOf('summarize', 'values', values, 1));
  const reach = n > 1 ? tCritical(confidence, n - 1) * Math.sqrt(variance / n) : Number.NaN;
  return { n, mean, sd: Math.sqrt(variance), interval: [mean - reach, mean + reach], confidence };
}

/** Count, mean and variance (n − 1) in two passes, so that values with a large common part lose no digits. */
export function moments(values: readonly number[]): { n: number; mean: number; variance: number } {
  const n = values.length;
  const rough = values.reduce((sum, value) => sum + value, 0) / n;
  const mean = rough + values.reduce((sum, value) => sum + (value - rough), 0) / n;
  return { n, mean, variance: n > 1 ? squares(values, mean) / (n - 1) : Number.NaN };
}

/** Σ (value − center)². */
export function squares(values: readonly number[], center: number): number {
  return values.reduce((sum, value) => sum + (value - center) ** 2, 0);
}
