import { describe, expect, test } from 'vitest';
import { addressFaults, addressOf } from '../../../scripts/release/address.ts';
import { contentFaults, manifestFaults } from '../../../scripts/release/contents.ts';
import { satisfies } from '../../../scripts/release/expression.ts';
import { licenseFaults } from '../../../scripts/release/licenses.ts';

const manifest = {
  name: '@leantune/x',
  license: 'Apache-2.0',
  exports: { '.': { '@leantune/source': './src/index.ts', default: './dist/index.mjs' }, './package.json': './package.json' },
  publishConfig: { access: 'public', provenance: true },
};
const files = ['package.json', 'README.md', 'LICENSE', 'src/index.ts', 'dist/index.mjs', 'dist/index.mjs.map', 'dist/index.d.mts'];
const packed = (...more: string[]) => ({ files: [...files, ...more], size: 1, unpackedSize: 1 });

describe('a package is judged by what npm would pack', () => {
  test('one that is whole has no fault', () => {
    expect([...contentFaults(manifest, packed()), ...manifestFaults(manifest)]).toEqual([]);
  });

  test('tests, fixtures and strays are named together', () => {
    const strays = ['src/x.test.ts', 'src/fixtures/a.ts', '.env', 'dist/notes.txt', 'tsconfig.tsbuildinfo'];
    expect(contentFaults(manifest, packed(...strays))).toEqual([`@leantune/x would ship ${strays.join(', ')}`]);
  });

  test('documents and entries that are missing are named together', () => {
    const rest = files.filter((file) => !/LICENSE|README|index\.mjs$/.test(file));
    const [fault] = contentFaults(manifest, { files: rest, size: 1, unpackedSize: 1 });
    expect(fault).toContain('lacks ./dist/index.mjs, README.md, LICENSE');
  });

  test('a manifest without provenance, of another licence or access, has a fault for each', () => {
    expect(manifestFaults({ name: 'x', exports: {}, license: 'MIT', publishConfig: {} })).toHaveLength(3);
  });
});

describe('the address of the project', () => {
  const url = 'https://example.com/owner/name';

  test('is the same in every manifest, with the folder of the package', () => {
    const { repository, homepage, bugs } = addressOf(url, 'packages/x');
    expect(repository).toEqual({ type: 'git', url: 'git+https://example.com/owner/name.git', directory: 'packages/x' });
    expect([homepage, bugs]).toEqual([`${url}/tree/main/packages/x#readme`, `${url}/issues`]);
    expect(addressFaults({ name: '@leantune/x', repository, homepage, bugs }, 'packages/x', url)).toEqual([]);
  });

  test('is missing from none, and written in none where the project has none', () => {
    expect(addressFaults({ name: '@leantune/x' }, 'packages/x', url)).toHaveLength(3);
    expect(addressFaults({ name: '@leantune/x' }, 'packages/x', undefined)).toEqual([]);
    expect(addressFaults({ name: '@leantune/x', bugs: url }, 'packages/x', undefined)).toEqual([
      `@leantune/x has bugs "${url}"; expected undefined`,
    ]);
  });
});

describe('licences', () => {
  test.each([
    ['MIT', true],
    ['(MIT OR GPL-3.0)', true],
    ['MIT AND GPL-3.0', false],
    ['MIT AND (GPL-3.0 OR ISC)', true],
    ['GPL-3.0', false],
    ['(MIT', false],
    ['', false],
  ])('%s', (expression, holds) => {
    expect(satisfies(expression, ['MIT', 'ISC'])).toBe(holds);
  });

  test('are followed through dependencies and peers as Node finds them, and not into development', () => {
    const packages = {
      'packages/x': { dependencies: { a: '1' }, peerDependencies: { b: '1', absent: '1' }, devDependencies: { dev: '1' } },
      'node_modules/@leantune/x': { link: true, resolved: 'packages/x' },
      'node_modules/a': { license: 'MIT', dependencies: { c: '1' } },
      'node_modules/a/node_modules/c': { license: 'GPL-3.0' },
      'node_modules/b': {},
      'node_modules/c': { license: 'MIT' },
      'node_modules/dev': { license: 'GPL-3.0' },
    };
    const { faults, counted } = licenseFaults(packages, ['@leantune/x']);
    expect(counted).toBe(3);
    expect(faults.map((fault) => fault.replace(/;.*/, ''))).toEqual([
      'node_modules/a/node_modules/c has licence GPL-3.0',
      'node_modules/b has licence (none)',
    ]);
  });
});
