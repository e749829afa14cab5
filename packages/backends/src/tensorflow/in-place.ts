/**
 * Variables changed where they lie: they become resource variables of TensorFlow while an op of its optimizers runs, which writes where
 * they stand if nothing else sees the buffer, and into a copy if something does, so clones keep their values.
 */
import * as tf from '@tensorflow/tfjs-core';
import { DType, type Handle, type TensorflowBackend } from './binding.ts';
import { type Attr, bool, type Operand, type Ops, shape, text, type, withOps } from './raw.ts';

const T = type(DType.float);
const dtype: { readonly dtype: Attr } = { dtype: T };

/** A variable and, where that is another, the value it is to start from. */
type Start = readonly [variable: tf.Variable, start?: Handle | undefined];

/**
 * Lets `update` write to resource variables that start as `starts` say and alone hold their buffers meanwhile. Then the variables have
 * what it wrote; if it fails, what they had.
 */
export function inPlace(
  backend: TensorflowBackend,
  ops: Ops,
  starts: readonly Start[],
  update: (resources: readonly Handle[]) => void,
): void {
  const { binding, tensorMap } = backend;
  const resources = starts.map(([x, start], i) => assign(ops, `leantune/${i}`, start ?? x, x.shape));
  const read = (i: number): number => ops.release(ops.run('ReadVariableOp', dtype, [resources[i]!])).id;
  const entries = starts.map(([{ dataId }]) => tensorMap.get(dataId));
  for (const [i, [, start]] of starts.entries()) {
    if (start) ops.free(start);
    else binding.deleteTensor(entries[i]!.id);
  }
  let done = false;
  try {
    update(resources);
    done = true;
  } finally {
    for (const [i, [, start]] of starts.entries()) {
      if (start && done) binding.deleteTensor(entries[i]!.id);
      if (!start || done) Object.assign(entries[i]!, { id: read(i), shape: starts[i]![0].shape });
      ops.runMany('DestroyResourceOp', { ignore_lookup_error: bool(true) }, [resources[i]!], 0);
    }
  }
}

/**
 * A resource variable that shares the buffer of `value`. The name is free again once the resource is destroyed: TensorFlow keeps a kernel
 * for good for each combination of attributes, so names that are always new would take memory with every step.
 */
function assign(ops: Ops, name: string, value: Operand, dimensions: readonly number[]): Handle {
  const attrs = { container: text(''), shared_name: text(name), shape: shape(dimensions), ...dtype };
  const resource = ops.run('VarHandleOp', attrs, []);
  ops.runMany('AssignVariableOp', dtype, [resource, value], 0);
  return resource;
}

/** Takes a variable off data that clones share with it. The buffer itself stays shared until TensorFlow writes to it. */
export function unshare(backend: TensorflowBackend, x: tf.Variable): void {
  if (backend.refCount(x.dataId) === 1) return;
  const alias = withOps(backend, (ops) => ops.leave(ops.run('Identity', { T }, [x]), 'float32'));
  const own = tf.engine().makeTensorFromTensorInfo(alias);
  x.assign(own);
  own.dispose();
}
