/** A Hugging Face checkpoint as a LayersModel: the config says which layers, the weights fill them. */
import { FinetuneError } from '@leantune/core';
import * as tf from '@tensorflow/tfjs-core';
import { input, type LayersModel, model as makeModel } from '@tensorflow/tfjs-layers';
import type { Architecture, InputName, Inputs } from './architectures/architecture.ts';
import { labelsOf, type RawConfig, readConfig, type Task } from './architectures/config.ts';
import { architectureOf, taskOf } from './architectures/table.ts';
import type { Storage } from './layers/index.ts';
import { calibrations } from './quantize/calibrations.ts';
import { own } from './references.ts';
import { resolveSource } from './sources/resolve.ts';
import { readJson, type Source } from './sources/source.ts';
import { type FillOptions, fillWeights, slotsOf } from './weights.ts';

/** Options of {@link fromPretrained}. */
export interface PretrainedOptions {
  /** What the model is for. @default what the checkpoint's own class is for */
  readonly task?: Task;
  /** Labels of a new classifier: where the checkpoint has none, or one of another size. @default the checkpoint's own */
  readonly labels?: number;
  /** Fixes the random numbers that a new head starts from. @default new ones each time */
  readonly seed?: number;
  /**
   * The inputs, in this order, by Hugging Face's names: `input_ids`, `attention_mask`, `token_type_ids`, `pixel_values`.
   * @default ids for a language model; ids and mask for an encoder of text; pixels for one of images
   */
  readonly inputs?: readonly InputName[];
  /**
   * How linear layers and tables of tokens are held: `'float16'` and `'bfloat16'` freeze them in 2 bytes a value, `'int8'` in 8 bits
   * (1.03 bytes with scales), `'nf5'` in 5 (0.66; tables of tokens in 4, with a fortieth of their rows in 8), `'nf4'` in 4 (0.54): bases
   * for adapters. Heads of classifiers stay. On cpu, wasm, tensorflow and webgpu; `'nf5'` not for BERT's family.
   * @default 'float32'
   */
  readonly storage?: Storage;
  /**
   * Rows of tokens, int32 [n, T], of texts like those to come: tables in few bits are then rounded so that what they make of these
   * changes least (GPTQ). Some ten thousand tokens do. The checkpoint is read twice or more. Only with a `storage` in few bits.
   */
  readonly calibration?: tf.Tensor2D;
  /** Reads `model.<variant>.safetensors`, as in `save_pretrained(…, variant='fp16')`. @default `model.safetensors` */
  readonly variant?: string;
}

/**
 * Reads a checkpoint (`config.json`, `model.safetensors` or its shards) and makes a model of it that predicts, fits and saves as any
 * tfjs model. Layers have the names of the checkpoint: `model.layers.3.self_attn.q_proj`.
 *
 * @param source a folder (`./models/tiny`, `file://…`; Node), an address (`https://…`), a repository of the Hub (`owner/name`), or
 *   a {@link Source} such as `webFolder(url, { cache: 'models' })`
 * @returns by task: logits [n, T, vocabulary], [n, labels] or [n, T, labels]; unit vectors [n, d]; hidden states [n, T, d].
 *   Tokens and masks are int32 [n, T], images float32 [n, h, w, channels].
 * @throws FinetuneError `bad-model` for an architecture, task or weights that do not fit, `bad-file` for files that cannot be read
 *
 * @example
 * const model = await fromPretrained('https://example.com/models/minilm', { task: 'sentence-embedding' });
 * const vectors = model.predict([ids, mask]);
 */
export async function fromPretrained(source: string | Source, options: PretrainedOptions = {}): Promise<LayersModel> {
  const files = resolveSource(source);
  const raw = await readJson(files, 'config.json');
  if (!raw)
    throw new FinetuneError(
      'bad-file',
      'transformers',
      `${files.name}: has no config.json; expected a checkpoint of Hugging Face. Check the path.`,
    );
  const architecture = architectureOf(raw);
  const task = options.task ?? taskOf(raw);
  const model = fromConfig(raw, { ...options, task });
  try {
    const isHead = (name: string) => !name.startsWith(architecture.prefix) || name.includes('pooler.');
    const fill: FillOptions = {
      variant: options.variant,
      prefix: architecture.prefix,
      unread: new RegExp(`${architecture.unread.source}|${headOf[task] ?? '^(pre_)?classifier\\.|^score\\.'}`),
      optional: (name) => options.labels !== undefined && task.endsWith('classification') && isHead(name),
    };
    const missing = await fillWeights(model, files, fill);
    if (options.calibration)
      for (const evidence of calibrations(model, options.calibration)) await fillWeights(model, files, { ...fill, evidence });
    startHead(model, missing, options.seed);
    return model;
  } catch (error) {
    model.dispose();
    throw error;
  }
}

/** Tensors of pretraining heads that a task leaves out, where it has a head of its own. */
const headOf: { readonly [task in Task]?: string } = {
  'sequence-classification': '^lm_head\\.',
  'token-classification': '^pre_classifier\\.|^lm_head\\.',
  'image-classification': '^(cls|distillation)_classifier\\.',
};

/** The model of a config with all weights zero: for weights that come from elsewhere. Options as {@link fromPretrained}. */
export function fromConfig(raw: RawConfig, options: PretrainedOptions = {}): LayersModel {
  const config = readConfig(raw);
  const architecture = architectureOf(raw);
  const task = options.task ?? taskOf(raw);
  if (!architecture.tasks.includes(task)) {
    throw new FinetuneError(
      'bad-option',
      'transformers',
      `got task "${task}" for "${config.type}"; expected one of ${architecture.tasks.join(', ')}.`,
    );
  }
  const storage = options.storage ?? 'float32';
  if (!architecture.storages.includes(storage)) {
    const expected = architecture.storages.join(', ');
    throw new FinetuneError('bad-option', 'transformers', `got storage "${storage}" for "${config.type}"; expected one of ${expected}.`);
  }
  const labels = options.labels ?? labelsOf(raw) ?? 2;
  if (!Number.isInteger(labels) || labels < 1)
    throw new FinetuneError('bad-option', 'transformers', `got labels ${labels}; expected a whole number above 0.`);
  const names = inputNames(architecture, task, options.inputs);
  const inputs: Inputs = Object.fromEntries(
    names.map((name) => {
      const isImage = name === 'pixel_values';
      return [name, input({ name, shape: isImage ? architecture.imageShape!(config) : [null], dtype: isImage ? 'float32' : 'int32' })];
    }),
  );
  const outputs = architecture.build({ config, task, inputs, labels, storage });
  return own(makeModel({ inputs: Object.values(inputs), outputs, name: config.type }));
}

function inputNames(architecture: Architecture, task: Task, asked: readonly InputName[] | undefined): readonly InputName[] {
  const names = asked ?? architecture.defaultInputs;
  const needed: readonly InputName[] = [architecture.inputs[0]!, ...(task === 'sentence-embedding' ? (['attention_mask'] as const) : [])];
  const unknown = names.filter((name) => !architecture.inputs.includes(name));
  const lacking = needed.filter((name) => !names.includes(name));
  if (unknown.length === 0 && lacking.length === 0) return names;
  throw new FinetuneError(
    'bad-option',
    'transformers',
    `got inputs ${names.join(', ') || '(none)'}; expected some of ${architecture.inputs.join(', ')}, with ${needed.join(', ')}.`,
  );
}

/** BERT's initializer_range. */
const HEAD_DEVIATION = 0.02;

/** Random kernels and zero biases for what the checkpoint lacks. */
function startHead(model: LayersModel, missing: readonly string[], seed: number | undefined): void {
  const slots = slotsOf(model);
  tf.tidy(() => {
    for (const [i, name] of missing.entries()) {
      const { weight } = slots.get(name)!;
      const own = seed === undefined ? undefined : seed + i;
      if (weight.shape.length > 1) weight.write(tf.randomNormal(weight.shape as number[], 0, HEAD_DEVIATION, 'float32', own));
    }
  });
}
