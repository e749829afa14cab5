/**
 * UnsortedSegmentSum, the gradient of gather, without atomics: rows of one segment are chained in their order, and the first of each chain
 * sums it, so the result is that of adding row by row, bit for bit. tfjs adds with atomics, in whatever order the device takes.
 */
import * as tf from '@tensorflow/tfjs-core';
import { input, type Kernels, type Stock, type WebGPUBackend, type WebGPUKernel, withTemporaries } from '../backend.ts';
import { dispatch } from '../recording/dispatch.ts';

const LANES = 64;
const entry = `@compute @workgroup_size(${LANES})
fn main(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) local: u32) {
  let i = flat(group, groups) * ${LANES} + local;
  if (i >= u.size) { return; }`;

/** links[i]: the next row of the same segment, or `rows` at the end of a chain; 2^31 is added for the first of a chain. */
const chain = `${entry}
  let id = ids[i];
  var first = 1u;
  for (var j = 0u; j < i; j++) { if (ids[j] == id) { first = 0u; break; } }
  var next = i + 1;
  while (next < u.size && ids[next] != id) { next++; }
  links[i] = next | (first << 31);
}`;

function zeros(backend: WebGPUBackend, shape: number[], dtype: tf.DataType, type: string, size: number): tf.TensorInfo {
  return dispatch(backend, {
    key: 'clear',
    inputs: {},
    outputs: { y: [{ shape, dtype }, type] },
    uniforms: { size: ['u32', size] },
    workgroups: Math.ceil(size / LANES),
    code: () => `${entry} y[i] = ${type}(); }`,
  }).y;
}

const sum = (zero: string): string => `${entry}
  let row = i / u.columns; let column = i % u.columns;
  let id = ids[row];
  var link = links[row];
  if (link >> 31 == 0 || id < 0 || u32(id) >= u.segments) { return; }
  var total = ${zero} + x[i];
  loop {
    let next = link & 0x7fffffff;
    if (next >= u.rows) { break; }
    total += x[next * u.columns + column];
    link = links[next];
  }
  y[u32(id) * u.columns + column] = total;
}`;

export const segmentSums = (stock: Stock): Kernels => {
  const segmentSum: WebGPUKernel = (inputs, attrs, backend) => {
    const [x, ids] = [input(inputs, 'x'), input(inputs, 'segmentIds')];
    const segments = attrs['numSegments'] as number;
    const outer = ids.shape.length;
    const shape = [segments, ...x.shape.slice(outer)];
    const [size, rows] = [tf.util.sizeFromShape(shape), tf.util.sizeFromShape(ids.shape)];
    if (!['float32', 'int32'].includes(x.dtype) || outer !== 1 || rows === 0 || size === 0)
      return stock(tf.UnsortedSegmentSum)(inputs, attrs, backend);
    const columns = size / segments;
    const wide = columns % 4 === 0;
    const [scalar, width] = [x.dtype === 'int32' ? 'i' : 'f', wide ? 4 : 1];
    const type = wide ? `vec4${scalar}` : `${scalar}32`;
    const groups = (threads: number): number => Math.ceil(threads / LANES);
    const y = zeros(backend, shape, x.dtype, type, size / width);
    return withTemporaries(backend, (temporary) => {
      const { links } = dispatch(backend, {
        key: 'chainSegments',
        inputs: { ids: [ids, 'i32'] },
        outputs: { links: [{ shape: [rows], dtype: 'int32' }, 'u32'] },
        uniforms: { size: ['u32', rows] },
        workgroups: groups(rows),
        code: () => chain,
      });
      dispatch(backend, {
        key: 'segmentSum',
        inputs: { x: [x, type], ids: [ids, 'i32'], links: [temporary(links), 'u32'] },
        outputs: { y: [y, type] },
        uniforms: {
          size: ['u32', (rows * columns) / width],
          rows: ['u32', rows],
          columns: ['u32', columns / width],
          segments: ['u32', segments],
        },
        workgroups: groups((rows * columns) / width),
        code: () => sum(`${type}()`),
      });
      return y;
    });
  };
  return { [tf.UnsortedSegmentSum]: segmentSum };
};
