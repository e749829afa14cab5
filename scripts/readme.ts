/** Runs the first program of the README and writes what it prints below it. A test holds the two together. */
import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

const root: string = join(import.meta.dirname, '..');
const readme: string = join(root, 'README.md');
const program = /^```ts\n([\s\S]*?)^```/m;
const output = /(?<=It prints:\n\n```text\n)[\s\S]*?(?=```)/;

const part = (pattern: RegExp): string => pattern.exec(readFileSync(readme, 'utf8'))!.at(-1)!;

/** What the README says its first program prints. */
export const written = (): string => part(output);

/** What it prints. */
export function printed(): string {
  const folder = mkdtempSync(join(root, 'node_modules/.readme-')); // it imports packages by name, and saves an adapter
  try {
    const args = ['--conditions=@leantune/source', '--input-type=module', '--eval', part(program)];
    return execFileSync(join(root, 'node_modules/.bin/tsx'), args, { cwd: folder, encoding: 'utf8' });
  } finally {
    rmSync(folder, { recursive: true });
  }
}

if (process.argv[1] === import.meta.filename) {
  const text = printed();
  writeFileSync(
    readme,
    readFileSync(readme, 'utf8').replace(output, () => text),
  );
}
