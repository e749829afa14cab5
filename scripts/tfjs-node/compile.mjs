/** Compiles tfjs-node's addon and ours (packages/backends/native) once per TensorFlow, package and compiler flags. */
import { execFile } from 'node:child_process';
import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { homedir } from 'node:os';
import { dirname, join } from 'node:path';
import { promisify } from 'node:util';
import { cached, digest, say, Unsuitable } from './cache.mjs';

const run = promisify(execFile);
const native = join(import.meta.dirname, '../../packages/backends/native');
/** Ours, by name: the allocator's figures, and the ops of our own with their headers. They need more than the C API. */
const own = {
  leantune_memory: [join(native, 'tensorflow-memory.cc')],
  leantune_ops: readdirSync(join(native, 'tensorflow')).map((name) => join(native, 'tensorflow', name)),
};
const flags = [
  '-w',
  '-O3',
  '-fno-math-errno',
  '-fno-trapping-math',
  '-fPIC',
  '-shared',
  '-std=c++17',
  '-DNAPI_VERSION=8',
  '-DEIGEN_MAX_ALIGN_BYTES=64',
  '-Wl,-rpath,$ORIGIN/../../deps/lib',
];

/** Stands for the sources of our addons: the file of this name beside them says of which they were made. */
export const SOURCES = 'leantune_sources';
export const ownSources = () =>
  digest(
    ...Object.values(own)
      .flat()
      .map((file) => readFileSync(file)),
    ...flags,
  );

/** Paths of the addons by file name, and of `SOURCES`. Ours is left out where the headers are those of the C API alone. */
export async function compile({ folder, version }, { include, lib, main, framework }) {
  const node = nodeHeaders();
  const sources = ['tfjs_backend.cc', 'tfjs_binding.cc'].map((name) => join(folder, 'binding', name));
  const { CXX: compiler = 'g++' } = process.env;
  const key = digest(version, ...sources.map((file) => readFileSync(file)), SOURCES, ownSources(), apiVersion(include), main, compiler);
  const build = (output, files) => {
    const libraries = ['-L', lib, `-l:${main}`, `-l:${framework}`];
    return run(compiler, [...flags, '-I', node, '-I', include, ...files, '-o', output, ...libraries]).catch((error) => {
      if (error.code === 'ENOENT')
        throw new Unsuitable(`there is no C++ compiler: ${compiler} is not on PATH (Debian: apt-get install g++)`);
      throw new Unsuitable(`${compiler} failed:\n${String(error.stderr).split('\n').slice(0, 5).join('\n')}`);
    });
  };
  const cache = await cached(`addons/${version}-${process.arch}-${key}`, async (partial) => {
    say('compiling');
    const all = [build(join(partial, 'tfjs_binding.node'), sources)];
    if (existsSync(join(include, 'tensorflow/core/framework/op_kernel.h')))
      for (const [name, files] of Object.entries(own))
        all.push(
          build(
            join(partial, `${name}.node`),
            files.filter((file) => file.endsWith('.cc')),
          ),
        );
    else say('these headers are those of the C API alone: allocatorStats() and the ops of our own will not be available');
    await Promise.all(all);
    writeFileSync(join(partial, SOURCES), ownSources());
  });
  return Object.fromEntries(readdirSync(cache).map((name) => [name, join(cache, name)]));
}

/** Says which TensorFlow the headers belong to. */
function apiVersion(include) {
  const header = ['tensorflow/core/public/release_version.h', 'tensorflow/core/public/version.h', 'tensorflow/c/c_api.h']
    .map((name) => join(include, name))
    .find((file) => existsSync(file));
  return readFileSync(header);
}

function nodeHeaders() {
  const { npm_config_nodedir: given } = process.env;
  const folders = [
    ...(given ? [join(given, 'include/node')] : []),
    join(dirname(process.execPath), '../include/node'),
    join(homedir(), `.cache/node-gyp/${process.versions.node}/include/node`),
  ];
  const found = folders.find((folder) => existsSync(join(folder, 'node_api.h')));
  if (!found)
    throw new Unsuitable(
      `node_api.h is in none of ${folders.join(', ')}; install Node's headers (Debian: libnode-dev), or run: npx node-gyp install`,
    );
  return found;
}
