/** Fills the weights of a model from a checkpoint, one tensor at a time: what is in memory beside the model is one tensor. */
import { FinetuneError } from '@leantune/core';
import { floatsOf, readSafetensors, readSafetensorsHeader, type StoredTensor, type TensorEntry } from '@leantune/core/safetensors';
import * as tf from '@tensorflow/tfjs-core';
import type { LayersModel, layers } from '@tensorflow/tfjs-layers';
import type { Evidence } from './layers/packed-weights.ts';
import { axes, inCheckpoint, isStored, type StoredWeight, type Weight } from './layers/stored.ts';
import { readJson, type Source, type SourceFile } from './sources/source.ts';

/** The weights of a model by their names in a checkpoint. */
export function slotsOf(model: LayersModel): ReadonlyMap<string, StoredWeight> {
  return new Map(model.layers.flatMap((layer) => storedOf(layer).map((slot) => [`${layer.name}.${slot.name}`, slot] as const)));
}

function storedOf(layer: layers.Layer): readonly StoredWeight[] {
  if (isStored(layer)) return layer.stored;
  if (layer.getClassName() !== 'Conv2D') return [];
  const [kernel, bias] = layer.weights as unknown as [Weight, Weight];
  return [
    { name: 'weight', weight: kernel, layout: 'conv' },
    { name: 'bias', weight: bias, layout: 'same' },
  ];
}

export interface FillOptions {
  readonly variant: string | undefined;
  /** What names of the base model begin with under a head; a checkpoint may have it or not. */
  readonly prefix: string;
  /** Tensors that are passed over on purpose. */
  readonly unread: RegExp;
  /** What a calibration says, by the weight's name. Others are left as they are. @default all are filled, by their values alone */
  readonly evidence?: ReadonlyMap<string, Evidence>;
  /** Weights that need not be there, or not in that shape. */
  readonly optional: (name: string) => boolean;
}

/**
 * Reads `model.safetensors`, or the shards of its index, into the model.
 *
 * @returns the names of optional weights that the checkpoint lacks
 * @throws FinetuneError `bad-file` for what cannot be read; `bad-model` with all tensors that are missing, left over, or of another
 *   shape, before any of their values is read
 */
export async function fillWeights(model: LayersModel, source: Source, options: FillOptions): Promise<readonly string[]> {
  const slots = slotsOf(model);
  const files = await filesOf(source, options.variant);
  const fit = new Fit(slots, options, source.name);
  if (files.length > 1) {
    for (const file of files) {
      const { chunks, size } = await open(source, file);
      fit.note((await readSafetensorsHeader(chunks, { file, fileBytes: size })).tensors);
    }
    fit.check();
  }
  for (const file of files) {
    const { chunks, size } = await open(source, file);
    const onHeader = ({ tensors }: { readonly tensors: readonly TensorEntry[] }) => {
      if (files.length > 1) return;
      fit.note(tensors);
      fit.check();
    };
    const wanted = ({ name }: TensorEntry) => fit.slotOf(name) !== undefined && (!options.evidence || fit.evidenceOf(name) !== undefined);
    for await (const tensor of readSafetensors(chunks, { file, fileBytes: size, wanted, onHeader }))
      assign(fit.slotOf(tensor.name)!, tensor, fit.evidenceOf(tensor.name));
  }
  return fit.missing;
}

/** How the tensors of a checkpoint and the weights of a model fit. */
class Fit {
  readonly #slots: ReadonlyMap<string, StoredWeight>;
  readonly #options: FillOptions;
  readonly #source: string;
  readonly #missing: Set<string>;
  readonly #faults: string[] = [];

  constructor(slots: ReadonlyMap<string, StoredWeight>, options: FillOptions, source: string) {
    this.#slots = slots;
    this.#options = options;
    this.#source = source;
    this.#missing = new Set(slots.keys());
  }

  get missing(): readonly string[] {
    return [...this.#missing];
  }

  /** The weight that a tensor fills. */
  slotOf(tensor: string): StoredWeight | undefined {
    const name = this.#nameOf(tensor);
    return name === undefined || this.#missing.has(name) ? undefined : this.#slots.get(name);
  }

  evidenceOf(tensor: string): Evidence | undefined {
    return this.#options.evidence?.get(this.#nameOf(tensor) ?? '');
  }

  #nameOf(tensor: string): string | undefined {
    const { prefix } = this.#options;
    return [tensor, `${prefix}${tensor}`, tensor.startsWith(prefix) ? tensor.slice(prefix.length) : tensor].find((name) =>
      this.#slots.has(name),
    );
  }

  note(tensors: readonly TensorEntry[]): void {
    const { unread, optional } = this.#options;
    for (const { name: tensor, shape, dtype } of tensors) {
      const name = this.#nameOf(tensor);
      if (name === undefined) {
        if (!unread.test(tensor)) this.#faults.push(`${tensor} belongs to no layer of this model`);
        continue;
      }
      const { weight, layout, pack } = this.#slots.get(name)!;
      const expected = pack?.shape ?? inCheckpoint[layout](weight.shape as number[]);
      const fits = tf.util.arraysEqual([...expected], [...shape]);
      if (!fits && optional(name)) continue;
      if (!fits) this.#faults.push(`${tensor} is [${shape}], expected [${expected}]`);
      if (!/^(F32|F16|BF16)$/.test(dtype)) this.#faults.push(`${tensor} is ${dtype}, expected F32, F16 or BF16`);
      this.#missing.delete(name);
    }
  }

  check(): void {
    const lacking = this.missing.filter((name) => !this.#options.optional(name)).map((name) => `${name} is missing`);
    const all = [...this.#faults, ...lacking];
    if (all.length === 0) return;
    const shown = all.slice(0, 20).join('; ') + (all.length > 20 ? `; and ${all.length - 20} more` : '');
    const advice = 'Check that config.json belongs to these weights; for a new head, give task and labels.';
    throw new FinetuneError('bad-model', 'transformers', `${this.#source}: ${all.length} tensor(s) do not fit: ${shown}. ${advice}`);
  }
}

async function filesOf(source: Source, variant: string | undefined): Promise<readonly string[]> {
  const infix = variant === undefined ? '' : `.${variant}`;
  const index = await readJson(source, `model.safetensors.index${infix}.json`);
  if (!index) return [`model${infix}.safetensors`];
  const map = index['weight_map'];
  const files = typeof map === 'object' && map !== null ? [...new Set(Object.values(map))] : [];
  // A name with a path in it would leave the checkpoint.
  if (files.length > 0 && files.every((file) => typeof file === 'string' && /^[\w.-]+$/.test(file))) return files as string[];
  throw new FinetuneError(
    'bad-file',
    'transformers',
    `${source.name}: model.safetensors.index.json has no weight_map of file names. Fetch it again.`,
  );
}

async function open(source: Source, file: string): Promise<SourceFile> {
  const found = await source.open(file);
  if (found) return found;
  const advice = 'Save the checkpoint with save_pretrained(…), which writes safetensors.';
  throw new FinetuneError('bad-file', 'transformers', `${source.name}: has no ${file}; expected the weights there. ${advice}`);
}

function assign({ weight, layout, pack }: StoredWeight, tensor: StoredTensor, evidence: Evidence | undefined): void {
  if (pack) {
    pack.fill(floatsOf(tensor), evidence);
    return;
  }
  tf.tidy(() => {
    const value = tf.tensor(floatsOf(tensor), [...tensor.shape]);
    const order = axes[layout];
    weight.write(order ? tf.transpose(value, [...order]) : value);
  });
}
