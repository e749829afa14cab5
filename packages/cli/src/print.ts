/** The report as text for people. */
import type { Facts, Finding, Report } from './report.ts';

const width = 12;
const gib = (bytes: number): string => (bytes < 2 ** 30 ? `${(bytes / 2 ** 20).toFixed(0)} MiB` : `${(bytes / 2 ** 30).toFixed(1)} GiB`);
const line = (head: string, text: string): string => `${head.padEnd(width)}${text}`.trimEnd();

export function print({ system, versions, backends, auto }: Report): string {
  return [
    'works' in auto
      ? [`useBackend('auto') finds none: ${auto.why}`]
      : [
          `useBackend('auto') picks ${auto.name}: ${auto.why}`,
          ...auto.passed.flatMap(({ name, why, fix }) => [`  not ${name}: ${why}`, `    ${fix}`]),
        ],
    Object.entries(backends).flatMap(([name, finding]) => block(name, finding)),
    [
      line('system', `${system.platform}, ${system.cores} cores of ${system.processor}, Node ${system.node}`),
      line('memory', `${gib(system.memory.total)}, ${gib(system.memory.free)} free; JavaScript heap up to ${gib(system.heapLimit)}`),
      ...system.nvidia.map((gpu) => line('nvidia', gpu)),
    ],
    Object.entries(versions).map(([name, version], i) => line(i === 0 ? 'versions' : '', `${name} ${version}`)),
  ]
    .filter((part) => part.length > 0)
    .map((part) => part.join('\n'))
    .join('\n\n');
}

function block(name: string, finding: Finding): string[] {
  if (!finding.works) return [line(name, `no: ${finding.why}`), ...(finding.fix ? [line('', `-> ${finding.fix}`)] : [])];
  return [line(name, 'works'), ...describe(finding.facts)];
}

const describe = (facts: Facts): string[] =>
  Object.entries(facts).flatMap(([name, fact]) => {
    if (Array.isArray(fact)) return [line('', `${name}: ${fact.join(', ') || 'none'}`)];
    if (typeof fact === 'object') return Object.entries(fact).map(([limit, value]) => line('', `${limit}: ${size(limit, value)}`));
    return [line('', `${name}: ${typeof fact === 'number' ? size(name, fact) : fact}`)];
  });

/** Sizes of buffers and heaps are bytes. */
const size = (name: string, value: number): string => (/Size$|heap/.test(name) && value >= 2 ** 20 ? gib(value) : `${value}`);
