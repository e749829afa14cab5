/**
 * When which row of B stops: from the largest singular value on, one row at a time, all by the end of the first fraction of the run.
 *
 *   rows frozen after step i  =  min(r, floor(r · i / (η · steps)))        η = freezeFraction
 *
 * Azizi et al. 2024, arXiv 2406.12832, figure 1. The released code leaves r out, which freezes three rows at most, and zeroes gradients,
 * under which momentum and weight decay still move what is frozen.
 */
export interface FreezingOptions {
  /** Optimizer steps of the whole run, which the schedule is laid over. @default 1000 */
  readonly steps?: number;
  /** η: the part of the run at whose end all of B is frozen; 0 freezes it before the first step. [0, 1]. @default 0.3 */
  readonly freezeFraction?: number;
}

/** How many rows of B no longer train from `step` on, of `rank`. */
export function frozenRows(step: number, rank: number, { steps = 1000, freezeFraction = 0.3 }: FreezingOptions): number {
  const last = freezeFraction * steps;
  return step >= last ? rank : Math.floor((rank * step) / last);
}

/** How many numbers a run moves, summed over its steps: what "parameter updates" counts. */
export function updatesOf(rank: number, dOut: number, run: number, options: FreezingOptions): number {
  let rows = 0;
  for (let step = 0; step < run; step++) rows += rank - frozenRows(step, rank, options);
  return run * rank * rank + rows * dOut;
}
