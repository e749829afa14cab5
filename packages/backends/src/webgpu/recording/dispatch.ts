/**
 * Runs WGSL of our own inside the batch that tfjs's backend is recording, on buffers of its pool, so that ours and tfjs's kernels mix
 * freely. What tfjs's own programs cannot: several outputs, `enable f16`, subgroups, updates in place.
 *
 * Bindings are declared by name; the struct of uniforms is called `u`:
 *
 * @example
 * const { y } = dispatch(backend, {
 *   key: 'scale',
 *   inputs: { x: [x, 'f32'] },
 *   outputs: { y: [{ shape: x.shape, dtype: 'float32' }, 'f32'] },
 *   uniforms: { factor: ['f32', 2], size: ['u32', tf.util.sizeFromShape(x.shape)] },
 *   workgroups: Math.ceil(size / 64),
 *   code: () => `
 *     @compute @workgroup_size(64)
 *     fn main(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) local: u32) {
 *       let i = flat(group, groups) * 64 + local;
 *       if (i < u.size) { y[i] = x[i] * u.factor; }
 *     }`,
 * });
 */
import * as tf from '@tensorflow/tfjs-core';
import { BackendError } from '../../errors.ts';
import type { TensorData, WebGPUBackend } from '../backend.ts';
import type { GpuBuffer } from '../device/gpu.ts';
import { assertHealthy } from '../device/health.ts';
import { isFull, submit } from './batch.ts';
import { pipelineOf } from './pipeline.ts';
import { placeUniforms } from './uniforms.ts';

/** A tensor, and what an element of it is in WGSL: 'f32', 'vec4f', 'f16' (two in each word of an int32 tensor), 'u32', 'atomic<u32>', … */
export type Input = readonly [x: tf.TensorInfo, element: string];
/** A tensor to make, or one that exists, which is then updated in place, with every tensor that shares its buffer. */
export type Output = readonly [y: tf.TensorInfo | { readonly shape: readonly number[]; readonly dtype: tf.DataType }, element: string];
/** A value that a program reads beside its buffers. */
export type Uniform = readonly [type: 'f32' | 'i32' | 'u32', value: number];

/** A WGSL program as tfjs's webgpu backend compiles and caches it. */
export interface Program<Outputs extends string> {
  /** Names the kernel in errors and profiles. With the declarations, it must tell apart every `code` that differs. */
  readonly key: string;
  /** WGSL without `enable` lines and bindings, its entry point called `main`. Made only when its pipeline is. */
  readonly code: () => string;
  readonly inputs: { readonly [name: string]: Input };
  readonly outputs: { readonly [name in Outputs]: Output };
  readonly uniforms?: { readonly [name: string]: Uniform };
  /** WGSL extensions, such as 'f16' or 'subgroups'. The device must have the feature. @default [] */
  readonly enable?: readonly string[];
  /** A count along x, y, z; or one number of any size, which is spread over them: the shader numbers groups with `flat(group, groups)`,
   * and may run a few more than asked for. */
  readonly workgroups: number | readonly [x: number, y?: number, z?: number];
}

/** Records `program`. @returns the outputs by name; the caller owns those that were made */
export function dispatch<Outputs extends string>(
  backend: WebGPUBackend,
  program: Program<Outputs>,
): { readonly [name in Outputs]: tf.TensorInfo } {
  assertHealthy(backend);
  const { inputs, outputs } = program;
  const groups = spread(program, backend.device.limits.maxComputeWorkgroupsPerDimension);
  const isEmpty = assertBindable(program, backend.device.limits.maxStorageBuffersPerShaderStage);
  const results: { [name: string]: tf.TensorInfo } = {};
  const made: tf.TensorInfo[] = [];
  try {
    for (const name in outputs) {
      const [y] = outputs[name];
      const result = 'dataId' in y ? y : backend.makeTensorInfo([...y.shape], y.dtype);
      if (result !== y) made.push(result);
      results[name] = result;
    }
    if (isEmpty) {
      for (const { dataId, dtype } of Object.values(results))
        backend.tensorMap.get(dataId).values = tf.util.getTypedArrayFromDType(dtype as 'float32', 0);
      return results as { [name in Outputs]: tf.TensorInfo };
    }
    const buffers: GpuBuffer[] = [];
    for (const name in inputs) buffers.push(bufferOf(backend, inputs[name]![0]).resource!);
    for (const name in results) {
      const data = bufferOf(backend, results[name]!);
      data.values = null; // what data() has cached is old now
      buffers.push(data.resource!);
    }
    record(backend, program, buffers, groups);
    return results as { [name in Outputs]: tf.TensorInfo };
  } catch (error) {
    for (const { dataId } of made) backend.disposeData(dataId);
    throw error;
  }
}

function bufferOf(backend: WebGPUBackend, { dataId }: tf.TensorInfo): TensorData {
  backend.uploadToGPU(dataId);
  return backend.tensorMap.get(dataId);
}

type Groups = readonly [number, number, number];

function spread({ key, workgroups }: Program<string>, limit: number): Groups {
  if (typeof workgroups !== 'number') {
    const [x, y = 1, z = 1] = workgroups;
    if (Math.max(x, y, z) <= limit) return [x, y, z];
    throw new BackendError(
      'bad-option',
      key,
      `got ${[x, y, z].join(' x ')} workgroups; expected at most ${limit} along each axis. Pass one number, and use flat()`,
    );
  }
  const y = Math.ceil(workgroups / limit);
  const z = Math.ceil(y / limit);
  return [Math.ceil(workgroups / y), Math.ceil(y / z), z];
}

/** @returns whether no output has elements */
function assertBindable({ key, inputs, outputs }: Program<string>, limit: number): boolean {
  const [reads, writes] = [Object.entries(inputs), Object.values(outputs)];
  const isEmpty = writes.every(([{ shape }]) => shape.includes(0));
  if (reads.length + writes.length > limit)
    throw new BackendError(
      'bad-option',
      key,
      `binds ${reads.length + writes.length} tensors; this adapter allows ${limit}. Split the kernel`,
    );
  const twice = reads.filter(([, [x]]) => writes.some(([y]) => 'dataId' in y && y.dataId === x.dataId)).map(([name]) => name);
  if (twice.length > 0)
    throw new BackendError(
      'bad-option',
      key,
      `${twice.join(', ')}: read and updated in place by one kernel; WebGPU binds a buffer once. Read it through the output`,
    );
  const empty = isEmpty ? [] : reads.filter(([, [x]]) => x.shape.includes(0)).map(([name]) => name);
  if (empty.length > 0)
    throw new BackendError(
      'bad-option',
      key,
      `${empty.join(', ')}: without elements, which WebGPU does not bind. Make the result without a kernel`,
    );
  return isEmpty;
}

function record(backend: WebGPUBackend, program: Program<string>, buffers: readonly GpuBuffer[], groups: Groups): void {
  const { pipeline, layout, isNew } = pipelineOf(backend, program);
  if (isNew) submit(backend); // a kernel that does not compile takes its batch with it: that be its own
  const uniforms = program.uniforms && placeUniforms(backend, program.uniforms);
  const entries: object[] = buffers.map((buffer, binding) => ({ binding, resource: { buffer } }));
  if (uniforms) entries.push({ binding: entries.length, resource: { buffer: uniforms.buffer, size: uniforms.size } });
  const group = backend.device.createBindGroup({ layout, entries });
  const timers = backend.activeTimers; // tf.time: each kernel in a pass of its own
  const pass = timers ? timedPass(backend) : openPass(backend);
  pass.setPipeline(pipeline);
  pass.setBindGroup(0, group, uniforms ? [uniforms.offset] : []);
  pass.dispatchWorkgroups(...groups);
  backend.dispatchCountInPass++;
  if (!timers && !isNew && !isFull(backend)) return;
  backend.endComputePassEncoder();
  if (timers) timers.push({ name: program.key, query: backend.getQueryTime() });
  else backend.submitQueue();
}

function openPass(backend: WebGPUBackend) {
  backend.ensureCommandEncoderReady();
  backend.computePassEncoder ??= backend.commandEncoder!.beginComputePass();
  return backend.computePassEncoder;
}

function timedPass(backend: WebGPUBackend) {
  if (!backend.supportTimestampQuery) return openPass(backend);
  backend.ensureCommandEncoderReady();
  backend.endComputePassEncoder();
  backend.querySet ??= backend.device.createQuerySet({ type: 'timestamp', count: backend.querySetCount });
  const timestampWrites = { querySet: backend.querySet, beginningOfPassWriteIndex: 0, endOfPassWriteIndex: 1 };
  backend.computePassEncoder = backend.commandEncoder!.beginComputePass({ timestampWrites });
  return backend.computePassEncoder;
}
