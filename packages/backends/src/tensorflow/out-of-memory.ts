/** TensorFlow's "out of memory" as an error that says what to do. An op that fails has changed nothing: weights and optimizer are intact. */
import { BackendError } from '../errors.ts';
import type { Binding, TensorflowBackend } from './binding.ts';

const guarded = new WeakSet<object>();

/** Makes every op of `backend`, tfjs-node's own too, throw a {@link BackendError} with code `'out-of-memory'`. A second call does nothing. */
export function guardMemory(backend: object): void {
  const { binding } = backend as TensorflowBackend;
  if (guarded.has(binding)) return;
  const executeOp: Binding['executeOp'] = (name, attrs, inputs, outputs) => {
    try {
      return binding.executeOp(name, attrs, inputs, outputs);
    } catch (error) {
      throw /Invalid TF_Status: 8\b|\bOOM\b/.test(String(error)) ? outOfMemory(name, error as Error) : error;
    }
  };
  const ours = Object.create(binding, { executeOp: { value: executeOp } }) as Binding; // the addon's own properties are read-only
  guarded.add(ours);
  Object.assign(backend, { binding: ours });
}

function outOfMemory(op: string, cause: Error): BackendError {
  const [, shape] = /shape(\[[\d,]*\])/.exec(cause.message) ?? [];
  const what = `${op} found no room${shape ? ` for a tensor of shape ${shape}` : ''}`;
  const advice =
    'Use a smaller batch, checkpoint, train fewer layers, or keep less for backward (explain() says what); dispose what is no longer read';
  return new BackendError('out-of-memory', 'tensorflow', `${what}; the step did not happen. ${advice}`, { cause });
}
