/**
 * Frozen tables in few bits: their words are read where a product brings them into registers or workgroup memory, so the numbers that
 * they stand for never lie in memory. What each kernel computes: `../tables.ts`.
 */
import * as tf from '@tensorflow/tfjs-core';
import type { TableRow } from '../../tables.ts';
import { input, type Kernels, run, viewAs, type WebGPUBackend, type WebGPUKernel, withTemporaries } from '../backend.ts';
import { dispatch } from '../recording/dispatch.ts';
import { entry, groupsFor } from '../recording/entry.ts';
import { type MatMulOptions, matMul } from './mat-mul.ts';
import { keyOf, readFours } from './packed-row.ts';

const isEmpty = (x: tf.TensorInfo | undefined): boolean => !x || tf.util.sizeFromShape(x.shape) === 0;

/** x Wᵀ, or x W. */
function product(backend: WebGPUBackend, x: tf.TensorInfo, words: tf.TensorInfo, row: TableRow, { transposeB }: MatMulOptions) {
  const table = viewAs(words, [words.shape[0]!, row.columns]);
  return matMul(backend, x, table, { ...(transposeB && { transposeB }), row });
}

/** Adds columns [n, k] to those of y that `numbers` [k] name, in place. */
function addColumns(backend: WebGPUBackend, y: tf.TensorInfo, numbers: tf.TensorInfo, columns: tf.TensorInfo): void {
  const [n, k] = columns.shape as [number, number];
  dispatch(backend, {
    key: 'PackedMatMul finer',
    inputs: { numbers: [numbers, 'i32'], columns: [columns, 'f32'] },
    outputs: { y: [y, 'f32'] },
    uniforms: { threads: ['u32', n * k], k: ['u32', k], width: ['u32', y.shape[1]!] },
    workgroups: groupsFor(n * k),
    code: () => `${entry}\n  y[i / u.k * u.width + u32(numbers[i % u.k])] += columns[i];\n}`,
  });
}

const packedMatMul: WebGPUKernel = (inputs, { layout, finerLayout }, backend) => {
  const [x, packed] = [input(inputs, 'x'), input(inputs, 'packed')];
  const y = product(backend, x, packed, layout, { transposeB: true });
  const { finerRows, finer } = inputs;
  if (!isEmpty(finer) && !isEmpty(y))
    withTemporaries(backend, (temporary) =>
      addColumns(backend, y, finerRows!, temporary(product(backend, x, finer!, finerLayout, { transposeB: true }))),
    );
  return [y];
};

const packedMatMulGrad: WebGPUKernel = (inputs, { layout, finerLayout }, backend) => {
  const [dy, packed, { finerRows, finer }] = [input(inputs, 'dy'), input(inputs, 'packed'), inputs];
  const dx = product(backend, dy, packed, layout, {});
  if (isEmpty(finer)) return [dx];
  return withTemporaries(backend, (temporary) => {
    const some = temporary(run(backend, tf.GatherV2, { x: dy, indices: finerRows! }, { axis: 1, batchDims: 0 })); // [n, k]
    const more = temporary(product(backend, some, finer!, finerLayout, {}));
    return [run(backend, tf.Add, { a: temporary(dx), b: more })];
  });
};

const unpackTable: WebGPUKernel = (inputs, { layout, finerLayout, from, size }, backend) => {
  const { ids, finerRows, finer } = inputs;
  const fine = !isEmpty(finer);
  const fours = layout.columns / 4;
  const threads = size * fours;
  // The last of `finerRows` that is not above the row's number.
  const search = `
  var low = 0u; var high = u.finer;
  while (low < high) {
    let middle = (low + high) / 2;
    if (finerRows[middle] <= i32(row)) { low = middle + 1; } else { high = middle; }
  }
  if (low > 0 && finerRows[max(low, 1) - 1] == i32(row)) { value += four_finer((low - 1) * ${fours} + c); }`;
  return dispatch(backend, {
    key: ['UnpackTable', keyOf(layout), fine && `finer ${keyOf(finerLayout)}`, ids && 'ids'].join(' '),
    inputs: {
      packed: [input(inputs, 'packed'), 'u32'],
      ...(ids && { ids: [ids, 'i32'] as const }),
      ...(fine && { finerRows: [finerRows!, 'i32'] as const, finer: [finer!, 'u32'] as const }),
    },
    outputs: { y: [{ shape: [size, layout.columns], dtype: 'float32' }, 'vec4f'] },
    uniforms: { threads: ['u32', threads], first: ['u32', from], finer: ['u32', finerRows?.shape[0] ?? 0] },
    workgroups: groupsFor(threads),
    code: () => `${readFours('packed', layout)}${fine ? readFours('finer', finerLayout) : ''}
${entry}
  let c = i % ${fours};
  let row = ${ids ? `u32(ids[i / ${fours}])` : `u.first + i / ${fours}`};
  var value = four_packed(row * ${fours} + c);
  ${fine ? search : ''}
  y[i] = value;
}`,
  }).y;
};

export const tables: Kernels = { UnpackTable: unpackTable, PackedMatMul: packedMatMul, PackedMatMulGrad: packedMatMulGrad };
