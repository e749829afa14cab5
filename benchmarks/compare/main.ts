/**
 * The comparison: techniques and their stacks, stock tfjs, and the peers, each measured on this machine by the same definition.
 *
 *   npm run bench                                all that is not measured yet; some two hours on two free cores
 *   npm run bench -- minilm                      one model
 *   npm run bench -- --only 'leantune wasm'      the cell of this name, or cells whose name has these words
 *   npm run bench -- --minutes 3                 begins no cell after three minutes; the next run goes on
 *   npm run bench -- --again                     also what is measured already
 *   npm run bench -- --list                      names the cells
 *   npm run bench -- --quick                     tiny sizes: stock tfjs, the tape and all levers; writes and installs nothing
 *   npm run bench -- --quick --only lora         tiny sizes of these cells
 *
 * Results go into results/ after each cell; `npm run tables -w benchmarks` makes the documents of them.
 */
import { parseArgs } from 'node:util';
import { type Cell, type Contest, hasRun, type Job, nameOf } from './cell.ts';
import { contestsOf } from './contests.ts';
import { reasonOf, runCell } from './engines.ts';
import { findPeers, type Peers } from './install.ts';
import { commit, machine, versions } from './machine.ts';
import { planOf } from './matrix.ts';
import { addResult, readResults, SEED, writeResults } from './store.ts';

const flag = { type: 'boolean', default: false } as const;
const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: { only: { type: 'string' }, minutes: { type: 'string' }, again: flag, list: flag, quick: flag, installed: flag },
});

const all = contestsOf(values.quick);
const unknown = positionals.filter((id) => !all.some((contest) => contest.id === id));
if (unknown.length > 0) throw new Error(`[compare] got ${unknown.join(', ')}; expected some of ${all.map(({ id }) => id).join(', ')}.`);
const chosen = all.filter(({ id }) => positionals.length === 0 || positionals.includes(id));

if (chosen.every((contest) => wanted(contest).length === 0))
  throw new Error(`[compare] got --only ${values.only}; expected the name of a cell, or words of it. --list names the cells.`);

if (values.list) for (const contest of chosen) console.log([contest.id, ...wanted(contest).map((cell) => `  ${nameOf(cell)}`)].join('\n'));
else if (values.quick) await quick(findPeers(false));
else await full(findPeers(!values.installed));

/** The cells of a model that the command line asks for. */
function wanted(contest: Contest): readonly Cell[] {
  const { cells, chain } = planOf(contest);
  const some = values.quick && values.only === undefined ? [chain[0]!, chain[1]!, chain.at(-1)!].map(({ cell }) => cell) : cells;
  const exact = some.filter((cell) => nameOf(cell) === values.only);
  return exact.length > 0 ? exact : some.filter((cell) => nameOf(cell).includes(values.only ?? ''));
}

function jobOf(contest: Contest, cell: Cell): Job {
  const timeline = planOf(contest).chain.some((row) => nameOf(row.cell) === nameOf(cell));
  return { ...contest, cell, seed: SEED, timeline };
}

async function full(peers: Peers): Promise<void> {
  const work = chosen.flatMap((contest) => wanted(contest).map((cell) => [contest, cell] as const));
  const started = performance.now();
  for (const [i, [contest, cell]] of work.entries()) {
    const known = readResults(contest, SEED);
    if (!values.again && hasRun(known.cells[nameOf(cell)])) continue;
    if (performance.now() - started > 60_000 * Number(values.minutes ?? Number.POSITIVE_INFINITY)) return;
    const outcome = await runCell(jobOf(contest, cell), peers);
    const about = { date: new Date().toISOString(), commit: commit(), versions: { ...versions(cell), ...outcome.versions } };
    writeResults(addResult(readResults(contest, SEED), cell, { ...outcome, ...about }, machine()));
    const minutes = ((performance.now() - started) / 60_000).toFixed(1);
    console.log(`${i + 1} of ${work.length}, ${minutes} min  ${contest.id}, ${describe(cell, outcome)}`);
  }
}

/** tfjs in this process, whose cells must run. */
async function quick(peers: Peers): Promise<void> {
  const { tfjsCell } = await import('./tfjs-cell.ts');
  for (const contest of chosen)
    for (const cell of wanted(contest)) {
      const job = jobOf(contest, cell);
      const here = cell.engine === 'stock' || cell.engine === 'leantune';
      const outcome = here ? await tfjsCell(job).catch((error: unknown) => ({ notRun: reasonOf(error) })) : await runCell(job, peers);
      if (here && !hasRun(outcome)) process.exitCode = 1;
      console.log(`${contest.id}, ${describe(cell, outcome)}`);
    }
}

function describe(cell: Cell, outcome: Awaited<ReturnType<typeof runCell>>): string {
  if (!hasRun(outcome)) return `${nameOf(cell)}  not run: ${outcome.notRun}`;
  const { peakAboveWeights, trained, parameters, processorMilliseconds } = outcome;
  const share = ((100 * trained) / parameters).toPrecision(3);
  return `${nameOf(cell)}  ${(peakAboveWeights / 1e6).toFixed(2)} MB above weights, ${share} % trained, ${processorMilliseconds} ms`;
}
