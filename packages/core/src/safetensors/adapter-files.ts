/**
 * An adapter as two files that other programs read: its tensors as safetensors, and all else as JSON beside.
 *
 *   adapter_model.safetensors   every tensor under its name, those of an optimizer too
 *   adapter_config.json         what any adapter file says of itself (techniques, options, base, checksum), and the order of the tensors
 *
 * Both are named as peft names its two, whose own layout `exportPeft` of `@leantune/lora` writes.
 */
import type * as tf from '@tensorflow/tfjs-core';
import { FinetuneError } from '../errors.ts';
import { readSafetensors, type StoredTensor } from './read.ts';
import { type TensorValues, writeSafetensors } from './write.ts';

/** What the two files hold. */
export interface AdapterFiles {
  /** adapter_config.json */
  readonly config: string;
  /** adapter_model.safetensors */
  readonly weights: Uint8Array;
}

/** Takes part in `save`, `load` and `restore` as any handler of tfjs; the files are in memory. */
export interface SafetensorsHandler extends tf.io.IOHandler {
  /** Those that were saved last, or given. @throws FinetuneError `bad-file` where there are none */
  readonly files: AdapterFiles;
}

type Spec = tf.io.WeightsManifestEntry;

/** What adapters are made of. */
const arrays: { readonly [dtype: string]: typeof Float32Array | typeof Int32Array } = { float32: Float32Array, int32: Int32Array };
const stored: { readonly [dtype: string]: string } = { float32: 'F32', int32: 'I32' };

const bad = (problem: string, advice = 'Take both files from one save.', cause?: unknown): FinetuneError =>
  new FinetuneError('bad-file', 'safetensorsFiles', `${problem}. ${advice}`, { cause });

/**
 * @param files to load from
 *
 * @example
 * const to = safetensorsFiles();
 * await tuned.save(to);
 * await writeFile('adapter_config.json', to.files.config);
 * await writeFile('adapter_model.safetensors', to.files.weights);
 * // and elsewhere
 * const again = await restore(model, safetensorsFiles({ config, weights }), { lamda });
 */
export function safetensorsFiles(files?: AdapterFiles): SafetensorsHandler {
  let held = files;
  const there = (): AdapterFiles => {
    if (held) return held;
    throw bad('there are no files', 'Save to this handler first, or hand it { config, weights }.');
  };
  return {
    get files() {
      return there();
    },
    async save(artifacts) {
      held = filesOf(artifacts);
      return { modelArtifactsInfo: { dateSaved: new Date(), modelTopologyType: 'JSON', weightDataBytes: held.weights.byteLength } };
    },
    load: async () => artifactsOf(there()),
  };
}

function filesOf({ weightSpecs = [], weightData, modelTopology: _, ...rest }: tf.io.ModelArtifacts): AdapterFiles {
  const others = weightSpecs
    .filter(({ dtype, quantization }) => !(dtype in arrays) || quantization)
    .map(({ name, dtype }) => `"${name}" ${dtype}`);
  if (others.length > 0) throw bad(`got ${others.join(', ')}; expected float32 and int32`, 'Save to another handler.');
  const data = joined([weightData ?? []].flat());
  let at = 0;
  const tensors = weightSpecs.map(({ name, shape, dtype }): [string, TensorValues] => {
    const values = new arrays[dtype]!(data, at, sizeOf(shape));
    at += values.byteLength;
    return [name, { shape, values }];
  });
  return {
    config: `${JSON.stringify({ ...rest, weights: weightSpecs }, null, 2)}\n`,
    weights: writeSafetensors(Object.fromEntries(tensors), { metadata: { format: 'pt' } }),
  };
}

async function artifactsOf({ config, weights }: AdapterFiles): Promise<tf.io.ModelArtifacts> {
  const { weights: specs, ...rest } = parsed(config);
  const tensors = new Map<string, StoredTensor>();
  const options = { file: 'adapter_model.safetensors', fileBytes: weights.byteLength };
  for await (const tensor of readSafetensors([weights], options)) tensors.set(tensor.name, tensor);
  const parts = specs.map(({ name, shape, dtype }) => {
    const found = tensors.get(name);
    tensors.delete(name);
    return { expected: `"${name}" ${stored[dtype] ?? dtype} [${shape}]`, got: found && `${found.dtype} [${found.shape}]`, found };
  });
  const faults = [
    ...parts.flatMap(({ expected, got }) => (got && expected.endsWith(` ${got}`) ? [] : [`${expected} is ${got ?? 'missing'}`])),
    ...[...tensors.values()].map(({ name, dtype, shape }) => `"${name}" ${dtype} [${shape}] is unknown to adapter_config.json`),
  ];
  if (faults.length > 0) throw bad(`adapter_model.safetensors does not fit: ${faults.join('; ')}`);
  return { ...rest, modelTopology: {}, weightSpecs: [...specs], weightData: joined(parts.map(({ found }) => found!.bytes)) };
}

/** It comes from somebody else. */
function parsed(config: string): { readonly weights: readonly Spec[] } {
  try {
    const { weights, ...rest } = JSON.parse(config);
    const holds = Array.isArray(weights) && weights.every((spec) => typeof spec?.name === 'string' && Array.isArray(spec.shape));
    if (holds) return { ...rest, weights };
  } catch (cause) {
    throw bad(`adapter_config.json is not JSON (${(cause as Error).message})`, undefined, cause);
  }
  throw bad('adapter_config.json has no list of weights', 'If peft wrote it, importPeft of @leantune/lora reads it.');
}

const sizeOf = (shape: readonly number[]): number => shape.reduce((product, dim) => product * dim, 1);

function joined(parts: readonly (ArrayBuffer | Uint8Array)[]): ArrayBuffer {
  const bytes = parts.map((part) => (part instanceof Uint8Array ? part : new Uint8Array(part)));
  const whole = new Uint8Array(bytes.reduce((sum, { length }) => sum + length, 0));
  let at = 0;
  for (const part of bytes) {
    whole.set(part, at);
    at += part.length;
  }
  return whole.buffer;
}
