/** Reports as fixed-width tables. */
import type { EnergyData } from './report.ts';
import type { Summary } from './statistics/summary.ts';

export function reportText(data: EnergyData): string {
  const rows: string[][] = [['', 'mean', 'sd', '95 % interval']];
  const add = (name: string, { mean, sd, interval }: Summary): void =>
    void rows.push([name, figure(mean), figure(sd), `${figure(interval[0])} … ${figure(interval[1])}`]);
  add('seconds', data.seconds);
  add('joules, gross', data.gross);
  add('joules, net', data.net);
  add('net joules a step', data.perStep);
  if (data.perSample) add('net joules a sample', data.perSample);
  const { gross, net } = data.kilogramsCO2;
  return [
    `energy of ${data.runs.length} run(s)`,
    ...aligned(rows),
    `CO2e of a run: ${(gross * 1000).toPrecision(3)} g gross, ${(net * 1000).toPrecision(3)} g net`,
    ...footer(data),
  ].join('\n');
}

export function comparisonText(configurations: Readonly<Record<string, EnergyData>>): string {
  const rows = [['', 'seconds', 'gross J', 'net J', '95 % interval', 'net J a step', 'g CO2e']];
  for (const [name, { seconds, gross, net, perStep, kilogramsCO2 }] of Object.entries(configurations))
    rows.push([
      name,
      figure(seconds.mean),
      figure(gross.mean),
      figure(net.mean),
      `${figure(net.interval[0])} … ${figure(net.interval[1])}`,
      figure(perStep.mean),
      (kilogramsCO2.gross * 1000).toPrecision(3),
    ]);
  const all = Object.values(configurations);
  return [...aligned(rows), ...new Set(all.flatMap(footer))].join('\n');
}

function footer({ meters, missing, warnings }: EnergyData): string[] {
  return [
    ...meters.map(({ name, idle, estimated }) => `${estimated ? 'estimated' : 'measured'}: ${name}, idle ${figure(idle.watts)} W`),
    ...missing.map(({ reason }) => `not read: ${reason}`),
    ...warnings.map((warning) => `note: ${warning}`),
  ];
}

const figure = (value: number): string => (Number.isNaN(value) ? '–' : value.toPrecision(4));

function aligned(rows: readonly (readonly string[])[]): string[] {
  const widths = rows[0]!.map((_, column) => Math.max(...rows.map((row) => row[column]!.length)));
  return rows.map((row) => row.map((cell, i) => (i === 0 ? cell.padEnd(widths[i]!) : cell.padStart(widths[i]!))).join('  '));
}
