/** What a tarball may hold, and what its manifest must say. */

/** What `npm pack --json` says. */
export interface Packed {
  readonly files: readonly string[];
  readonly size: number;
  readonly unpackedSize: number;
}

export interface Manifest {
  readonly name: string;
  readonly license?: string;
  readonly exports: Readonly<Record<string, string | Readonly<Record<string, string>>>>;
  readonly bin?: Readonly<Record<string, string>>;
  readonly publishConfig?: { readonly access?: string; readonly provenance?: boolean };
}

/** Built files with their types and maps, the sources that the maps and the `@leantune/source` condition name, and three documents. */
const allowed: readonly RegExp[] = [
  /^(package\.json|README\.md|LICENSE)$/,
  /^dist\/[\w./-]+\.(mjs|d\.mts)(\.map)?$/,
  /^dist\/[\w./-]+\.wasm$/,
  /^src\/[\w./-]+\.(ts|wasm|wgsl)$/,
];
const tests = /(^|\/)(tests?|__tests__|fixtures?|bench)\/|\.(test|spec|bench)\.|tsbuildinfo$/;

export function contentFaults({ name, exports, bin = {} }: Manifest, { files }: Packed): string[] {
  const has = (path: string): boolean => files.includes(path.replace(/^\.\//, ''));
  const targets = Object.values(exports).flatMap((target) => (typeof target === 'string' ? [target] : Object.values(target)));
  const strays = files.filter((path) => tests.test(path) || !allowed.some((pattern) => pattern.test(path)));
  const missing = [...new Set([...targets, ...Object.values(bin), 'README.md', 'LICENSE'])].filter((path) => !has(path));
  return [
    ...(strays.length > 0 ? [`${name} would ship ${strays.join(', ')}`] : []),
    ...(missing.length > 0 ? [`${name} lacks ${missing.join(', ')}. Run npm run build, or add it to files`] : []),
  ];
}

export function manifestFaults({ name, license, publishConfig: { access, provenance } = {} }: Manifest): string[] {
  return [
    ...(license === 'Apache-2.0' ? [] : [`${name} has license ${license}; expected Apache-2.0`]),
    ...(access === 'public' ? [] : [`${name} has publishConfig.access ${access}; expected public`]),
    ...(provenance === true
      ? []
      : [`${name} has publishConfig.provenance ${provenance}; expected true: npm shows which commit and run built it`]),
  ];
}
