/**
 * Runs the examples with `--quick`, two at a time, and holds what each prints to what the comment at its head says of a quick run: bytes to
 * the digit, percentages to five points, which is a few of so few samples. A head without numbers is a fault, but for those marked so: what
 * energy measures is this machine's, and the heads in adapters/ leave the numbers to the tables of docs/techniques/lamda.md, of whole runs.
 * These need only run. Lists every fault, then fails.
 *
 *   npm run examples               those that take some half a minute of processor time or less
 *   npm run examples -- --all      all of them
 *   npm run examples -- own-loop   those of a folder
 */
import { execFile } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';

const root: string = join(import.meta.dirname, '..');
const execute = promisify(execFile);

interface Program {
  readonly path: string;
  /** With a reason to be: language models, and several methods in turn. */
  readonly slow?: true;
  /** Whether its head says numbers of a quick run. @default true */
  readonly numbers?: boolean;
}

const programs: readonly Program[] = [
  { path: 'quickstart/main.ts' },
  { path: 'graph-model/main.ts' },
  { path: 'own-loop/main.ts' },
  { path: 'transformers/classify.ts' },
  { path: 'adversarial/main.ts' },
  { path: 'mixed-precision/main.ts' },
  { path: 'energy/main.ts', numbers: false },
  { path: 's2a/main.ts', slow: true },
  { path: 'resnet-50/main.ts', slow: true },
  { path: 'transformers/main.ts', slow: true },
  { path: 'transformers/qlora.ts', slow: true },
  { path: 'adapters/classify.ts', slow: true, numbers: false },
  { path: 'adapters/main.ts', slow: true, numbers: false },
];

interface Expected {
  readonly value: string;
  readonly percent: boolean;
}

/** The numbers behind `quick:` in brackets, and in the sentences from `Quick:` or `--quick:` to the end of the comment; not those of chance. */
export function expectedOf(source: string): readonly Expected[] {
  const head = /^\/\*\*[\s\S]*?\*\//.exec(source)![0].replace(/\n \*\/?/g, ' ');
  const clauses = [...head.matchAll(/\(quick: ([^)]*)\)/g), ...head.matchAll(/(?:Quick|--quick): (.*)/g)].flatMap(([, text]) =>
    text!.split(/;|\. /),
  );
  return clauses.flatMap((clause) =>
    [...clause.matchAll(/(?<!chance is )(?<![\d.])\d+\.\d+/g)].map(([value]) => ({ value, percent: clause.includes('%') })),
  );
}

/** @returns what of `expected` is not in `printed` */
export function missingFrom(printed: string, expected: readonly Expected[]): string[] {
  const printedAs = (value: string) => new RegExp(`(?<![\\d.])${value.replaceAll('.', '\\.')}(?!\\d)`);
  const percents = [...printed.matchAll(/(\d+\.\d+) ?%/g)].map(([, value]) => Number(value));
  return expected
    .filter(({ value, percent }) =>
      percent ? !percents.some((found) => Math.abs(found - Number(value)) <= 5) : !printedAs(value).test(printed),
    )
    .map(({ value, percent }) => `${value}${percent ? ' %' : ''}`);
}

async function runExample({ path, numbers = true }: Program): Promise<{ readonly faults: string[]; readonly line: string }> {
  const started = performance.now();
  const full = join('examples', path);
  const expected = expectedOf(readFileSync(join(root, full), 'utf8'));
  if (numbers && expected.length === 0)
    return {
      faults: [`${full} has no numbers of a quick run at its head; expected some behind quick:`],
      line: `${full.padEnd(36)} has no numbers`,
    };
  const args = ['--conditions=@leantune/source', full, '--quick'];
  try {
    const { stdout } = await execute(join(root, 'node_modules/.bin/tsx'), args, { cwd: root, maxBuffer: 2 ** 26 });
    const missing = missingFrom(stdout, expected);
    const seconds = ((performance.now() - started) / 1000).toFixed(0);
    const line = `${full.padEnd(36)} ${`${expected.length - missing.length} of ${expected.length}`.padStart(8)} numbers of its head, ${seconds} s`;
    return {
      faults: missing.length > 0 ? [`${full} does not print ${missing.join(', ')}, as its head says it does. It prints:\n${stdout}`] : [],
      line,
    };
  } catch (error) {
    const { stderr = '', message } = error as { stderr?: string; message: string };
    return { faults: [`${full}: ${message.split('\n')[0]}\n${stderr.slice(-3000)}`], line: `${full.padEnd(36)} failed` };
  }
}

if (process.argv[1] === import.meta.filename) {
  const [, , ...words] = process.argv;
  const unknown = words.filter((word) => word !== '--all' && !programs.some(({ path }) => path.startsWith(word)));
  if (unknown.length > 0)
    throw new Error(
      `[examples] got ${unknown.join(', ')}; expected --all or beginnings of ${programs.map(({ path }) => path).join(', ')}.`,
    );
  const chosen = programs.filter(({ path, slow }) =>
    words.includes('--all') ? true : words.length > 0 ? words.some((word) => path.startsWith(word)) : !slow,
  );
  const faults: string[] = [];
  const waiting = [...chosen];
  const lane = async (): Promise<void> => {
    for (let next = waiting.shift(); next; next = waiting.shift()) {
      const { faults: found, line } = await runExample(next);
      console.log(line);
      faults.push(...found);
    }
  };
  await Promise.all([lane(), lane()]);
  for (const fault of faults) console.error(`[examples] ${fault}`);
  console.log(
    faults.length > 0 ? `${faults.length} fault(s)` : `${chosen.length} of ${programs.length} examples ran; --all runs the others too`,
  );
  if (faults.length > 0) process.exitCode = 1;
}
