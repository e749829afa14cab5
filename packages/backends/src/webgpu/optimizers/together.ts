/**
 * Updates of many tensors in place, as many in a kernel as it may bind: a model has many small weights, and a kernel costs the host more than a
 * small weight costs the GPU. What torch calls foreach, or multi-tensor.
 */
import * as tf from '@tensorflow/tfjs-core';
import type { WebGPUBackend } from '../backend.ts';
import { dispatch, type Input, type Output, type Uniform } from '../recording/dispatch.ts';

const LANES = 64;

/** Tensors of one size, which one update changes and reads, by name, and numbers of its own. */
export interface Update {
  readonly changed: { readonly [name: string]: tf.TensorInfo };
  readonly read?: { readonly [name: string]: tf.TensorInfo };
  readonly numbers?: { readonly [name: string]: number };
}

export interface Together {
  readonly key: string;
  readonly updates: readonly Update[];
  /** Read and changed by all of them. */
  readonly inputs?: { readonly [name: string]: Input };
  readonly outputs?: { readonly [name: string]: Output };
  readonly uniforms?: { readonly [name: string]: Uniform };
  /** Elements of the largest tensor that a thread takes. @default 1, or 4 where they are read four at a time */
  readonly each?: number;
  /** WGSL before the updates, which may return. */
  readonly begin?: string;
  /** Of an element, or of four, whose bits are a `U`: a tensor or number of the update called name is `of('name')`. */
  readonly element: (of: (name: string) => string) => string;
  /** WGSL after the updates. */
  readonly end?: string;
}

export function updateTogether(backend: WebGPUBackend, together: Together): void {
  const { updates, inputs = {}, outputs = {} } = together;
  const shared = Object.keys(inputs).length + Object.keys(outputs).length;
  for (const width of [4, 1] as const) {
    // Of similar size, so that none waits long for another.
    const alike = updates.filter((update) => sizeOf(update) > 0 && widthOf(update) === width).sort((a, b) => sizeOf(b) - sizeOf(a));
    const most = Math.max(1, Math.floor((backend.device.limits.maxStorageBuffersPerShaderStage - shared) / bindingsOf(alike[0])));
    for (let at = 0; at < alike.length; at += most) run(backend, together, alike.slice(at, at + most), width);
  }
}

/** Lets nothing change where `finite`, a bool that the device may have computed, is given and false. */
export const whereFinite = (finite: tf.TensorInfo | undefined): Pick<Together, 'inputs' | 'begin'> =>
  finite ? { inputs: { finite: [finite, 'i32'] }, begin: 'if (finite[0] == 0) { return; }' } : {};

const sizeOf = ({ changed }: Update): number => tf.util.sizeFromShape(Object.values(changed)[0]!.shape);
const widthOf = (update: Update): 1 | 4 => (sizeOf(update) % 4 === 0 ? 4 : 1);
const bindingsOf = ({ changed = {}, read = {} }: Partial<Update> = {}): number =>
  Object.keys(changed).length + Object.keys(read).length || 1;

function run(backend: WebGPUBackend, together: Together, updates: readonly Update[], width: 1 | 4): void {
  const { key, inputs, outputs, uniforms, begin = '', element, end = '', each = width } = together;
  const type = width === 4 ? 'vec4f' : 'f32';
  const numbered = <T, R>(of: (update: Update) => { readonly [name: string]: T } | undefined, make: (x: T) => R): { [name: string]: R } =>
    Object.fromEntries(updates.flatMap((update, k) => Object.entries(of(update) ?? {}).map(([name, x]) => [`${name}${k}`, make(x)])));
  const names = new Set(Object.keys(updates[0]!.numbers ?? {}));
  const one = (k: number): string =>
    `for (var i = thread; i < u.size${k}; i += threads) { ${element((name) => (names.has(name) ? `u.${name}${k}` : `${name}${k}[i]`))} }`;
  dispatch<string>(backend, {
    key: `${key} ${updates.length}`,
    inputs: {
      ...numbered(
        ({ read }) => read,
        (x): Input => [x, type],
      ),
      ...inputs,
    },
    outputs: {
      ...numbered(
        ({ changed }) => changed,
        (x): Output => [x, type],
      ),
      ...outputs,
    },
    uniforms: {
      ...uniforms,
      ...numbered(
        ({ numbers }) => numbers,
        (value): Uniform => ['f32', value],
      ),
      ...numbered(
        (update) => ({ size: sizeOf(update) / width }),
        (value): Uniform => ['u32', value],
      ),
    },
    workgroups: Math.ceil(sizeOf(updates[0]!) / Math.max(each, width) / LANES),
    code: () => `
alias U = ${width === 4 ? 'vec4u' : 'u32'};
@compute @workgroup_size(${LANES})
fn main(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) local: u32) {
  let thread = flat(group, groups) * ${LANES} + local;
  let threads = groups.x * groups.y * groups.z * ${LANES};
  ${begin}
  ${updates.map((_, k) => one(k)).join('\n  ')}
  ${end}
}`,
  });
}
