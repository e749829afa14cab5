/** A program's WGSL and its compiled pipeline, one for each key and set of declarations. */
import { BackendError } from '../../errors.ts';
import type { WebGPUBackend } from '../backend.ts';
import type { GpuDevice, GpuPipeline, GpuShaderMessage } from '../device/gpu.ts';
import { fail } from '../device/health.ts';
import type { Output, Program } from './dispatch.ts';

/** A pipeline and the layout of its bindings; `isNew`: whether it compiles is not known yet. */
export interface Compiled {
  readonly pipeline: GpuPipeline;
  readonly layout: object;
  readonly isNew: boolean;
}

interface Layout {
  readonly layout: object;
  readonly pipelineLayout: object;
}

interface Cache {
  readonly pipelines: Map<string, Compiled>;
  /** By what is bound: pipelines that bind alike share bind groups. */
  readonly layouts: Map<string, Layout>;
}
const caches = new WeakMap<GpuDevice, Cache>();

export function pipelineOf(backend: WebGPUBackend, program: Program<string>): Compiled {
  const { device } = backend;
  const cache = caches.get(device) ?? { pipelines: new Map(), layouts: new Map() };
  caches.set(device, cache);
  const key = keyOf(program);
  const known = cache.pipelines.get(key);
  if (known) return known;
  assertEnabled(backend, program);
  const { layout, pipelineLayout } = layoutOf(device, cache, program);
  const { pipelines } = cache;
  const code = `${declare(program)}\n${program.code()}`;
  const pipeline = compile(backend, program.key, code, pipelineLayout, () => pipelines.delete(key));
  pipelines.set(key, { pipeline, layout, isNew: false });
  return { pipeline, layout, isNew: true };
}

/** All that `declare` writes. */
function keyOf({ key, enable = [], inputs, outputs, uniforms }: Program<string>): string {
  let all = key;
  for (const extension of enable) all += ` ${extension}`;
  all += '\n';
  for (const name in inputs) all += `${name}:${inputs[name]![1]},`;
  all += '\n';
  for (const name in outputs) all += `${name}:${outputs[name]![1]},`;
  all += '\n';
  for (const name in uniforms) all += `${name}:${uniforms[name]![0]},`;
  return all;
}

function layoutOf(device: GpuDevice, { layouts }: Cache, { inputs, outputs, uniforms }: Program<string>): Layout {
  const [reads, writes] = [Object.keys(inputs).length, Object.keys(outputs).length];
  const key = `${reads} ${writes} ${uniforms !== undefined}`;
  const known = layouts.get(key);
  if (known) return known;
  const buffers = [
    ...Array.from({ length: reads }, () => ({ type: 'read-only-storage' })),
    ...Array.from({ length: writes }, () => ({ type: 'storage' })),
    ...(uniforms ? [{ type: 'uniform', hasDynamicOffset: true }] : []),
  ];
  const layout = device.createBindGroupLayout({ entries: buffers.map((buffer, binding) => ({ binding, visibility: COMPUTE, buffer })) });
  const made = { layout, pipelineLayout: device.createPipelineLayout({ bindGroupLayouts: [layout] }) };
  layouts.set(key, made);
  return made;
}

/** GPUShaderStage.COMPUTE */
const COMPUTE = 4;

function declare({ enable = [], inputs, outputs, uniforms }: Program<string>): string {
  const lines = enable.map((extension) => `enable ${extension};`);
  let binding = 0;
  for (const [name, [, element]] of Object.entries(inputs))
    lines.push(`@group(0) @binding(${binding++}) var<storage, read> ${name}: array<${element}>;`);
  for (const [name, [, element]] of Object.entries<Output>(outputs))
    lines.push(`@group(0) @binding(${binding++}) var<storage, read_write> ${name}: array<${element}>;`);
  if (uniforms) {
    const fields = Object.entries(uniforms).map(([name, [type]]) => `${name}: ${type}`);
    lines.push(`struct Uniforms { ${fields.join(', ')} }`, `@group(0) @binding(${binding}) var<uniform> u: Uniforms;`);
  }
  lines.push('fn flat(group: vec3u, groups: vec3u) -> u32 { return group.x + groups.x * (group.y + groups.y * group.z); }');
  return lines.join('\n');
}

/** The feature of the device that each extension needs, where their names differ. */
const featureOf: { readonly [extension: string]: string } = {
  f16: 'shader-f16',
  chromium_experimental_subgroup_matrix: 'chromium-experimental-subgroup-matrix',
  subgroup_size_control: 'subgroup-size-control',
};

function assertEnabled({ device }: WebGPUBackend, { key, enable = [] }: Program<string>): void {
  const missing = enable.map((extension) => featureOf[extension] ?? extension).filter((feature) => !device.features.has(feature));
  if (missing.length > 0)
    throw new BackendError('not-available', key, `needs ${missing.join(', ')}, which this adapter lacks`, {
      fix: 'Look at backend.device.features first, and run another kernel where it is missing',
    });
}

/** WebGPU reports what is wrong with a shader later: the error then waits for the next kernel or read, and the pipeline is no longer used. */
function compile(backend: WebGPUBackend, label: string, code: string, layout: object, forget: () => void): GpuPipeline {
  const { device } = backend;
  device.pushErrorScope('validation');
  const module = device.createShaderModule({ label, code });
  const pipeline = device.createComputePipeline({ label, layout, compute: { module, entryPoint: 'main' } });
  void Promise.all([device.popErrorScope(), module.getCompilationInfo()]).then(
    ([error, { messages }]) => {
      if (!error) return;
      forget();
      const faults = messages.filter(({ type }) => type === 'error').map((message) => excerpt(code, message));
      fail(backend, new BackendError('kernel-failed', label, `the shader does not compile:\n${faults.join('\n') || error.message}`));
    },
    () => {}, // the device is lost, which is reported for itself
  );
  return pipeline;
}

/** The line at fault, numbered, and what is wrong with it. */
function excerpt(code: string, { message, lineNum }: GpuShaderMessage): string {
  const line = code.split('\n')[lineNum - 1];
  return line === undefined ? message : `${`${lineNum}`.padStart(5)} | ${line.trim()}\n        ${message}`;
}
