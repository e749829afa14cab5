/**
 * Holm's step-down correction (Holm 1979): of m tests, the k-th smallest p-value is multiplied by m − k + 1, and none becomes smaller
 * than one before it. Holds the chance of any false finding below the level, however the tests depend on each other, and always
 * finds at least what Bonferroni's correction finds.
 */
import { EnergyError } from '../errors.ts';

/**
 * Corrected p-values, in the order of `p`.
 *
 * @throws {EnergyError} a p-value outside [0, 1]
 */
export function holm(p: readonly number[]): number[] {
  const wrong = p.flatMap((value, i) => (value >= 0 && value <= 1 ? [] : [`p[${i}] = ${value}`]));
  if (wrong.length > 0) throw new EnergyError('bad-sample', 'holm', `${wrong.join(', ')}, expected p-values in [0, 1].`);
  const order = p.map((_, i) => i).sort((i, j) => p[i]! - p[j]!);
  const corrected = new Array<number>(p.length);
  let least = 0;
  order.forEach((i, rank) => {
    least = Math.max(least, Math.min(1, p[i]! * (p.length - rank)));
    corrected[i] = least;
  });
  return corrected;
}
