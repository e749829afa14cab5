/**
 * A recording of any length in a fixed number of points: each point stands for a run of events and shows the one with the largest
 * total. When the points are used up, neighbours merge and the larger stays, so the highest peak is never lost.
 */
import type { MemoryByCategory, MemoryPoint } from './memory-data.ts';

const POINTS = 600;
/** event, ms, five categories, total */
const WIDTH = 8;

export class Timeline {
  readonly #data = new Float64Array(POINTS * WIDTH);
  /** Closed points; the open one is behind them. */
  #closed = 0;
  #stride = 1;
  #inPoint = 0;
  #event = 0;

  /** Records the totals after an event. `refresh` lets an equal total win. True when a point was closed. */
  add(ms: number, totals: readonly number[], total: number, refresh: boolean): boolean {
    const at = this.#closed * WIDTH;
    const best = this.#data[at + 7]!;
    if (!this.#inPoint || total > best || (refresh && total === best)) {
      this.#data[at] = this.#event;
      this.#data[at + 1] = ms;
      this.#data.set(totals, at + 2);
      this.#data[at + 7] = total;
    }
    this.#event++;
    if (++this.#inPoint < this.#stride) return false;
    this.#inPoint = 0;
    if (++this.#closed === POINTS) this.#halve();
    return true;
  }

  points(): MemoryPoint[] {
    return Array.from({ length: this.#closed + Math.sign(this.#inPoint) }, (_, i) => {
      const [event, ms, ...totals] = this.#data.subarray(i * WIDTH, (i + 1) * WIDTH);
      return { event: event!, ms: ms!, ...byCategory(totals) };
    });
  }

  #halve(): void {
    const data = this.#data;
    for (let i = 0; i < POINTS; i += 2) {
      const at = i * WIDTH;
      const from = data[at + 7]! > data[at + WIDTH + 7]! ? at : at + WIDTH;
      data.copyWithin(at / 2, from, from + WIDTH);
    }
    this.#closed = POINTS / 2;
    this.#stride *= 2;
  }
}

export function byCategory([weights, optimizer, kept, gradients, transient]: readonly number[]): MemoryByCategory {
  return { weights: weights!, optimizer: optimizer!, kept: kept!, gradients: gradients!, transient: transient! };
}
