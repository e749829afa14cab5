/** The installed package of tfjs-node: where its files belong, whether it loads. */
import { execFileSync } from 'node:child_process';
import { copyFileSync, existsSync, mkdirSync, readFileSync, rmSync, symlinkSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';

const require = createRequire(import.meta.url);

/** The package, its folder, and where its addon belongs. */
export function target(gpu) {
  const name = `@tensorflow/tfjs-node${gpu ? '-gpu' : ''}`;
  let manifest;
  try {
    manifest = require.resolve(`${name}/package.json`);
  } catch {
    console.error(`[setup] ${name} is not installed. Run: npm install --no-save --ignore-scripts ${name}@4.22.0`);
    process.exit(1);
  }
  const binding = createRequire(manifest)('@mapbox/node-pre-gyp').find(manifest);
  return { name, gpu, folder: dirname(manifest), version: JSON.parse(readFileSync(manifest, 'utf8')).version, manifest, binding };
}

/** Loads the package in a process of its own and adds two numbers. */
export function loads({ name, binding }) {
  if (!existsSync(binding)) return { ok: false, why: 'its addon is not there' };
  const program = `
    const util = require('node:util');
    util.isNullOrUndefined ??= (v) => v == null;
    util.isArray ??= Array.isArray;
    const tf = require(${JSON.stringify(name)});
    if (tf.add([1], [2]).dataSync()[0] !== 3) throw new Error('1 + 2 is not 3');
    console.log(JSON.stringify({ version: tf.backend().binding.TF_Version }));`;
  try {
    const env = { ...process.env, TF_CPP_MIN_LOG_LEVEL: '3', TF_FORCE_GPU_ALLOW_GROWTH: 'true' };
    const said = execFileSync(process.execPath, ['-e', program], { cwd: import.meta.dirname, env, stdio: 'pipe', encoding: 'utf8' });
    return { ok: true, ...JSON.parse(said.trim().split('\n').at(-1)) };
  } catch (error) {
    const lines = String(error.stderr || error.message).split('\n');
    return { ok: false, why: lines.find((line) => /Error|cannot open|undefined symbol/.test(line)) ?? lines[0] };
  }
}

/** `deps` of the package as links to `lib` and `include`; its own addon and ours as copies, which find `deps` beside them. */
export function place({ folder, binding }, { include, libraries }, addons) {
  const deps = join(folder, 'deps');
  rmSync(deps, { recursive: true, force: true });
  mkdirSync(join(deps, 'lib'), { recursive: true });
  if (include) symlinkSync(include, join(deps, 'include'));
  for (const [name, file] of Object.entries(libraries)) symlinkSync(file, join(deps, 'lib', name));
  rmSync(dirname(binding), { recursive: true, force: true });
  mkdirSync(dirname(binding), { recursive: true });
  for (const [name, file] of Object.entries(addons)) copyFileSync(file, join(dirname(binding), name));
}
