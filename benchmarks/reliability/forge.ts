/** Puts a checksum into an adapter that fits what it now says. The checksum guards against accidents; behind it nothing may crash either. */
import { crc32 } from 'node:zlib';

type Json = { [key: string]: Json } & Json[];

/** As the format has it: JSON with sorted keys. */
function sorted(value: unknown): string {
  const sort = (x: object): object => Object.fromEntries(Object.entries(x).sort(([a], [b]) => (a < b ? -1 : 1)));
  return JSON.stringify(value ?? null, (_, x) => (x && typeof x === 'object' && !Array.isArray(x) ? sort(x) : x));
}

export function seal(files: ReadonlyMap<string, Uint8Array>): ReadonlyMap<string, Uint8Array> {
  const json = JSON.parse(new TextDecoder().decode(files.get('model.json')!)) as Json;
  const header = json?.['userDefinedMetadata'];
  if (!header || typeof header !== 'object') return files;
  const groups = Array.isArray(json['weightsManifest']) ? json['weightsManifest'] : [];
  const specs = groups.flatMap((group) => group?.['weights'] ?? []);
  const text = sorted([{ ...header, checksum: 0 }, specs]);
  const weights = [...files].find(([name]) => name !== 'model.json')![1];
  const sum = crc32(weights, crc32(text));
  const sealed = { ...json, userDefinedMetadata: { ...header, checksum: sum.toString(16).padStart(8, '0') } };
  return new Map(files).set('model.json', new TextEncoder().encode(JSON.stringify(sealed)));
}
