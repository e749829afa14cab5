/**
 * tfjs-node in float64. Every op that it asks TensorFlow for in float32 runs on float64 copies of its inputs instead, and what it is given
 * is the result rounded, beside which the whole one waits for the next op. So a model of tfjs, untouched, computes what its formulas say.
 *
 * The one op of a training step that TensorFlow has in float32 alone, batch norm with given statistics, is composed.
 */
import * as tf from '@tensorflow/tfjs-core';

const [FLOAT, DOUBLE] = [1, 2]; // tensorflow/core/framework/types.proto
interface Handle {
  readonly id: number;
  readonly shape: readonly number[];
  readonly dtype: number;
}
interface Attr {
  readonly name: string;
  readonly type: number;
  readonly value: unknown;
}
interface Binding {
  readonly TF_ATTR_TYPE: number;
  readonly TF_ATTR_BOOL: number;
  createTensor(shape: readonly number[], dtype: number, values: ArrayBufferView): number;
  deleteTensor(id: number): void;
  executeOp(name: string, attrs: readonly Attr[], inputs: readonly number[], outputs: number): Handle[];
}

/** Lets the current backend, tfjs-node with its own kernels, compute in float64 from now on. */
// biome-ignore lint/complexity/noExcessiveLinesPerFunction: what wraps one binding, over the handles that it gave
export function computeInFloat64(): void {
  const backend = tf.backend() as unknown as { binding: Binding };
  const { binding } = backend;
  const floats = new Set<number>();
  /** By the handle that tfjs-node knows. */
  const wholes = new Map<number, number>();
  const type = (name: string, value: number): Attr => ({ name, type: binding.TF_ATTR_TYPE, value });
  const cast = (id: number, from: number, to: number): Handle => {
    const attrs = [type('SrcT', from), type('DstT', to), { name: 'Truncate', type: binding.TF_ATTR_BOOL, value: false }];
    return binding.executeOp('Cast', attrs, [id], 1)[0]!;
  };
  const wholeOf = (id: number): number => {
    if (!floats.has(id)) return id;
    if (!wholes.has(id)) wholes.set(id, cast(id, FLOAT, DOUBLE).id);
    return wholes.get(id)!;
  };
  const rounded = (whole: Handle): Handle => {
    if (whole.dtype !== DOUBLE) return whole;
    const float = cast(whole.id, DOUBLE, FLOAT);
    floats.add(float.id);
    wholes.set(float.id, whole.id);
    return float;
  };
  const createTensor: Binding['createTensor'] = (shape, dtype, values) => {
    const id = binding.createTensor(shape, dtype, values);
    if (dtype === FLOAT) floats.add(id);
    return id;
  };
  const deleteTensor: Binding['deleteTensor'] = (id) => {
    if (wholes.has(id)) binding.deleteTensor(wholes.get(id)!);
    wholes.delete(id);
    floats.delete(id);
    binding.deleteTensor(id);
  };
  const executeOp: Binding['executeOp'] = (name, attrs, inputs, outputs) => {
    if (name === 'FusedBatchNorm') return batchNorm(attrs, inputs);
    const inDouble = attrs.map((attr) => (attr.type === binding.TF_ATTR_TYPE && attr.value === FLOAT ? { ...attr, value: DOUBLE } : attr));
    return binding.executeOp(name, inDouble, inputs.map(wholeOf), outputs).map(rounded);
  };
  /** (x - mean) rsqrt(variance + ε) scale + offset, and what stands for the four outputs that are not read. */
  const batchNorm = (attrs: readonly Attr[], [x, scale, offset, mean, variance]: readonly number[]): Handle[] => {
    const T = [type('T', FLOAT)];
    const made: Handle[] = [];
    const run = (op: string, ...of: number[]): number => {
      const [y] = executeOp(op, T, of, 1);
      made.push(y!);
      return y!.id;
    };
    const epsilon = createTensor([], FLOAT, Float32Array.of(attrs.find(({ name }) => name === 'epsilon')!.value as number));
    const factor = run('Mul', run('Rsqrt', run('AddV2', variance!, epsilon)), scale!);
    run('AddV2', run('Mul', run('Sub', x!, mean!), factor), offset!);
    const y = made.pop()!;
    for (const { id } of made) deleteTensor(id);
    deleteTensor(epsilon);
    return [y, ...Array.from({ length: 4 }, () => ({ id: createTensor([], FLOAT, Float32Array.of(0)), shape: [], dtype: FLOAT }))];
  };
  const wrapped = { createTensor: { value: createTensor }, deleteTensor: { value: deleteTensor }, executeOp: { value: executeOp } };
  backend.binding = Object.create(binding, wrapped) as Binding; // the addon's own properties are read-only
}
