/** Which numbers an option takes. */
import { FinetuneError } from '../errors.ts';

type Range = readonly [expected: string, holds: (x: number) => boolean];

export const rate: Range = ['a finite rate >= 0', (x) => x >= 0 && x < Infinity];
/** A part of a whole, which is never all of it. */
export const fraction: Range = ['a number in [0, 1)', (x) => x >= 0 && x < 1];
/** A quantity. */
export const positive: Range = ['a number > 0', (x) => x > 0];
/** How many of something. */
export const count: Range = ['a whole number >= 1', (x) => Number.isInteger(x) && x > 0];

/** @throws FinetuneError `bad-option` with every number that is out of its range. */
export function checkRanges(who: string, ...given: readonly (readonly [Range, { readonly [name: string]: number }])[]): void {
  const faults = given.flatMap(([[expected, holds], numbers]) =>
    Object.entries(numbers).flatMap(([name, x]) => (holds(x) ? [] : `${name} = ${x}; expected ${expected}`)),
  );
  if (faults.length > 0) throw new FinetuneError('bad-option', who, `got ${faults.join(', ')}.`);
}
