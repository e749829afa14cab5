/** Stages of a measurement whose results outlive each other: every one adds its part to a file when it ends, also by an error. */
import { existsSync, readFileSync, renameSync, writeFileSync } from 'node:fs';

export type Stage = (note: (part: object) => void) => Promise<object>;

/** Runs the named stages, or all; each has `seconds`. */
export async function runStages(
  stages: { readonly [name: string]: Stage },
  { file, names, seconds }: { readonly file: string; readonly names: readonly string[]; readonly seconds: number },
): Promise<void> {
  const unknown = names.filter((name) => !Object.hasOwn(stages, name));
  if (unknown.length > 0)
    throw new Error(`[benchmarks] got the stages ${unknown.join(', ')}; expected some of ${Object.keys(stages).join(', ')}.`);
  for (const name of names.length > 0 ? names : Object.keys(stages)) {
    const start = performance.now();
    let noted: object = {};
    const write = (part: object, state: object): void => {
      const report = existsSync(file) ? (JSON.parse(readFileSync(file, 'utf8')) as object) : {};
      writeFileSync(`${file}.partial`, `${JSON.stringify({ ...report, [name]: { ...state, ...part } }, null, 2)}\n`);
      renameSync(`${file}.partial`, file);
    };
    const note = (part: object): void => {
      noted = { ...noted, ...part };
      write(noted, { state: 'running' });
    };
    const timer = setTimeout(() => {
      write(noted, { state: `stopped after ${seconds} s` });
      process.exit(3);
    }, seconds * 1000);
    const spent = () => ({ seconds: Number(((performance.now() - start) / 1000).toPrecision(3)) });
    try {
      const part = await (stages[name] as Stage)(note);
      write({ ...noted, ...part }, { state: 'done', ...spent() });
    } catch (error) {
      write(noted, { state: 'failed', error: String((error as Error).stack ?? error).slice(0, 2000), ...spent() });
    }
    clearTimeout(timer);
    console.error(`${name}: ${JSON.stringify(spent())}`);
  }
}
