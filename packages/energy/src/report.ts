/** What was measured: plain data (JSON.stringify gives the figures), and a table for a terminal. */
import { type CarbonOptions, kilogramsCO2 } from './carbon.ts';
import type { Joules, Metered } from './metered-run.ts';
import { comparisonText, reportText } from './report-text.ts';
import type { Meter, Part } from './source.ts';
import { compareGroups, type GroupTests } from './statistics/compare-groups.ts';
import { type Summary, summarize } from './statistics/summary.ts';

/** Watts of a meter while nothing ran; `watts` is the mean of the two. */
export interface IdlePower {
  readonly before: number;
  readonly after: number;
  readonly watts: number;
}

/** What a meter measures, and whether it only estimates. */
export interface MeterFacts {
  readonly name: string;
  readonly part: Part;
  readonly estimated: boolean;
  readonly updateSeconds: number;
  readonly idle: IdlePower;
}

/** Joules in all, and above those of an idle machine in the same time. */
export interface Energy {
  readonly gross: number;
  readonly net: number;
}

export interface EnergyRun extends Energy {
  /** The block in which it ran. */
  readonly repeat: number;
  readonly seconds: number;
  readonly byMeter: Readonly<Record<string, Energy>>;
  /** What `run.accuracy` was told, with time and energy up to it. */
  readonly accuracies: readonly (Energy & { readonly accuracy: number; readonly seconds: number })[];
}

/** A report as plain data: for files, and for other tools. */
export interface EnergyData {
  readonly meters: readonly MeterFacts[];
  /** Sources that could not be read, and why. */
  readonly missing: readonly { readonly source: string; readonly reason: string }[];
  readonly runs: readonly EnergyRun[];
  /** Of a run. */
  readonly seconds: Summary;
  readonly gross: Summary;
  readonly net: Summary;
  /** Net joules of a training step. */
  readonly perStep: Summary;
  /** Net joules of a sample, where `samples` was given. */
  readonly perSample?: Summary;
  /** Of a run, in the mean. */
  readonly kilogramsCO2: Energy;
  /** Reasons to trust the figures less. */
  readonly warnings: readonly string[];
}

/** What the runs of one configuration took. */
export interface EnergyReport extends EnergyData {
  /** Net joules until an accuracy was reached for the first time, over the runs that reached it; undefined if none did. */
  toReach(accuracy: number): (Summary & { readonly runs: number }) | undefined;
  toString(): string;
}

/** Several configurations, measured in random order. `String(comparison)` is a table. */
export interface EnergyComparison {
  readonly configurations: Readonly<Record<string, EnergyReport>>;
  /**
   * Are the differences real? Analysis of variance, and Welch's t-test of every pair with Holm's correction.
   *
   * @param figure of a run that is compared. @default its net joules
   * @param against compare with this configuration only
   * @throws {EnergyError} fewer than two configurations or two repeats
   */
  tests(figure?: (run: EnergyRun, configuration: string) => number, against?: string): GroupTests;
  toString(): string;
}

export function energyReport(
  meters: readonly Meter[],
  missing: EnergyData['missing'],
  idle: readonly IdlePower[],
  metered: readonly { readonly repeat: number; readonly metered: Metered }[],
  size: { readonly calls: number; readonly steps: number; readonly samples?: number },
  carbon: CarbonOptions,
): EnergyReport {
  const facts = meters.map(({ name, part, estimated, updateSeconds }, i) => ({ name, part, estimated, updateSeconds, idle: idle[i]! }));
  const runs = metered.map(({ repeat, metered: run }): EnergyRun => {
    const each = facts.map((_, i) => energyOf([run.joules[i]!], run.seconds, [idle[i]!]));
    return {
      repeat,
      seconds: run.seconds,
      ...energyOf(run.joules, run.seconds, idle),
      byMeter: Object.fromEntries(facts.map(({ name }, i) => [name, each[i]!])),
      accuracies: run.accuracies.map(({ accuracy, joules, seconds }) => ({ accuracy, seconds, ...energyOf(joules, seconds, idle) })),
    };
  });
  const of = (figure: (run: EnergyRun) => number): Summary => summarize(runs.map(figure));
  const [gross, net] = [of((run) => run.gross), of((run) => run.net)];
  const { calls, steps, samples } = size;
  const data: EnergyData = {
    meters: facts,
    missing,
    runs,
    seconds: of((run) => run.seconds),
    gross,
    net,
    perStep: of((run) => run.net / (calls * steps)),
    ...(samples !== undefined && { perSample: of((run) => run.net / (calls * samples)) }),
    kilogramsCO2: { gross: kilogramsCO2(gross.mean, carbon), net: kilogramsCO2(net.mean, carbon) },
    warnings: warningsOf(facts, runs),
  };
  return { ...data, toReach: (accuracy) => toReach(runs, accuracy), toString: () => reportText(data) };
}

export function energyComparison(configurations: Readonly<Record<string, EnergyReport>>): EnergyComparison {
  return {
    configurations,
    tests(figure = (run) => run.net, against) {
      const groups = Object.entries(configurations).map(([name, { runs }]) => [name, runs.map((run) => figure(run, name))] as const);
      return compareGroups(Object.fromEntries(groups), against);
    },
    toString: () => comparisonText(configurations),
  };
}

function energyOf(joules: Joules, seconds: number, idle: readonly IdlePower[]): Energy {
  const gross = joules.reduce((sum, each) => sum + each, 0);
  return { gross, net: gross - seconds * idle.reduce((sum, { watts }) => sum + watts, 0) };
}

function toReach(runs: readonly EnergyRun[], accuracy: number): (Summary & { readonly runs: number }) | undefined {
  const reached = runs.flatMap(({ accuracies }) => accuracies.find((mark) => mark.accuracy >= accuracy)?.net ?? []);
  return reached.length > 0 ? { ...summarize(reached), runs: reached.length } : undefined;
}

function warningsOf(meters: readonly MeterFacts[], runs: readonly EnergyRun[]): string[] {
  const shortest = Math.min(...runs.map(({ seconds }) => seconds));
  const warnings = meters.filter(({ estimated }) => estimated).map(({ name }) => `"${name}" is no measurement`);
  for (const { name, updateSeconds } of meters)
    if (shortest < 10 * updateSeconds)
      warnings.push(
        `a run of ${shortest.toFixed(3)} s is shorter than 10 updates of "${name}" (${updateSeconds.toFixed(3)} s each): raise calls`,
      );
  for (const { name, idle, estimated } of meters)
    if (!estimated && Math.abs(idle.after - idle.before) > 0.1 * idle.watts)
      warnings.push(`idle power of "${name}" went from ${idle.before.toFixed(1)} to ${idle.after.toFixed(1)} W: other programs, or heat`);
  if (runs.length < 5) warnings.push(`${runs.length} run(s) tell little about the spread: raise repeats to 5 or more`);
  return warnings;
}
