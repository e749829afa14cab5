/** Every technique, for law 14, by the name that `testTechnique` gets. A new technique adds its line. */
import { rankOneSubject } from './reference/rank-one.ts';
import { roundTripSubject } from './reference/round-trip.ts';
import type { Subject } from './subject.ts';

export const all: { readonly [name: string]: Subject } = {
  'rank-one': rankOneSubject,
  'round-trip': roundTripSubject,
};
