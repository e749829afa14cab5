/**
 * TensorFlow's libraries and headers from wherever there are some, and tfjs-node's addon compiled against them. The addon uses the
 * stable C API alone: made for TensorFlow 2.9, it compiles and runs unchanged with 2.21. Sources, in this order: what `--tensorflow`
 * names; for --gpu the TensorFlow of the Python on PATH; a wheel from pip, which is a zip with all that is needed.
 */
import { execFileSync, spawnSync } from 'node:child_process';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { basename, dirname, join, resolve } from 'node:path';
import { place } from './addon.mjs';
import { cached, digest, say, Unsuitable } from './cache.mjs';
import { compile } from './compile.mjs';

const VERSION = '2.21.0';

export async function fromWheel(addon, { tensorflow }) {
  if (process.platform !== 'linux') throw new Unsuitable(`it is for Linux, and this is ${process.platform}`);
  const library = locate(await libraryFolder(addon, tensorflow));
  say(`libraries in ${library.folder}`);
  place(addon, library, await compile(addon, library));
  return addon.gpu ? cudaAdvice(library) : undefined;
}

async function libraryFolder({ gpu }, given) {
  if (given) return /^https?:|\.tar\.gz$/.test(given) ? archive(given) : resolve(given);
  const installed = gpu ? pythonTensorflow() : undefined;
  return installed ?? wheel(gpu ? 'tensorflow' : 'tensorflow-cpu');
}

/** An official C library: `include/` and `lib/`. */
async function archive(from) {
  const name = basename(from).replace(/\.tar\.gz$/, '');
  return cached(`${name}-${digest(from)}`, async (partial) => {
    say(`unpacking ${from}`);
    const bytes = /^https?:/.test(from) ? Buffer.from(await (await fetch(from)).arrayBuffer()) : readFileSync(from);
    execFileSync('tar', ['-xz', '-C', partial], { input: bytes });
  });
}

function pythonTensorflow() {
  const find = 'import importlib.util as u; print(u.find_spec("tensorflow").submodule_search_locations[0])';
  const { status, stdout } = spawnSync('python3', ['-c', find], { encoding: 'utf8' });
  return status === 0 ? stdout.trim() : undefined;
}

async function wheel(project) {
  const machine = { x64: 'x86_64', arm64: 'aarch64' }[process.arch];
  const name = `${project}-${VERSION}-${process.arch}`;
  const folder = await cached(name, (partial) => {
    const options = ['--no-deps', '--quiet', '--retries', '1', '--only-binary', ':all:'];
    const platform = ['--python-version', '3.11', '--platform', `manylinux_2_27_${machine}`];
    say(`pip downloads ${project} ${VERSION} (about 270 MB on x86_64)`);
    const pip = ['-m', 'pip', 'download', ...options, ...platform, `${project}==${VERSION}`, '-d', partial];
    const { status, error, stderr } = spawnSync('python3', pip, { encoding: 'utf8' });
    if (error) throw new Unsuitable('there is no python3 on PATH');
    const [file] = readdirSync(partial).filter((entry) => entry.endsWith('.whl'));
    if (status !== 0 || !file) throw new Unsuitable(`pip found no such wheel: ${stderr.trim().split('\n').at(-1)}`);
    say(`unpacking ${file}`);
    const unpack = `import sys, zipfile, os
z = zipfile.ZipFile(sys.argv[1])
wanted = ("tensorflow/include/", "tensorflow/libtensorflow_cc.so", "tensorflow/libtensorflow_framework.so")
z.extractall(sys.argv[2], [n for n in z.namelist() if n.startswith(wanted)])
os.remove(sys.argv[1])`;
    execFileSync('python3', ['-c', unpack, join(partial, file), partial]);
  });
  return join(folder, 'tensorflow');
}

/** The parts of a C library, or of a Python package, under the names the linker and the loader ask for. */
function locate(folder) {
  const lib = existsSync(join(folder, 'lib')) ? join(folder, 'lib') : folder;
  const entries = existsSync(lib) ? readdirSync(lib) : [];
  const newest = (pattern) => entries.filter((entry) => pattern.test(entry)).sort((a, b) => a.length - b.length)[0];
  const main = newest(/^libtensorflow(_cc)?\.so\.2$/);
  const framework = newest(/^libtensorflow_framework\.so\.2$/);
  const include = join(folder, 'include');
  if (!main || !framework || !existsSync(join(include, 'tensorflow/c/c_api.h')))
    throw new Unsuitable(`${folder} lacks libtensorflow(_cc).so.2, libtensorflow_framework.so.2 or include/tensorflow/c/c_api.h`);
  const at = (name) => join(lib, name);
  const libraries = {
    [main]: at(main),
    'libtensorflow.so': at(main),
    [framework]: at(framework),
    'libtensorflow_framework.so': at(framework),
  };
  return { folder, include, lib, main, framework, libraries };
}

/** Where the CUDA libraries of a Python installation are; through the links of `deps` TensorFlow no longer finds them by itself. */
function cudaAdvice({ folder }) {
  const nvidia = join(dirname(folder), 'nvidia');
  const folders = existsSync(nvidia)
    ? readdirSync(nvidia)
        .map((name) => join(nvidia, name, 'lib'))
        .filter((lib) => existsSync(lib))
    : [];
  if (folders.length > 0)
    return `Before starting node:\n  export LD_LIBRARY_PATH=${folders.join(':')}\${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}`;
  return (
    'LD_LIBRARY_PATH must hold the folders of the CUDA and cuDNN libraries that this TensorFlow was built for, unless ldconfig has them.\n' +
    'With pip: pip install "tensorflow[and-cuda]", then run this again with the same python3 on PATH.'
  );
}
