/**
 * Table and tests of what energy.py and energy.ts wrote: joules per step, and whether precisions differ.
 *
 *   npx tsx --conditions=@leantune/source benchmarks/gpu/energy-report.ts benchmarks/gpu/results/<card>-energy-*.json
 */
import { readFileSync } from 'node:fs';
import { compareGroups, summarize } from '@leantune/energy/statistics';

export interface EnergyFile {
  readonly what: string;
  readonly card: string;
  readonly meter: string;
  readonly date: string;
  readonly idle: { readonly before: number; readonly after: number; readonly watts: number };
  readonly runs: readonly {
    readonly configuration: string;
    readonly seconds: number;
    /** Joules. */
    readonly gross: number;
    readonly steps: number;
  }[];
}

export function energyTable({ what, card, meter, date, idle, runs }: EnergyFile): string {
  const names = [...new Set(runs.map(({ configuration }) => configuration))];
  const of = (figure: (run: EnergyFile['runs'][number]) => number): Record<string, number[]> =>
    Object.fromEntries(names.map((name) => [name, runs.filter(({ configuration }) => configuration === name).map(figure)]));
  const net = of(({ gross, seconds, steps }) => (gross - idle.watts * seconds) / steps);
  const [gross, time, power] = [
    of((run) => run.gross / run.steps),
    of(({ seconds, steps }) => (1000 * seconds) / steps),
    of((run) => run.gross / run.seconds),
  ];
  const mean = (values: Record<string, number[]>, name: string): string => summarize(values[name]!).mean.toPrecision(4);
  const rows = names.map((name) => {
    const { n, sd, interval } = summarize(net[name]!);
    const cells = [n, mean(time, name), mean(power, name), mean(gross, name), mean(net, name), sd.toPrecision(2)];
    return `| ${name} | ${cells.join(' | ')} | ${interval.map((end) => end.toPrecision(4)).join(' … ')} |`;
  });
  const tests = names.length > 1 ? compareGroups(net).pairs : [];
  return [
    `${what}\n${card}, ${meter}, ${date}; idle ${idle.before.toFixed(1)} W before, ${idle.after.toFixed(1)} W after\n`,
    '| | runs | ms a step | W | gross J a step | net J a step | sd | 95 % interval |',
    '|---|---:|---:|---:|---:|---:|---:|---:|',
    ...rows,
    '',
    ...tests.map(
      ({ first, second, difference, interval, t, df, p, pHolm, hedgesG }) =>
        `${first} − ${second}: ${difference.toPrecision(4)} J a step (95 %: ${interval.map((end) => end.toPrecision(4)).join(' … ')}), Welch t = ${t.toFixed(2)}, df = ${df.toFixed(1)}, p = ${p.toPrecision(3)}, by Holm ${pHolm.toPrecision(3)}, Hedges g = ${hedgesG.toFixed(2)}`,
    ),
  ].join('\n');
}

if (process.argv[1] === import.meta.filename) {
  const files = process.argv.slice(2);
  if (files.length === 0) throw new Error('[energy-report] no file, expected JSON of energy.py or energy.ts.');
  for (const file of files) console.log(`${energyTable(JSON.parse(readFileSync(file, 'utf8')))}\n`);
}
