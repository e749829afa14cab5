/** What `apps/exercise.mjs` reports, and whether it is right. */

export interface Row {
  readonly name: string;
  /** Of the first step and the last. */
  readonly losses: readonly [number, number];
  readonly peakBytes: number;
  readonly stockBytes: number;
}

export interface Report {
  readonly rows: readonly Row[];
  /** How far outputs are from those of the model that was saved: of a new model, and of that with the adapter restored. */
  readonly restored: { readonly before: number; readonly after: number };
  /** Of the last losses, by `@leantune/energy/statistics`. */
  readonly mean: number;
}

/** Of one consumer: every technique learns, below the peak of stock tfjs, and an adapter comes back as it was. */
export function faultsOf({ rows, restored, mean }: Report): string[] {
  const lasting = rows.filter(({ losses: [first, last] }) => !(last < first));
  const heavy = rows.slice(1).filter(({ peakBytes, stockBytes }) => !(peakBytes < stockBytes));
  const sum = rows.reduce((total, { losses }) => total + losses[1], 0);
  return [
    ...(rows.length > 1 ? [] : ['no technique ran']),
    ...lasting.map(({ name, losses }) => `${name}: the loss went from ${losses[0]} to ${losses[1]}; expected it to fall`),
    ...heavy.map(
      ({ name, peakBytes, stockBytes }) => `${name}: the peak is ${peakBytes} bytes; expected less than stock tfjs's ${stockBytes}`,
    ),
    ...(restored.before > 0 && restored.after === 0
      ? []
      : [`a restored adapter is off by ${restored.after}, a new model by ${restored.before}; expected 0, and more than 0`]),
    ...(Math.abs(mean - sum / rows.length) < 1e-9 ? [] : [`the mean of the losses is ${mean}; expected ${sum / rows.length}`]),
  ];
}

/** Of two consumers: the same bytes, and the same losses but for rounding of `Math.exp` in another engine. */
export function differences({ rows }: Report, { rows: others }: Report): string[] {
  if (rows.length !== others.length) return [`${rows.length} rows; expected ${others.length}`];
  return rows.flatMap(({ name, losses, peakBytes }, i) => {
    const other = others[i]!;
    const far = losses.some((loss, k) => Math.abs(loss - other.losses[k]!) > 1e-4 * Math.abs(loss));
    return [
      ...(peakBytes === other.peakBytes ? [] : [`${name}: the peak is ${peakBytes} bytes; expected ${other.peakBytes}`]),
      ...(far ? [`${name}: losses are ${losses}; expected ${other.losses}`] : []),
    ];
  });
}
