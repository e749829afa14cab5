import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { defineConfig } from 'tsdown';

// One config for every published package. What is public stands once, in the package's `exports`: each source there is an entry here.
const { exports } = JSON.parse(readFileSync('package.json', 'utf8'));
const entry: Record<string, string> = {};
for (const target of Object.values<Record<string, string>>(exports)) {
  const source = target['@leantune/source'];
  if (source) entry[target.default!.replace('./dist/', '').replace(/\.mjs$/, '')] = source;
}

export default defineConfig({
  cwd: process.cwd(),
  entry,
  format: 'esm',
  platform: 'neutral',
  target: 'es2022',
  tsconfig: join(import.meta.dirname, 'tsconfig.json'),
  dts: true,
  sourcemap: true,
  fixedExtension: true,
  copy: [{ from: '../../LICENSE', to: '.' }], // npm packs the one beside package.json
});
