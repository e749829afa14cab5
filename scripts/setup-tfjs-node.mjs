#!/usr/bin/env node
/**
 * Makes an installed @tensorflow/tfjs-node work where its own install script cannot: it wants a host that many machines do not
 * reach, and a CUDA of 2021.
 *
 *   npm run setup:tfjs-node                                what works on this machine, tried in this order
 *   npm run setup:tfjs-node -- --gpu                       @tensorflow/tfjs-node-gpu, on a CUDA TensorFlow
 *   npm run setup:tfjs-node -- --tensorflow <path or URL>  on that TensorFlow: a C library (folder or .tar.gz) or a Python package's folder
 *   npm run setup:tfjs-node -- --only wheel                one way alone: ordinary, wheel, npm
 *
 * What it downloads and compiles is kept in $LEANTUNE_CACHE, by default ~/.cache/leantune, so a second clone is ready in seconds; compiled
 * addons by what they were made of. Run it again after a change of packages/backends/native: it compiles what changed.
 */
import { existsSync, readFileSync, realpathSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { parseArgs } from 'node:util';
import { loads, target } from './tfjs-node/addon.mjs';
import { say, Unsuitable } from './tfjs-node/cache.mjs';
import { ownSources, SOURCES } from './tfjs-node/compile.mjs';
import { fromNpm } from './tfjs-node/npm.mjs';
import { ordinary } from './tfjs-node/ordinary.mjs';
import { fromWheel } from './tfjs-node/wheel.mjs';

const { values } = parseArgs({
  options: {
    gpu: { type: 'boolean', default: false },
    tensorflow: { type: 'string' },
    only: { type: 'string' },
    force: { type: 'boolean' },
  },
});

/** @type {Record<string, readonly [what: string, run: typeof ordinary]>} */
const ways = {
  ordinary: ["tfjs-node's own install script", ordinary],
  wheel: ['its addon, compiled against a TensorFlow from pip or a given C library', fromWheel],
  npm: ['TensorFlow 1.15 from npm, without a compiler', fromNpm],
};
if (values.only && !ways[values.only]) {
  console.error(`[setup] --only got "${values.only}"; expected one of ${Object.keys(ways).join(', ')}.`);
  process.exit(1);
}

const addon = target(values.gpu);
const already = values.force ? undefined : loads(addon);
if (already?.ok && !values.tensorflow) {
  say(`${addon.name} loads: TensorFlow ${already.version}`);
  await renewOwn(addon);
} else process.exitCode = (await firstThatWorks()) ? 0 : 1;

/** Compiles addons of ours again whose sources are others by now, on the TensorFlow that is there. */
async function renewOwn({ folder, binding, gpu }) {
  const beside = (name) => join(dirname(binding), name);
  if (!existsSync(beside('leantune_ops.node')))
    return say(`ops of our own are not there. Run: npm run setup:tfjs-node -- --force --only wheel${gpu ? ' --gpu' : ''}`);
  if (existsSync(beside(SOURCES)) && readFileSync(beside(SOURCES), 'utf8') === ownSources()) return say('nothing to do');
  say('ops of our own are of other sources');
  const tensorflow = dirname(realpathSync(join(folder, 'deps/include')));
  process.exitCode = (await firstThatWorks({ ...values, only: 'wheel', tensorflow })) ? 0 : 1;
}

async function firstThatWorks(options = values) {
  for (const [name, [what, run]] of Object.entries(ways)) {
    if (options.only ? name !== options.only : options.tensorflow && name !== 'wheel') continue;
    say(`trying ${what}`);
    try {
      const advice = await run(addon, options);
      const { ok, version, why } = loads(addon);
      if (!ok) throw new Unsuitable(`it does not load: ${why}${advice ? `\n${advice}` : ''}`);
      say(`${addon.name} loads: TensorFlow ${version}`);
      if (advice) console.log(advice);
      return true;
    } catch (error) {
      if (!(error instanceof Unsuitable)) throw error;
      say(`passed over: ${error.message}`);
    }
  }
  console.error(
    `[setup] no way led to a working ${addon.name}. The reasons stand above; give a TensorFlow with --tensorflow <path or URL>.`,
  );
  return false;
}
