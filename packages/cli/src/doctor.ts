/** Asks every backend, one after the other: two at once would fight for the GPU and its memory. */
import { type BackendName, backendNames, type Choice, type Fails, type Finding, type Report } from './report.ts';
import { runProbe } from './run-probe.ts';
import { readSystem, readVersions } from './system.ts';

/** `program` is the file that runs as `program probe <name>`; each probe has `seconds` to answer. */
export async function diagnose(program: string, seconds: number): Promise<Report> {
  const backends: Partial<Record<BackendName, Finding>> = {};
  for (const name of backendNames) backends[name] = name === 'webgl' ? webgl : await runProbe<Finding>(program, name, seconds);
  return {
    system: await readSystem(),
    versions: readVersions(process.cwd()),
    backends: backends as Record<BackendName, Finding>,
    auto: await runProbe<Choice | Fails>(program, 'auto', 2 * seconds),
  };
}

const webgl: Fails = {
  works: false,
  why: 'it runs in browser pages, which this program does not look into',
  fix: "In a page: await useBackend('webgl')",
};
