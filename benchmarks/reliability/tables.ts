/** The tables of docs/reliability.md, from reliability/results. */
import { existsSync } from 'node:fs';
import { at, line, markdownTable, megabytes, readJson, type Table } from '../documents.ts';
import type { FuzzResult } from './fuzz.ts';
import type { KillResult } from './kill.ts';
import type { Provenance } from './result.ts';
import { quarter, type SoakResult } from './soak.ts';

const file = '../docs/reliability.md';
const result = (name: string): string => `reliability/results/${name}.json`;

export const tables: readonly Table[] = [
  { file, marker: 'soak', text: soakTable },
  { file, marker: 'fuzz', text: fuzzTable },
  { file, marker: 'kill', text: killTable },
];

function soakTable(): string {
  const results = ['cpu', 'wasm', 'tensorflow', 'webgpu']
    .map((backend) => result(`soak-${backend}`))
    .filter((path) => existsSync(at(path)));
  const all = results.map((path) => readJson<SoakResult>(path));
  const rows = all.map(({ backend, steps, samples }) => {
    const [first, last] = [quarter(samples, 0), quarter(samples, 3)];
    const both = (text: (sample: typeof first) => string) => `${text(first)} → ${text(last)}`;
    return [
      backend,
      steps.toLocaleString('en'),
      both(({ tensors }) => `${tensors}`),
      both(({ peakBytes }) => peakBytes.toLocaleString('en')),
      first.backendBytes ? both(({ backendBytes }) => backendBytes!.toLocaleString('en')) : '–',
      both(({ heap }) => megabytes(heap)),
      both(({ rss }) => megabytes(rss)),
      both(({ loss }) => loss.toExponential(1)),
    ];
  });
  const head = [
    'backend',
    'batches',
    'tensors',
    'peak bytes by the tracker',
    'bytes of the backend',
    'JavaScript heap MB',
    'process (RSS) MB',
    'loss',
  ];
  return `${markdownTable(head, rows)}\n\nFirst quarter of the run → last quarter: the largest of the first three, the median of the others. ${all.map(source).join(' ')}`;
}

function fuzzTable(): string {
  const all = readJson<FuzzResult>(result('fuzz'));
  const rows = all.tallies.map(({ loader, cases, refused, loaded, fileBytes, largestBuffer, mostBytes, faults }) => [
    loader,
    ...[cases, refused, loaded, fileBytes, largestBuffer, mostBytes, faults.length].map((n) => n.toLocaleString('en')),
  ]);
  const sum = (of: (tally: FuzzResult['tallies'][number]) => number) =>
    all.tallies.reduce((n, tally) => n + of(tally), 0).toLocaleString('en');
  const total = ['**all**', sum((t) => t.cases), sum((t) => t.refused), sum((t) => t.loaded), '', '', '', sum((t) => t.faults.length)];
  const head = [
    'what loads',
    'cases',
    'refused',
    'loaded',
    'bytes of the good file',
    'largest buffer asked for',
    'all buffers of one case',
    'faults',
  ];
  return `${markdownTable(head, rows)}\n${line(total)}\n\nThe largest process took ${megabytes(all.peakRss)} MB. fast-check ${all.fastCheck}, seed ${all.seed}. ${source(all)}`;
}

function killTable(): string {
  const all = readJson<KillResult>(result('kill'));
  const head = ['kills', 'amid a save', 'the last version reported', 'a newer one', 'torn, older or lost'];
  const rows = [[all.kills, all.amidSave, all.old, all.fresh, all.faults.length].map(String)];
  return `${markdownTable(head, rows)}\n\nA version has ${megabytes(all.fileBytes)} MB in two files. ${source(all)}`;
}

const source = ({ command, date, commit, versions, machine }: Provenance): string =>
  `\`${command}\`, ${date.slice(0, 10)} at commit ${commit ?? 'unknown'}, ${machine.cores} cores of ${machine.cpu}, Node ${versions.node}.`;
