/**
 * Uses the packages as people will: what npm would publish is packed, installed into a fresh project outside of this repository, and run by
 * every kind of consumer, which must all come to the same numbers. Lists every fault, then fails. Needs `npm run build`.
 *
 *   npm run integrations               some 60 seconds on 2 cores
 *   npm run integrations -- deno vite  those whose name has one of these words
 *
 * A runtime or browser that cannot be had is skipped in plain sight; where CI is set, that is a fault.
 */
import { rmSync } from 'node:fs';
import { type Consumer, consumers } from './consumers.ts';
import { freshProject } from './project.ts';
import { differences, faultsOf, type Report } from './report.ts';

const words = process.argv.slice(2).map((word) => word.toLowerCase());
const unknown = words.filter((word) => !consumers.some(({ name }) => name.toLowerCase().includes(word)));
if (unknown.length > 0)
  throw new Error(`[integrations] got ${unknown.join(', ')}; expected words of ${consumers.map(({ name }) => name).join('; ')}.`);
const chosen = consumers.filter(({ name }) => words.length === 0 || words.some((word) => name.toLowerCase().includes(word)));
const started = performance.now();
const seconds = (): string => `${((performance.now() - started) / 1000).toFixed(0)} s`;
const faults: string[] = [];
const reports = new Map<string, Report>();

const project = await freshProject();
console.log(`packed and installed (${seconds()})`);
try {
  const waiting = [...chosen];
  const lane = async (): Promise<void> => {
    for (let next = waiting.shift(); next; next = waiting.shift()) await visit(next);
  };
  await Promise.all([lane(), lane()]); // consumers are processes of their own
} finally {
  for (const folder of [project, `${project}-bundled`]) rmSync(folder, { recursive: true, force: true });
}
compare();
for (const fault of faults) console.error(`[integrations] ${fault}`);
console.log(faults.length > 0 ? `${faults.length} fault(s) (${seconds()})` : `all ${chosen.length} as expected (${seconds()})`);
if (faults.length > 0) process.exitCode = 1;

async function visit({ name, missing, run }: Consumer): Promise<void> {
  const why = await missing?.(project);
  if (why !== undefined) {
    console.log(`${name}: skipped, ${why}`);
    if (process.env['CI']) faults.push(`${name} was skipped: ${why} (CI is set: every consumer must be there)`);
    return;
  }
  try {
    const report = await run(project);
    if (report) reports.set(name, report);
    console.log(`${name}: done (${seconds()})`);
  } catch (error) {
    faults.push(`${name}: ${(error as Error).message}`);
  }
}

/** Prints the rows of the first consumer, and holds the others to them. */
function compare(): void {
  const [[first, reference] = [], ...others] = [...reports];
  if (!reference) return;
  for (const [name, report] of reports) faults.push(...faultsOf(report).map((fault) => `${name}: ${fault}`));
  for (const [name, report] of others) faults.push(...differences(report, reference).map((fault) => `${name}: ${fault}, as in ${first}`));
  console.log('\nsix steps          loss            peak, and of stock tfjs');
  for (const { name, losses, peakBytes, stockBytes } of reference.rows)
    console.log(
      `${name.padEnd(18)} ${losses.map((loss) => loss.toFixed(3)).join(' → ')}  ${`${peakBytes}`.padStart(8)} ${`${stockBytes}`.padStart(8)}`,
    );
}
