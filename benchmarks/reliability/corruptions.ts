/**
 * Ways in which a file goes wrong, as values of fast-check: each is plain data that prints, and does the same to the same bytes.
 *
 * Positions are fractions of the file, so that one corruption serves files of any size.
 */
import fc from 'fast-check';

export type Corruption =
  | { readonly how: 'flip'; readonly at: number; readonly bit: number }
  | { readonly how: 'overwrite' | 'insert'; readonly at: number; readonly bytes: Uint8Array }
  | { readonly how: 'truncate'; readonly at: number }
  | { readonly how: 'remove' | 'zero' | 'repeat'; readonly at: number; readonly length: number }
  | { readonly how: 'headerLength'; readonly length: bigint }
  | { readonly how: 'json'; readonly surgery: Surgery };

/** One cut into a JSON document: down the path (each a fraction of the keys), then this. */
export interface Surgery {
  readonly path: readonly number[];
  readonly act: 'replace' | 'delete' | 'repeat' | 'rename' | 'copy';
  readonly value: unknown;
  /** The key that `copy` takes its value from, and the new name of `rename`. */
  readonly other: number;
}

const at = fc.noBias(fc.nat(2 ** 24 - 1)).map((i) => i / 2 ** 24); // fast-check would rather look at both ends
const bytes = fc.uint8Array({ minLength: 1, maxLength: 16 });
const length = fc.integer({ min: 1, max: 64 });

/** What readers trip over: numbers that overflow, shapes beyond any memory, names of Object.prototype, the wrong kind. */
const oddities: readonly unknown[] = [
  null,
  true,
  -1,
  0,
  0.5,
  1e9,
  2 ** 31,
  2 ** 53,
  1e300,
  '',
  'float16',
  'F64',
  'constructor',
  '__proto__',
  '(',
  [],
  {},
  [null],
  [-4, -3],
  [0, 2 ** 53 - 1],
  [1e9, 1e9],
  [65536, 65536, 65536],
  [1e300, 1e300],
];

const surgery: fc.Arbitrary<Surgery> = fc.record({
  path: fc.array(at, { minLength: 1, maxLength: 6 }),
  act: fc.constantFrom('replace', 'replace', 'replace', 'delete', 'repeat', 'rename', 'copy'),
  value: fc.oneof(fc.constantFrom(...oddities), fc.jsonValue({ maxDepth: 2 }), fc.array(fc.maxSafeNat(), { maxLength: 4 })),
  other: at,
});

const lengths = [0n, 1n, 2n, 7n, 100_000_000n, 100_000_001n, 2n ** 31n, 2n ** 32n, 2n ** 53n, 2n ** 63n, 2n ** 64n - 1n];

export const onBytes: fc.Arbitrary<Corruption> = fc.oneof(
  fc.record({ how: fc.constant('flip' as const), at, bit: fc.integer({ min: 0, max: 7 }) }),
  fc.record({ how: fc.constantFrom('overwrite' as const, 'insert' as const), at, bytes }),
  fc.record({ how: fc.constant('truncate' as const), at }),
  fc.record({ how: fc.constantFrom('remove' as const, 'zero' as const, 'repeat' as const), at, length }),
);

export const onJson: fc.Arbitrary<Corruption> = fc.record({ how: fc.constant('json' as const), surgery });

export const onBytesOrJson: fc.Arbitrary<Corruption> = fc.oneof(onBytes, onJson);

/** For what begins with a length and JSON. */
export const onSafetensors: fc.Arbitrary<Corruption> = fc.oneof(
  { weight: 4, arbitrary: onBytes },
  { weight: 5, arbitrary: onJson },
  {
    weight: 1,
    arbitrary: fc.record({
      how: fc.constant('headerLength' as const),
      length: fc.oneof(fc.constantFrom(...lengths), fc.bigInt({ min: 0n, max: 4096n })),
    }),
  },
);

/** The file after it. `json` operates on a whole JSON document, or on the header of safetensors. */
export function corrupt(file: Uint8Array, corruption: Corruption): Uint8Array {
  const position = 'at' in corruption ? Math.floor(corruption.at * file.length) : 0;
  const splice = (removed: number, added: Uint8Array): Uint8Array =>
    Buffer.concat([file.subarray(0, position), added, file.subarray(position + removed)]);
  switch (corruption.how) {
    case 'flip':
      return splice(1, Uint8Array.of(file[position]! ^ (1 << corruption.bit)));
    case 'overwrite':
      return splice(corruption.bytes.length, corruption.bytes).subarray(0, file.length);
    case 'insert':
      return splice(0, corruption.bytes);
    case 'truncate':
      return file.slice(0, position);
    case 'remove':
      return splice(corruption.length, new Uint8Array(0));
    case 'zero':
      return splice(corruption.length, new Uint8Array(corruption.length)).subarray(0, file.length);
    case 'repeat':
      return splice(0, file.subarray(position, position + corruption.length));
    case 'headerLength': {
      const copy = Uint8Array.from(file);
      new DataView(copy.buffer).setBigUint64(0, corruption.length, true);
      return copy;
    }
    case 'json':
      return operateOn(file, corruption.surgery);
  }
}

function operateOn(file: Uint8Array, cut: Surgery): Uint8Array {
  if (file[0] === 0x7b) return encode(operate(decode(file), cut)); // '{'
  const view = new DataView(file.buffer, file.byteOffset);
  const end = 8 + Number(view.getBigUint64(0, true));
  const json = encode(operate(decode(file.subarray(8, end)), cut));
  const prefix = new Uint8Array(8);
  new DataView(prefix.buffer).setBigUint64(0, BigInt(json.length), true);
  return Buffer.concat([prefix, json, file.subarray(end)]);
}

const decode = (json: Uint8Array): unknown => JSON.parse(new TextDecoder().decode(json));
const encode = (value: unknown): Uint8Array => new TextEncoder().encode(JSON.stringify(value));

/** A changed copy of `json`. */
export function operate(json: unknown, { path, act, value, other }: Surgery): unknown {
  const root = structuredClone(json);
  let parent = root as { [key: string]: unknown };
  let key = '';
  for (const [depth, fraction] of path.entries()) {
    const keys = Object.keys(parent);
    key = keys[Math.floor(fraction * keys.length)] ?? '';
    const next = parent[key];
    if (depth === path.length - 1 || typeof next !== 'object' || next === null || Object.keys(next).length === 0) break;
    parent = next as { [key: string]: unknown };
  }
  const keys = Object.keys(parent);
  const elsewhere = keys[Math.floor(other * keys.length)] ?? '';
  const old = parent[key];
  const set = (name: string, what: unknown): void =>
    void Object.defineProperty(parent, name, { value: what, enumerable: true, configurable: true, writable: true }); // "__proto__" too
  if (act === 'replace') set(key, value);
  else if (act === 'copy') set(key, structuredClone(parent[elsewhere]));
  else if (act === 'repeat' && Array.isArray(parent)) parent.push(structuredClone(old));
  else if (Array.isArray(parent)) parent.splice(Number(key), 1);
  else {
    delete parent[key];
    if (act !== 'delete') set(typeof value === 'string' ? value : `${key}x`, old);
  }
  return root;
}
