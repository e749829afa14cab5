/**
 * Energy from samples of a power sensor.
 *
 *   E = Σ (Pᵢ + Pᵢ₊₁)/2 · (tᵢ₊₁ − tᵢ)
 *
 * Two properties of the sensors are taken into account (Yang, Adámek, Armour, arXiv 2312.02741). A sensor is read more often than it
 * measures, so that samples repeat a reading: only its first counts, or the sum would follow a staircase that lags. And a reading is
 * the mean over a time *before* it: it is put in the middle of that time.
 */

export interface PowerSample {
  /** Milliseconds since 1970. */
  readonly at: number;
  readonly watts: number;
}

/** Median time between two different readings, in milliseconds; `otherwise` where fewer than five changes were seen. */
export function updatePeriod(samples: readonly PowerSample[], otherwise: number): number {
  const changes = samples.filter(({ watts }, i) => i > 0 && watts !== samples[i - 1]!.watts).map(({ at }) => at);
  const gaps = changes.slice(1).map((at, i) => at - changes[i]!);
  if (gaps.length < 5) return otherwise;
  return gaps.sort((a, b) => a - b)[gaps.length >> 1]!;
}

/**
 * The readings behind `samples`, each in the middle of the time that it is the mean of.
 *
 * @param period milliseconds between two readings; equal samples that far apart are two equal readings
 * @param window milliseconds that a reading is the mean of
 */
export function readings(samples: readonly PowerSample[], period: number, window: number): PowerSample[] {
  const kept: PowerSample[] = [];
  for (const sample of samples) {
    const last = kept.at(-1);
    if (!last || sample.watts !== last.watts || sample.at - last.at >= period) kept.push(sample);
  }
  return kept.map(({ at, watts }) => ({ at: at - window / 2, watts }));
}

/** Joules between two moments by the trapezoid rule; before the first sample and after the last the power is theirs. */
export function energyBetween(samples: readonly PowerSample[], from: number, to: number): number {
  let joules = 0;
  let last = { at: from, watts: powerAt(samples, from) };
  const inside = samples.filter(({ at }) => at > from && at < to);
  for (const next of [...inside, { at: to, watts: powerAt(samples, to) }]) {
    joules += (((last.watts + next.watts) / 2) * (next.at - last.at)) / 1000;
    last = next;
  }
  return joules;
}

function powerAt(samples: readonly PowerSample[], at: number): number {
  const after = samples.findIndex((sample) => sample.at >= at);
  if (after < 0) return samples.at(-1)!.watts;
  const [a, b] = [samples[after - 1], samples[after]!];
  return a ? a.watts + ((b.watts - a.watts) * (at - a.at)) / (b.at - a.at) : b.watts;
}
