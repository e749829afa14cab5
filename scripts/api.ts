/**
 * The API of every published package, from its docstrings, as pages in docs/api (which git ignores). A public name without a docstring, a
 * type that is used and not exported, and a link that leads nowhere are faults: all are listed, then it fails.
 *
 *   npm run docs:api               writes the pages
 *   npm run docs:api -- --check    only looks for faults
 */
import { join } from 'node:path';
import { Application, DeclarationReflection, LogLevel, ReferenceReflection, type Reflection, ReflectionKind } from 'typedoc';
import { publishedPackages } from './packages.ts';

const check = process.argv.includes('--check');
const root: string = join(import.meta.dirname, '..');
const packages = publishedPackages().filter(({ name }) => name !== 'leantune'); // a command, without names
const app = await Application.bootstrap({
  name: 'LeanTune',
  entryPoints: packages.flatMap(({ folder, sources }) => [...sources.values()].map((source) => join(folder, source))),
  basePath: join(root, 'packages'),
  tsconfig: join(root, 'tsconfig.json'),
  skipErrorChecking: true, // npm run types has looked
  excludeExternals: true,
  excludePrivate: true,
  disableSources: true,
  readme: join(root, 'docs/index.md'),
  validation: { notExported: true, invalidLink: true, invalidPath: false, rewrittenLink: true, unusedMergeModuleWith: true },
  logLevel: LogLevel.Warn,
});
const project = await app.convert();
if (!project) process.exit(1);
app.validate(project);
if (!check) await app.generateDocs(project, join(root, 'docs/api'));
const names = project.getReflectionsByKind(ReflectionKind.SomeExport).filter(({ parent }) => parent?.kindOf(ReflectionKind.Module));
for (const name of names.filter((name) => !isDocumented(name))) app.logger.warn(`${name.getFullName()} has no docstring`);
const faults = app.logger.errorCount + app.logger.warningCount;
console.log(`${names.length} public names, ${faults} fault(s)${check ? '' : '; see docs/api/index.html'}`);
if (faults > 0) process.exitCode = 1;

function isDocumented(name: Reflection): boolean {
  if (name instanceof ReferenceReflection) return true; // another entry has it
  return name.hasComment() || (name instanceof DeclarationReflection && !!name.signatures?.some((signature) => signature.hasComment()));
}
