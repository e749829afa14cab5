/** What runs in the process of a probe: brings one backend up as the project would, computes on it, and reads its facts. */
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { adapterFacts } from './adapter-facts.ts';
import type { BackendName, Choice, Facts, Fails, Finding } from './report.ts';

/** What it uses of tfjs-core, from the project's own copy. */
interface Tf {
  matMul(a: object, b: object): { data(): Promise<ArrayLike<number>> };
  tensor2d(values: number[][]): object;
  backend(): object;
  env(): { getAsync(flag: string): Promise<unknown> };
}

interface Backends {
  useBackend(name: string): Promise<Choice>;
}

/** Probes a backend, or with 'auto' asks which one is picked. */
export async function probe(name: BackendName | 'auto'): Promise<Finding | Choice> {
  try {
    const { useBackend } = await load<Backends>('@leantune/backends');
    const choice = await useBackend(name);
    if (name === 'auto') return choice;
    const tf = await load<Tf>('@tensorflow/tfjs-core');
    const product = Array.from(await tf.matMul(tf.tensor2d([[1, 2]]), tf.tensor2d([[3], [4]])).data());
    if (product.length !== 1 || product[0] !== 11)
      return {
        works: false,
        why: `it computes [1, 2] · [3, 4] = ${product}; expected 11`,
        fix: 'Update the driver, or take another backend',
      };
    return { works: true, facts: await facts(name, tf) };
  } catch (error) {
    return fault(error as Error & { fix?: string });
  }
}

/** Imports a package as a program in the current folder would. */
async function load<Module>(name: string): Promise<Module> {
  const require = createRequire(join(process.cwd(), 'program.mjs'));
  try {
    return await import(pathToFileURL(require.resolve(name)).href);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'MODULE_NOT_FOUND') throw error;
    const missing = new Error(`${name} is not installed in ${process.cwd()} or above`, { cause: error });
    throw Object.assign(missing, { fix: 'Run: npm install @leantune/core @leantune/backends @tensorflow/tfjs' });
  }
}

function fault({ message, fix = '' }: Error & { fix?: string }): Fails {
  const text = message.replace(/^\[[^\]]+\] /, '').replace(fix && `. ${fix}`, '');
  return { works: false, why: text, fix };
}

async function facts(name: BackendName, tf: Tf): Promise<Facts> {
  if (name === 'webgpu') return adapterFacts(tf.backend());
  if (name === 'tensorflow') {
    const { binding, isUsingGpuDevice, isGPUPackage } = tf.backend() as Record<string, any>;
    return {
      library: `TensorFlow ${binding?.TF_Version ?? 'of unknown version'}`,
      gpuPackage: isGPUPackage === true,
      gpu: isUsingGpuDevice === true,
    };
  }
  if (name === 'wasm')
    return {
      simd: (await tf.env().getAsync('WASM_HAS_SIMD_SUPPORT')) === true,
      threads: (await tf.env().getAsync('WASM_HAS_MULTITHREAD_SUPPORT')) === true,
      heapLimit: 65_535 * 65_536,
    };
  return {};
}
