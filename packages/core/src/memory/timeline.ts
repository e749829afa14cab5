/**
 * A recording of any length in a fixed number of points: each point stands for a run of events and shows the one with the largest
 * total. When the points are used up, neighbours merge and the larger stays, so the highest peak is never lost.
 */
import { keys, type MemoryByCategory, type MemoryPoint } from './data.ts';

/** Even, and with the point for now at most 600. */
const POINTS = 598;
const TOTAL = 7;

export class Timeline {
  /** event, ms, five categories, total */
  #points: number[][] = [];
  /** Events a point. */
  #stride = 1;
  #event = 0;

  /** Records the totals after an event; `refresh` lets an equal total win. True when a new point was begun. */
  add(ms: number, totals: readonly number[], total: number, refresh: boolean): boolean {
    if (this.#event === POINTS * this.#stride) {
      this.#points = this.#points.filter((p, i, all) => (i % 2 ? p[TOTAL]! >= all[i - 1]![TOTAL]! : p[TOTAL]! > all[i + 1]![TOTAL]!));
      this.#stride *= 2;
    }
    const i = Math.floor(this.#event / this.#stride);
    const most = this.#points[i]?.[TOTAL] ?? -1;
    if (total > most || (refresh && total === most)) this.#points[i] = [this.#event, ms, ...totals, total];
    this.#event++;
    return most < 0;
  }

  /** The points so far, and one for now. */
  points(ms: number, totals: readonly number[]): MemoryPoint[] {
    return [...this.#points, [this.#event, ms, ...totals]].map(([event, at, ...bytes]) => ({
      event: event!,
      ms: at!,
      ...byCategory(bytes),
    }));
  }
}

export const byCategory = (totals: readonly number[]): MemoryByCategory =>
  Object.fromEntries(keys.map((key, i) => [key, totals[i]])) as MemoryByCategory;
