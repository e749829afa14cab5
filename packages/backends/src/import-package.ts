/** Imports the package of a backend, and says what to do where it is missing or broken. */
import * as tf from '@tensorflow/tfjs-core';
import type { BackendName } from './bring-up.ts';
import { BackendError } from './errors.ts';

/** Imports the first of `packages` that is installed, unless tfjs knows the backend already. */
export async function importPackage(name: BackendName, packages: readonly string[]): Promise<void> {
  if (tf.findBackendFactory(name) !== null) return;
  let last: unknown;
  for (const specifier of packages)
    try {
      await import(/* @vite-ignore */ /* webpackIgnore: true */ specifier);
      return;
    } catch (error) {
      if (!isMissing(error, specifier)) throw broken(specifier, error);
      last = error;
    }
  throw notInstalled(name, packages, last);
}

/** The error for a backend of which no package is there. */
export function notInstalled(name: BackendName, packages: readonly string[], cause: unknown): BackendError {
  const fix = isPage()
    ? `Install ${packages.at(-1)} and import it in your own code: a bundler does not see what is imported by name at run time`
    : `Run: npm install ${packages.at(-1)}${packages.at(-1)?.startsWith('@tensorflow/') ? '@^4.22' : ''}`;
  return new BackendError('not-installed', 'useBackend', `"${name}" needs the package ${packages.join(' or ')}`, { fix, cause });
}

const broken = (specifier: string, cause: unknown): BackendError =>
  new BackendError(
    'not-available',
    'useBackend',
    `${specifier} is installed and does not load: ${(cause as Error).message.split('\n')[0]!.trim().replace(/\.$/, '')}`,
    {
      fix: `Its native addon must be there for this machine and this Node. Run: npm rebuild ${specifier} --build-addon-from-source`,
      cause,
    },
  );

const isMissing = (error: unknown, specifier: string): boolean =>
  !/\.(node|so|dll|dylib)\b/.test(String(error)) && String(error).includes(specifier);

/** Whether this is a web page or a worker of one, not Node. */
export const isPage = (): boolean => !globalThis.process?.versions?.node;
