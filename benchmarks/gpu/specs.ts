/** Runs the bundle of tfjs-core's gradient specs that bundle.sh puts beside this program, and prints how many passed. */
import { fileURLToPath } from 'node:url';
import { runSpecs } from '../../packages/testing/specs/execute.ts';

const print = console.log;
console.log = console.info = console.warn = () => {};
const { failures, ...counts } = await runSpecs(
  fileURLToPath(new URL('specs.cjs', import.meta.url)),
  'webgpu',
  process.argv[2] ?? 'grad|deriv',
);
print(JSON.stringify({ ...counts, failures: failures.slice(0, 20) }, null, 1));
process.exit(0);
