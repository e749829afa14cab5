/**
 * Runs tfjs-core's own specs through LeanTune's tape and prints a JSON summary.
 *
 *   tsx --conditions=@leantune/source packages/testing/specs/run.ts cpu              all specs
 *   tsx --conditions=@leantune/source packages/testing/specs/run.ts wasm 'grad|deriv'
 *   … --stock      tfjs's own gradients and kernels, to compare
 */
import { parseArgs } from 'node:util';
import { type BackendName, specBackends } from './backends.ts';
import { bundleSpecs } from './bundle.ts';
import { runSpecs } from './execute.ts';

function isBackend(name: string): name is BackendName {
  return Object.hasOwn(specBackends, name);
}

const { positionals, values } = parseArgs({ allowPositionals: true, options: { stock: { type: 'boolean', default: false } } });
const [backend = 'cpu', filter = ''] = positionals;
if (!isBackend(backend))
  throw new Error(`[specs] got backend "${backend}"; expected one of ${Object.keys(specBackends).join(', ')}; give one of them first.`);
const print = console.log;
console.log = console.info = console.warn = () => {};
const summary = await runSpecs(await bundleSpecs(backend, !values.stock), backend, filter);
process.exitCode = summary.failed > 0 ? 1 : 0;
print(JSON.stringify(summary, null, 1));
