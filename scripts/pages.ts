/**
 * The programs in README and docs: `ts` blocks that import something, each by itself; on a page that says `<!-- one program -->`, all its
 * blocks in a row.
 */
import { execFileSync } from 'node:child_process';
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

const root: string = join(import.meta.dirname, '..');

/** Paths from the root. The API's pages are made, not written. */
export const pages: readonly string[] = [
  'README.md',
  'CONTRIBUTING.md',
  ...readdirSync(join(root, 'docs'), { recursive: true, encoding: 'utf8' })
    .filter((path) => path.endsWith('.md') && !path.startsWith('api/'))
    .map((path) => join('docs', path)),
];

/** The first program of each runs. */
export const packageReadmes: readonly string[] = readdirSync(join(root, 'packages'))
  .map((name) => join('packages', name, 'README.md'))
  .filter((page) => existsSync(join(root, page)));

/** With the READMEs of packages, examples and benchmarks. */
export const withReadmes: readonly string[] = [
  ...pages,
  ...['packages', 'examples']
    .flatMap((folder) => readdirSync(join(root, folder)).map((name) => join(folder, name)))
    .concat('integrations', 'benchmarks', 'benchmarks/gpu')
    .map((folder) => join(folder, 'README.md'))
    .filter((page) => existsSync(join(root, page))),
];

export const textOf = (page: string): string => readFileSync(join(root, page), 'utf8');

export function programsOf(page: string): string[] {
  const text = textOf(page);
  const blocks = [...text.matchAll(/^```ts\n([\s\S]*?)^```/gm)].map((match) => match[1]!);
  if (text.includes('<!-- one program -->')) return [blocks.join('\n')];
  return blocks.filter((block) => /^import /m.test(block));
}

/** Those that need nothing but this repository: no checkpoint from somewhere, no hours. They run for a few seconds in all. */
export const runnable: readonly string[] = [
  'docs/tour.md',
  'docs/guides/layers-model.md',
  'docs/guides/own-loop.md',
  'docs/guides/save-and-merge.md',
  'docs/guides/backends.md',
  'docs/guides/memory.md',
  'docs/guides/add-a-technique.md',
];

/** Runs the programs of `runnable` pages and the first of each package's README, one after the other in one process. @returns what they printed */
export function runPages(): string {
  const folder = mkdtempSync(join(root, 'node_modules/.pages-')); // they import packages by name, and save adapters
  try {
    const programs = [
      ...runnable.flatMap((page) => programsOf(page).map((code, i) => ({ page, code, i }))),
      ...packageReadmes.flatMap((page) =>
        programsOf(page)
          .slice(0, 1)
          .map((code, i) => ({ page, code, i })),
      ),
    ];
    const files = programs.map(({ page, code, i }) => {
      const file = `${page.replaceAll('/', '-')}.${i}.ts`;
      writeFileSync(join(folder, file), code);
      return file;
    });
    const main = files.map((file) => `console.log('== ${file}');\nawait import('./${file}');`).join('\n');
    writeFileSync(join(folder, 'package.json'), '{ "type": "module" }');
    writeFileSync(join(folder, 'main.ts'), main);
    const args = ['--conditions=@leantune/source', 'main.ts'];
    return execFileSync(join(root, 'node_modules/.bin/tsx'), args, { cwd: folder, encoding: 'utf8' });
  } finally {
    rmSync(folder, { recursive: true });
  }
}
