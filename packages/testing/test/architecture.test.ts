/**
 * The arrows and habits of the repository, read from the sources with TypeScript's own parser. Each test lists every offender,
 * as `file: what`, and expects that list to be empty.
 */
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { dirname, join, relative, sep } from 'node:path';
import ts from 'typescript';
import { describe, expect, test } from 'vitest';

interface Import {
  readonly from: string;
  readonly typeOnly: boolean;
  /** `import('…')` in an expression: runs only where it is reached. */
  readonly lazy: boolean;
}

interface Source {
  readonly path: string;
  readonly folder: string;
  readonly ast: ts.SourceFile;
  readonly imports: readonly Import[];
}

interface Manifest {
  readonly name: string;
  readonly private?: boolean;
  readonly exports: Readonly<Record<string, string | Readonly<Record<string, string>>>>;
  readonly dependencies?: Readonly<Record<string, string>>;
  readonly peerDependencies?: Readonly<Record<string, string>>;
  readonly [field: string]: unknown;
}

const tfjsCore = '@tensorflow/tfjs-core';
const core = '@leantune/core';
// What several techniques share, and none of them is, stands in core under a name of its own: siblings never import each other.
const coreEntries = [core, `${core}/low-rank`, `${core}/patterns`, `${core}/safetensors`];
const techniques = ['convbn', 'lamda', 'lora', 'mixed-precision', 's2a'];
/** The one run-time dependency of the repository: distributions with 12 digits in the tails too. */
const statistics = ['@stdlib/math-base-special-betainc', '@stdlib/stats-base-dists-t-quantile'];
const backendOf = /^@tensorflow\/tfjs-(backend-\w+|node|node-gpu)(\/|$)|^webgpu$/;

/** What the sources of a published package may import at run time, beside their own files. A package that is not named is a technique. */
const arrows: Readonly<Record<string, (name: string) => boolean>> = {
  backends: (name) => name === tfjsCore || backendOf.test(name),
  core: (name) => name === tfjsCore,
  // Its models are LayersModels, whose classes only tfjs-layers has; clients of Hugging Face load when they are used.
  transformers: (name) =>
    name === tfjsCore ||
    name === '@tensorflow/tfjs-layers' ||
    coreEntries.includes(name) ||
    techniques.some((technique) => name === `@leantune/${technique}`) ||
    name.startsWith('@huggingface/'),
  // It measures any function, of tfjs or not, and calls NVIDIA's library where koffi is installed.
  energy: (name) => statistics.includes(name) || name === 'koffi',
  cli: () => false, // it asks the project's own packages, and node: alone is its own
};
const techniqueArrow = (name: string): boolean => name === tfjsCore || coreEntries.includes(name);

const root = join(import.meta.dirname, '../../..');
const show = (path: string): string => relative(root, path).split(sep).join('/');
const isTypeScript = (path: string): boolean => path.endsWith('.ts') && !path.endsWith('.d.ts');

function filesBelow(folder: string): string[] {
  if (!existsSync(folder)) return [];
  const entries = readdirSync(folder, { recursive: true, encoding: 'utf8' });
  return entries
    .filter((entry) => isTypeScript(entry) && !/(^|[\\/])(node_modules|dist)[\\/]/.test(entry))
    .map((entry) => join(folder, entry));
}

function importsOf(ast: ts.SourceFile): Import[] {
  const found: Import[] = [];
  const visit = (node: ts.Node): void => {
    if ((ts.isImportDeclaration(node) || ts.isExportDeclaration(node)) && node.moduleSpecifier) {
      const from = (node.moduleSpecifier as ts.StringLiteral).text;
      found.push({
        from,
        typeOnly: ts.isImportDeclaration(node) ? node.importClause?.phaseModifier === ts.SyntaxKind.TypeKeyword : node.isTypeOnly,
        lazy: false,
      });
    } else if (ts.isCallExpression(node) && node.expression.kind === ts.SyntaxKind.ImportKeyword) {
      const [from] = node.arguments;
      if (from && ts.isStringLiteral(from)) found.push({ from: from.text, typeOnly: false, lazy: true });
    }
    ts.forEachChild(node, visit);
  };
  visit(ast);
  return found;
}

function read(path: string, folder: string): Source {
  const ast = ts.createSourceFile(path, readFileSync(path, 'utf8'), ts.ScriptTarget.ES2022, true);
  return { path, folder, ast, imports: importsOf(ast) };
}

const packageNames = readdirSync(join(root, 'packages'));
const manifests = new Map(
  packageNames.map((name): [string, Manifest] => [name, JSON.parse(readFileSync(join(root, 'packages', name, 'package.json'), 'utf8'))]),
);
const published = packageNames.filter((name) => !manifests.get(name)!.private);
const sources = packageNames.flatMap((name) => filesBelow(join(root, 'packages', name, 'src')).map((path) => read(path, name)));
const publishedSources = sources.filter(({ folder }) => published.includes(folder));
const programs = ['examples', 'benchmarks', 'integrations', 'scripts'].flatMap((name) =>
  filesBelow(join(root, name)).map((path) => read(path, name)),
);

/** The command is named after the project: `npx leantune`. */
const nameOf = (folder: string): string => (folder === 'cli' ? 'leantune' : `@leantune/${folder}`);
const isRelative = (name: string): boolean => name.startsWith('.');
/** `@scope/name/deep/file` -> `@scope/name`. */
const packageOf = (name: string): string => name.split('/', name.startsWith('@') ? 2 : 1).join('/');

/** Every offender of `rule` among `files`. */
function offenders(files: readonly Source[], rule: (source: Source) => readonly string[]): string[] {
  return files.flatMap((source) => rule(source).map((what) => `${show(source.path)}: ${what}`));
}

/** Every node of a source below `node`. */
function nodes(node: ts.Node): ts.Node[] {
  const children: ts.Node[] = [];
  ts.forEachChild(node, (child) => void children.push(child));
  return children.flatMap((child) => [child, ...nodes(child)]);
}

describe('arrows', () => {
  test('every published package has sources to look at', () => {
    expect(published).toEqual(expect.arrayContaining(['backends', 'core']));
    for (const name of published) expect(publishedSources.some(({ folder }) => folder === name)).toBe(true);
  });

  test('a published package imports at run time only what its arrows allow', () => {
    const found = offenders(publishedSources, ({ folder, imports }) => {
      const allowed = arrows[folder] ?? techniqueArrow;
      const bare = imports.filter(({ from, typeOnly }) => !typeOnly && !isRelative(from));
      return bare
        .filter(({ from, lazy }) => !allowed(from) && !((lazy || folder === 'cli') && from.startsWith('node:')))
        .map(({ from }) => `imports ${from}`);
    });
    expect(found).toEqual([]);
  });

  test('a published package declares every package that it imports, also for types', () => {
    const found = offenders(publishedSources, ({ folder, imports }) => {
      const { dependencies, peerDependencies } = manifests.get(folder)!;
      const declared = Object.keys({ ...dependencies, ...peerDependencies });
      const bare = imports.map(({ from }) => from).filter((from) => !isRelative(from) && !from.startsWith('node:'));
      return bare
        .filter((from) => !declared.includes(packageOf(from)))
        .map((from) => `imports ${from}, which package.json does not declare`);
    });
    expect(found).toEqual([]);
  });

  test('a source reaches other packages by name, never by path', () => {
    const found = offenders(sources, ({ path, folder, imports }) => {
      const inside = join(root, 'packages', folder, 'src') + sep;
      return imports
        .filter(({ from }) => isRelative(from) && !join(dirname(path), from).startsWith(inside))
        .map(({ from }) => `imports ${from}`);
    });
    expect(found).toEqual([]);
  });

  test('programs import packages through their public entries', () => {
    const names = new Map([...manifests].map(([, manifest]) => [manifest.name, Object.keys(manifest.exports)]));
    const found = offenders(programs, ({ imports }) => {
      const entries = imports.map(({ from }) => from).filter((from) => names.has(packageOf(from)));
      const isPublic = (from: string): boolean => names.get(packageOf(from))!.includes(`.${from.slice(packageOf(from).length)}`);
      return entries.filter((from) => !isPublic(from)).map((from) => `imports ${from}`);
    });
    expect(found).toEqual([]);
  });

  test('no chain of run-time imports leads back to where it started', () => {
    expect(cycles(sources)).toEqual([]);
  });

  test('core names no technique', () => {
    const names = new RegExp(`\\b(${techniques.join('|')})\\b`, 'i');
    const found = offenders(
      sources.filter(({ folder }) => folder === 'core'),
      ({ ast }) =>
        nodes(ast)
          .filter(
            (node) => (ts.isIdentifier(node) || ts.isStringLiteralLike(node) || ts.isTemplateLiteralToken(node)) && names.test(node.text),
          )
          .map((node) => `names ${node.getText()}`),
    );
    expect(found).toEqual([]);
  });
});

/** Depth-first search over the relative imports that remain at run time; each cycle once, as `a -> b -> a`. */
function cycles(files: readonly Source[]): string[] {
  const next = new Map(
    files.map(({ path, imports }) => [
      path,
      imports.filter(({ from, typeOnly }) => !typeOnly && isRelative(from)).map(({ from }) => join(dirname(path), from)),
    ]),
  );
  const done = new Set<string>();
  const found: string[] = [];
  const walk = (path: string, trail: readonly string[]): void => {
    const seen = trail.indexOf(path);
    if (seen >= 0) found.push([...trail.slice(seen), path].map(show).join(' -> '));
    if (seen >= 0 || done.has(path)) return;
    for (const target of next.get(path) ?? []) walk(target, [...trail, path]);
    done.add(path);
  };
  for (const path of next.keys()) walk(path, []);
  return found;
}

describe('habits', () => {
  test('no file is longer than 300 lines', () => {
    const lines = ({ ast }: Source): number => ast.getLineStarts().length;
    expect(offenders([...sources, ...programs], (source) => (lines(source) > 300 ? [`${lines(source)} lines`] : []))).toEqual([]);
  });

  test('a file is named after its idea', () => {
    const vague = /[\\/](utils?|helpers?|misc|common)\.ts$/;
    expect(offenders([...sources, ...programs], ({ path }) => (vague.test(path) ? ['a name that says nothing'] : []))).toEqual([]);
  });

  test('nothing is exported by default', () => {
    const isDefault = (node: ts.Node): boolean =>
      ts.isExportAssignment(node) ||
      (ts.canHaveModifiers(node) && !!ts.getModifiers(node)?.some(({ kind }) => kind === ts.SyntaxKind.DefaultKeyword));
    expect(offenders(sources, ({ ast }) => (ast.statements.some(isDefault) ? ['has a default export'] : []))).toEqual([]);
  });

  test("classes extend Error, tf.Optimizer and tfjs-layers' Layer alone: a technique is composed, not inherited", () => {
    const allowed = ['Error', 'tf.Optimizer', 'layers.Layer'];
    const found = offenders(publishedSources, ({ ast }) =>
      nodes(ast)
        .filter((node) => ts.isClassLike(node))
        .flatMap(({ heritageClauses = [] }) => heritageClauses.filter(({ token }) => token === ts.SyntaxKind.ExtendsKeyword))
        .flatMap(({ types }) => types.map(({ expression }) => expression.getText()))
        .filter((base) => !allowed.includes(base))
        .map((base) => `extends ${base}`),
    );
    expect(found).toEqual([]);
  });
});

test('the public names are these', async () => {
  const entries = published.flatMap((name) =>
    Object.entries(manifests.get(name)!.exports).map(([path, target]) => ({ name, path, target })),
  );
  const names: Record<string, string> = {};
  for (const { name, path, target } of entries) {
    if (typeof target === 'string' || name === 'cli') continue; // a program
    const entry = await import(join(root, 'packages', name, target['@leantune/source']!));
    names[`${name} ${path}`] = Object.keys(entry).sort().join(' ');
  }
  expect(names).toMatchInlineSnapshot(`
    {
      "backends .": "BackendError useBackend",
      "backends ./cpu": "registerCpuKernels",
      "backends ./tensorflow": "adamWStep allocatorStats conv2dHalf conv2dHalfFilterGradient conv2dHalfInputGradient decodeHalf decodeNibbles encodeHalf guardMemory isCarrier makeCarrier matMulHalf packNibbles readCarrier registerTensorflowKernels resetPeak shimNode unpackNibbles",
      "backends ./wasm": "guardHeap heapUse registerWasmKernels",
      "backends ./webgl": "registerWebglKernels",
      "backends ./webgpu": "conv2dHalf conv2dHalfFilterGradient conv2dHalfInputGradient decodeHalf dispatch encodeHalf halfUnits isCarrier matMulHalf matrixConfigs poolUse registerWebgpuKernels trimPool",
      "convbn .": "deployMode evalMode fold foldWeights pairsOf trainMode tuneMode",
      "core .": "FinetuneError adamW checkpoint clipByGlobalNorm constantSchedule cosineSchedule explain finetune gradcheck gradients joinSchedules linearSchedule measure registerGradientRule restore setLearningRate trackMemory valueAndGrads warmupCosine warmupSchedule",
      "core ./low-rank": "FactorAdapter adaptersOf checkRanges count decompose decomposeGradients denseSites dropped firstColumns fraction join kernelMatrix likeKernel lowRankSites matrixShape narrow offRecord ownVariable positive rebind svdOf truncatedSvd widen",
      "core ./patterns": "findActivation findNorm",
      "core ./safetensors": "decodeFloats encodeFloats floatsOf readSafetensors readSafetensorsHeader safetensorsFiles writeSafetensors",
      "energy .": "EnergyError compareEnergy gridIntensity kilogramsCO2 measureEnergy nvidiaSmi nvml processorTime rapl usualSources",
      "energy ./statistics": "EnergyError anova cohensD compareGroups fTail factorialAnova hedgesG holm randomOrder summarize tCritical tTails welchTest",
      "lamda .": "allocateRanks explainRanks frozenRows lamda lamdaPlusPlus updatesOf",
      "lora .": "exportPeft importPeft lora",
      "mixed-precision .": "dynamicLossScale fixedLossScale mixedPrecision",
      "s2a .": "autoPrecision biasTuning channelAveragePool fourBit liteSideBranch lowRankPrompt s2a",
      "transformers .": "IGNORED attention byLength fromConfig fromPretrained gelu generate hubRepository languageBatches layerNorm linearCrossEntropy loadTokenizer localFolder lossModel meanLoss pack packedMatMul promptAndAnswer rmsNorm rope swiglu webFolder",
    }
  `);
});

describe('manifests', () => {
  test('published packages say the same in the same fields', () => {
    const reference = manifests.get('core')!;
    for (const name of published) {
      const manifest = manifests.get(name)!;
      for (const field of ['version', 'license', 'type', 'engines', 'files', 'publishConfig'])
        expect(manifest[field]).toEqual(reference[field]);
      expect(manifest.name).toBe(nameOf(name));
      expect(manifest['scripts']).toMatchObject({
        build: 'tsdown --config ../../tsdown.config.ts',
        test: `vitest run --root ../.. packages/${name}`,
      });
      expect(Object.keys(manifest.dependencies ?? {})).toEqual(name === 'energy' ? statistics : []);
      expect(manifest.peerDependencies?.[tfjsCore]).toBe(['cli', 'energy'].includes(name) ? undefined : '^4.22.0');
    }
  });

  test('every public entry is found from source, then by its types, then by its build', () => {
    for (const name of published) {
      for (const [path, target] of Object.entries(manifests.get(name)!.exports)) {
        if (path === './package.json') continue;
        expect(Object.keys(target)).toEqual(['@leantune/source', 'types', 'default']);
        const { '@leantune/source': source, types, default: build } = target as Readonly<Record<string, string>>;
        expect(existsSync(join(root, 'packages', name, source!))).toBe(true);
        expect(types).toBe(build!.replace(/\.mjs$/, '.d.mts'));
      }
    }
  });

  test('published packages are versioned together', () => {
    const { fixed } = JSON.parse(readFileSync(join(root, '.changeset/config.json'), 'utf8'));
    expect([...fixed[0]].sort()).toEqual(published.map(nameOf).sort());
  });
});
