/**
 * Runs the examples with `--quick`, two at a time, and holds what each prints to what the comment at its head says of a quick run: bytes to
 * the digit, percentages to five points, which is a few of so few samples. Lists every fault, then fails.
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

/** The slow ones have a reason to be: language models, and several methods in turn. */
const programs: readonly { readonly path: string; readonly slow?: true }[] = [
  { path: 'quickstart/main.ts' },
  { path: 'graph-model/main.ts' },
  { path: 'own-loop/main.ts' },
  { path: 'transformers/classify.ts' },
  { path: 'adversarial/main.ts' },
  { path: 'mixed-precision/main.ts' },
  { path: 'energy/main.ts' },
  { path: 's2a/main.ts', slow: true },
  { path: 'resnet-50/main.ts', slow: true },
  { path: 'transformers/main.ts', slow: true },
  { path: 'transformers/qlora.ts', slow: true },
  { path: 'adapters/classify.ts', slow: true },
  { path: 'adapters/main.ts', slow: true },
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
  const percents = [...printed.matchAll(/(\d+\.\d+) ?%/g)].map(([, value]) => Number(value));
  return expected
    .filter(({ value, percent }) =>
      percent ? !percents.some((found) => Math.abs(found - Number(value)) <= 5) : !new RegExp(`(?<![\\d.])${value}(?!\\d)`).test(printed),
    )
    .map(({ value, percent }) => `${value}${percent ? ' %' : ''}`);
}

async function runExample(path: string): Promise<{ readonly faults: string[]; readonly line: string }> {
  const started = performance.now();
  const full = join('examples', path);
  const expected = expectedOf(readFileSync(join(root, full), 'utf8'));
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
  const chosen = programs.filter(({ path, slow }) =>
    words.includes('--all') ? true : words.length > 0 ? words.some((word) => path.startsWith(word)) : !slow,
  );
  const faults: string[] = [];
  const waiting = [...chosen];
  const lane = async (): Promise<void> => {
    for (let next = waiting.shift(); next; next = waiting.shift()) {
      const { faults: found, line } = await runExample(next.path);
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
