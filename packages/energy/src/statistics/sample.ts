import { EnergyError } from '../errors.ts';

/** `values`, if they are at least `least` finite numbers. */
export function numbersOf(who: string, name: string, values: readonly number[], least: number): readonly number[] {
  const wrong = values.flatMap((value, i) => (Number.isFinite(value) ? [] : [`${name}[${i}] = ${value}`]));
  const faults = wrong.length > 0 ? [`${wrong.join(', ')}, expected finite numbers`] : [];
  if (values.length < least) faults.push(`${name} has ${values.length} value(s), expected at least ${least}`);
  if (faults.length > 0) throw new EnergyError('bad-sample', who, `${faults.join('; ')}. Repeat the runs that failed.`);
  return values;
}
