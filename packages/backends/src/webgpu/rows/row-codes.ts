/**
 * Codes of rows between their bounds, and the gradients that read them, one pass each. On a GPU a work group takes a row; on adapters
 * that run on the processor a thread does. What each kernel computes: `../codes.ts`.
 */
import * as tf from '@tensorflow/tfjs-core';
import { rowWords, stepWords } from '../../codes.ts';
import { input, type Kernels, type WebGPUBackend } from '../backend.ts';
import { prefersTiles } from '../products/plan.ts';
import { dispatch, type Input, type Output } from '../recording/dispatch.ts';
import { entry, groupsFor } from '../recording/entry.ts';

const LANES = 64;
/** Threads of a group that take a row each. */
const FEW = 8;
const size = (x: tf.TensorInfo): number => tf.util.sizeFromShape(x.shape);

/** WGSL of the k-th value of a row whose words begin at `at`. */
const decode = (bits: number): string => `
fn value(at: u32, k: u32) -> f32 {
  let header = codes[at];
  let code = (codes[at + 1 + k / ${32 / bits}] >> ((k % ${32 / bits}) * ${bits})) & ${2 ** bits - 1}u;
  return bitcast<f32>(header & 0xffff0000u) + f32(code) * bitcast<f32>(header << 16u);
}`;

interface RowPass {
  readonly key: string;
  readonly inputs: { readonly [name: string]: Input };
  readonly output: Output;
  readonly n: number;
  readonly group: number;
  readonly bits: number;
  readonly seed?: number;
  readonly functions: string;
  /** WGSL of the pair that is reduced over k, at `start + k` of dense tensors and word `at` of packed ones. */
  readonly term: string;
  readonly reduce: (a: string, b: string) => string;
  /** WGSL of the pair to start from. */
  readonly initial: string;
  /** WGSL for the row, once, with its `total`; then for each k below `steps`. */
  readonly once: string;
  readonly steps: string;
  readonly each: string;
}

function overRows(backend: WebGPUBackend, pass: RowPass): tf.TensorInfo {
  const { n, group, bits, reduce } = pass;
  const together = prefersTiles(backend);
  const rows = Math.ceil(n / group);
  const lanes = together ? LANES : FEW;
  const gathered = `
  parts[local] = total;
  workgroupBarrier();
  for (var half = ${LANES / 2}u; half > 0; half /= 2) {
    if (local < half) { parts[local] = ${reduce('parts[local]', 'parts[local + half]')}; }
    workgroupBarrier();
  }
  total = parts[0];`;
  return dispatch(backend, {
    key: `${pass.key} ${bits}${together ? ' together' : ''}`,
    inputs: pass.inputs,
    outputs: { result: pass.output },
    uniforms: {
      rows: ['u32', rows],
      size: ['u32', n],
      group: ['u32', group],
      words: ['u32', stepWords(group, bits)],
      seed: ['u32', pass.seed ?? 0],
    },
    workgroups: together ? rows : Math.ceil(rows / FEW),
    code: () => `${pass.functions}
${together ? `var<workgroup> parts: array<vec2f, ${LANES}>;` : ''}
@compute @workgroup_size(${lanes})
fn main(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) local: u32) {
  let row = ${together ? 'flat(group, groups)' : `flat(group, groups) * ${FEW} + local`};
  if (row >= u.rows) { return; }
  let lane = ${together ? 'local' : '0u'};
  let start = row * u.group;
  let length = min(u.group, u.size - start);
  let at = row * (1 + u.words);
  var total = ${pass.initial};
  for (var k = lane; k < length; k += ${together ? LANES : 1}) { total = ${reduce('total', pass.term)}; }
  ${together ? gathered : ''}
  ${pass.once}
  for (var k = lane; k < ${pass.steps}; k += ${together ? LANES : 1}) { ${pass.each} }
}`,
  }).result;
}

const sum = { reduce: (a: string, b: string): string => `(${a} + ${b})`, initial: 'vec2f()' };

/** In [0, 1), from the place of a value and a seed: Jarzynski and Olano 2020, "Hash functions for GPU rendering" (pcg). */
const chance = `
fn chance(place: u32) -> f32 {
  let state = (place ^ u.seed) * 747796405u + 2891336453u;
  let word = ((state >> ((state >> 28u) + 4u)) ^ state) * 277803737u;
  return f32(((word >> 22u) ^ word) >> 8u) * ${2 ** -24};
}`;

export const rowCodes: Kernels = {
  QuantizeRows: (inputs, { bits, group, seed }, backend) => {
    const x = input(inputs, 'x');
    const per = 32 / bits;
    return overRows(backend, {
      key: `QuantizeRows ${seed !== 0}`,
      inputs: { x: [x, 'f32'] },
      output: [{ shape: [rowWords(size(x), group, bits)], dtype: 'int32' }, 'u32'],
      ...{ n: size(x), group, bits, seed, functions: chance },
      term: 'vec2f(-x[start + k], x[start + k])', // the largest of both: -least, most
      reduce: (a, b) => `max(${a}, ${b})`,
      initial: 'vec2f(-x[start], x[start])',
      // Low is rounded down and step up, so that the codes reach from the least to the most.
      once: `
  let least = bitcast<u32>(-total.x);
  let lowBits = (least + select(0u, 0xffffu, (least >> 31u) == 1u)) & 0xffff0000u;
  let low = bitcast<f32>(lowBits);
  let stepBits = (bitcast<u32>((total.y - low) / ${2 ** bits - 1}.0) + 0xffffu) & 0xffff0000u;
  let inverse = select(0.0, 1.0 / bitcast<f32>(stepBits), stepBits != 0u);
  if (lane == 0u) { result[at] = lowBits | (stepBits >> 16u); }`,
      steps: `(length * ${bits} + 31u) / 32u`,
      each: `
    var word = 0u;
    for (var j = k * ${per}; j < min(length, (k + 1u) * ${per}); j++) {
      let v = (x[start + j] - low) * inverse + ${seed === 0 ? '0.5' : 'chance(start + j)'};
      word |= u32(clamp(v, 0.0, ${2 ** bits - 1}.0)) << ((j % ${per}) * ${bits});
    }
    result[at + 1u + k] = word;`,
    });
  },

  DequantizeRows: (inputs, { bits, group, shape }, backend) => {
    const n = tf.util.sizeFromShape(shape);
    return dispatch(backend, {
      key: `DequantizeRows ${bits}`,
      inputs: { codes: [input(inputs, 'codes'), 'u32'] },
      outputs: { y: [{ shape, dtype: 'float32' }, 'f32'] },
      uniforms: { threads: ['u32', n], group: ['u32', group], words: ['u32', stepWords(group, bits)] },
      workgroups: groupsFor(n),
      code: () => `${decode(bits)}\n${entry}\n  y[i] = value(i / u.group * (1 + u.words), i % u.group);\n}`,
    }).y;
  },

  SoftmaxGradRows: (inputs, { bits, group }, backend) => {
    const dy = input(inputs, 'dy');
    return overRows(backend, {
      key: 'SoftmaxGradRows',
      inputs: { codes: [input(inputs, 'codes'), 'u32'], dy: [dy, 'f32'] },
      output: [{ shape: dy.shape, dtype: 'float32' }, 'f32'],
      ...{ n: size(dy), group, bits, functions: decode(bits), ...sum },
      term: 'value(at, k) * vec2f(1, dy[start + k])',
      once: 'let mean = select(total.y / total.x, total.y, total.x == 0.0);',
      steps: 'length',
      each: 'result[start + k] = value(at, k) * (dy[start + k] - mean);',
    });
  },

  NormGradRows: (inputs, { bits, group }, backend) => {
    const [dy, { mean, scale }] = [input(inputs, 'dy'), inputs];
    const optional = Object.entries({ mean, scale }).flatMap(([name, x]) => (x ? [[name, [x, 'f32'] as Input] as const] : []));
    return overRows(backend, {
      key: `NormGradRows ${mean !== undefined} ${scale !== undefined}`,
      inputs: {
        codes: [input(inputs, 'codes'), 'u32'],
        dy: [dy, 'f32'],
        rstd: [input(inputs, 'rstd'), 'f32'],
        ...Object.fromEntries(optional),
      },
      output: [{ shape: dy.shape, dtype: 'float32' }, 'f32'],
      ...{ n: size(dy), group, bits, ...sum },
      functions: `${decode(bits)}
fn g(start: u32, k: u32) -> f32 { return dy[start + k]${scale ? ' * scale[k]' : ''}; }
fn z(row: u32, at: u32, k: u32) -> f32 { return (value(at, k)${mean ? ' - mean[row]' : ''}) * rstd[row]; }`,
      term: 'g(start, k) * vec2f(1, z(row, at, k))',
      once: `let means = total / f32(u.group) * vec2f(${mean ? 1 : 0}, 1);`,
      steps: 'length',
      each: 'result[start + k] = rstd[row] * (g(start, k) - means.x - z(row, at, k) * means.y);',
    });
  },
};
