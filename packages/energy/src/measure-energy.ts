/**
 * Energy of repeated runs, gross and net of what the machine draws when idle.
 *
 *   net = gross − idle power · seconds
 *
 * The protocol is what arXiv 2409.07853 lacked, by its own account and ours: energy instead of power, several runs of each configuration
 * in a random order in blocks, the first runs dropped, idle power subtracted, accuracy beside energy, and tests of the differences.
 */
import type { CarbonOptions } from './carbon.ts';
import { EnergyError } from './errors.ts';
import { type Metered, meteredRun, type Workload } from './metered-run.ts';
import { openMeters, type SourceChoice, usualSources } from './open-meters.ts';
import { type EnergyComparison, type EnergyReport, energyComparison, energyReport, type IdlePower } from './report.ts';
import type { Meter } from './source.ts';
import { randomOrder } from './statistics/random-order.ts';

/** What one call of a workload does, so that energy can be told per step and per sample. */
export interface WorkSize {
  /** Calls of the workload in one run; a run should last a second or more, ten updates of its slowest meter. @default 1 */
  readonly calls?: number;
  /** Training steps of one call. @default 1 */
  readonly steps?: number;
  /** Samples that one call sees; without it nothing is told per sample. */
  readonly samples?: number;
}

/** Options of {@link measureEnergy} and {@link compareEnergy}. */
export interface EnergyOptions extends CarbonOptions {
  /** Runs of each configuration that count. Below 5 a difference has to be large to be found. @default 10 */
  readonly repeats?: number;
  /** Runs before them that do not: caches, compiled shaders and clocks settle. @default 1 */
  readonly warmup?: number;
  /** Seconds of doing nothing, before and after all runs, by which idle power is known. @default 5 */
  readonly idleSeconds?: number;
  /** Seconds of rest before every run and idle time, so that a run does not inherit the heat and the clocks of another. @default 0 */
  readonly restSeconds?: number;
  /** @default NVML or nvidia-smi, and RAPL or an estimate: {@link usualSources} */
  readonly sources?: readonly SourceChoice[];
  /** Of the random order. @default 1 */
  readonly seed?: number;
}

/** A workload of {@link compareEnergy} with its size. */
export interface Configuration extends WorkSize {
  readonly run: Workload;
}

/**
 * Energy of `workload`, run `warmup + repeats` times.
 *
 * @example
 * const energy = await measureEnergy(() => model.trainOnBatch(x, y), { calls: 50, samples: 32 });
 * console.log(String(energy));
 *
 * @throws {EnergyError} bad options, or no source of energy that can be read
 */
export async function measureEnergy(workload: Workload, options: EnergyOptions & WorkSize = {}): Promise<EnergyReport> {
  const { calls, steps, samples } = options;
  const size = { ...(calls !== undefined && { calls }), ...(steps !== undefined && { steps }), ...(samples !== undefined && { samples }) };
  const { configurations } = await compareEnergy({ workload: { run: workload, ...size } }, options);
  return configurations['workload']!;
}

/**
 * Energy of several configurations, run in blocks that hold each of them once, in a random order.
 *
 * @example
 * const energy = await compareEnergy({ 'batch 8': { run: () => fit(8), samples: 640 }, 'batch 64': { run: () => fit(64), samples: 640 } });
 * console.log(String(energy), energy.tests().pairs);
 *
 * @throws {EnergyError} bad options, or no source of energy that can be read
 */
export async function compareEnergy(
  configurations: Readonly<Record<string, Workload | Configuration>>,
  options: EnergyOptions = {},
): Promise<EnergyComparison> {
  const names = Object.keys(configurations);
  const works = names.map((name) => sized(configurations[name]!));
  const { repeats = 10, warmup = 1, idleSeconds = 5, restSeconds = 0, seed = 1, sources = usualSources() } = options;
  checkOptions(names, works, { repeats, warmup, idleSeconds, restSeconds });
  const { meters, missing, close } = await openMeters(sources);
  const runs: { repeat: number; metered: Metered }[][] = names.map(() => []);
  const idle = async (): Promise<Metered> => {
    await rest(restSeconds);
    return meteredRun(meters, 0, 1, () => rest(idleSeconds));
  };
  let before: Metered | undefined;
  try {
    for (const [block, order] of randomOrder(names.length, warmup + repeats, seed).entries()) {
      if (block === warmup) before = await idle(); // behind the warm-up: a GPU with a context draws more than one without
      for (const which of order) {
        await rest(restSeconds);
        const { calls, run } = works[which]!;
        const metered = await meteredRun(meters, block - warmup, calls, run);
        if (block >= warmup) runs[which]!.push({ repeat: block - warmup, metered });
      }
    }
    const power = idlePower(meters, before!, await idle());
    const reports = names.map((name, i) => [name, energyReport(meters, missing, power, runs[i]!, works[i]!, options)] as const);
    return energyComparison(Object.fromEntries(reports));
  } finally {
    await close();
  }
}

const sized = (work: Workload | Configuration): Configuration & { readonly calls: number; readonly steps: number } => ({
  calls: 1,
  steps: 1,
  ...(typeof work === 'function' ? { run: work } : work),
});

const rest = (seconds: number): Promise<void> | undefined =>
  seconds > 0 ? new Promise((resolve) => setTimeout(resolve, seconds * 1000)) : undefined;

function idlePower(meters: readonly Meter[], before: Metered, after: Metered): IdlePower[] {
  const watts = ({ joules, seconds }: Metered, i: number): number => joules[i]! / seconds;
  return meters.map((_, i) => ({ before: watts(before, i), after: watts(after, i), watts: (watts(before, i) + watts(after, i)) / 2 }));
}

function checkOptions(
  names: readonly string[],
  works: readonly (WorkSize & { calls: number })[],
  options: Readonly<Record<string, number>>,
): void {
  const faults = names.length === 0 ? ['no configuration, expected at least one'] : [];
  const want = (name: string, value: number | undefined, least: number, whole: boolean): void => {
    if (value === undefined || (value >= least && Number.isFinite(value) && (!whole || Number.isInteger(value)))) return;
    faults.push(`${name} is ${value}, expected ${whole ? 'a whole number' : 'a number'} of at least ${least}`);
  };
  want('repeats', options['repeats'], 1, true);
  want('warmup', options['warmup'], 0, true);
  want('idleSeconds', options['idleSeconds'], 0.1, false);
  want('restSeconds', options['restSeconds'], 0, false);
  works.forEach(({ calls, steps, samples }, i) => {
    for (const [what, value] of Object.entries({ calls, steps, samples })) want(`${what} of "${names[i]}"`, value, 1, true);
  });
  if (faults.length > 0) throw new EnergyError('bad-option', 'measureEnergy', `${faults.join('; ')}.`);
}
