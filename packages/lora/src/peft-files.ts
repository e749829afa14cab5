/**
 * peft's files, in and out: what `model.save_pretrained(folder)` writes in Python and `PeftModel.from_pretrained(base, folder)` reads.
 *
 * Names are those of the model's sites with dots between; where the two models differ in a leading part ('bert.'), the end decides.
 */
import { FinetuneError, type ModelView, type Technique } from '@leantune/core';
import { adaptersOf, type LowRankSite } from '@leantune/core/low-rank';
import { type AdapterFiles, floatsOf, readSafetensors, type TensorValues, writeSafetensors } from '@leantune/core/safetensors';
import * as tf from '@tensorflow/tfjs-core';
import { type AttachedLora, attachedLora, attachLora, rankOf } from './attach-lora.ts';
import { type LoraOptions, type PeftConfig, type Settled, settled } from './config.ts';
import type { LoraAdapter } from './lora-adapter.ts';
import { parseConfig } from './peft-config.ts';
import { fromPeft, keyOf, type Part, peftShape, toPeft, wholeFromPeft, wholeKey, wholeToPeft } from './peft-layout.ts';
import { moduleOf, targetSites } from './target-modules.ts';

/** The two files of an adapter. */
export type PeftFiles = AdapterFiles;

/** Options of {@link exportPeft}. */
export interface ExportOptions {
  /** Which of `adaptersOf(model)`. @default 'default' */
  readonly adapter?: string;
  /** For `base_model_name_or_path`: 'sentence-transformers/all-MiniLM-L6-v2'. @default null */
  readonly base?: string;
  /** Put before every module's name: 'bert.'. @default '' */
  readonly prefix?: string;
}

const root = 'base_model.model.';

/**
 * An adapter of a model that is being tuned as peft's two files. One of `lora` as it is; any other (`lamda`, a combination, PiSSA) as the
 * plain LoRA with the same product.
 *
 * @throws FinetuneError `bad-model`, `no-match` (no such adapter)
 *
 * @example
 * const { config, weights } = await exportPeft(model);
 * await writeFile('adapter/adapter_config.json', config);
 * await writeFile('adapter/adapter_model.safetensors', weights);
 */
export async function exportPeft(model: object, { adapter = 'default', base, prefix = '' }: ExportOptions = {}): Promise<PeftFiles> {
  const own = attachedLora(model, adapter);
  const plain = own && ![...own.adapters.values()].some(({ path }) => path.principal);
  const { tensors, config } = tf.tidy(() => (plain ? ownFile(own) : productFile(model, adapter)) as never) as File;
  const named: { [name: string]: TensorValues } = {};
  for (const [name, t] of Object.entries(tensors))
    named[root + prefix + name] = { shape: t.shape, values: (await t.data()) as Float32Array };
  tf.dispose(tensors);
  const full = {
    ...config,
    base_model_name_or_path: base ?? null,
    bias: 'none',
    fan_in_fan_out: false,
    inference_mode: true,
    peft_type: 'LORA',
    task_type: null,
  };
  return { config: `${JSON.stringify(full, null, 2)}\n`, weights: writeSafetensors(named, { metadata: { format: 'pt' } }) };
}

interface File {
  readonly tensors: tf.NamedTensorMap;
  readonly config: PeftConfig;
}

function ownFile({ config, adapters, saved }: AttachedLora): File {
  const { adapter: _, seed: __, ...fields } = config;
  const tensors: tf.NamedTensorMap = {};
  for (const [site, { a, b, magnitude, path }] of adapters)
    for (const [part, v] of Object.entries({ A: a, B: b, magnitude }) as [Part, tf.Tensor | undefined][])
      if (v) tensors[`${moduleOf(site)}.${keyOf(site, part)}`] = toPeft(site, part, v, path.rank);
  for (const { module, weights } of saved)
    for (const w of weights) tensors[`${module}.${wholeKey(w.name)}`] = wholeToPeft(w.name, w.variable());
  return { tensors, config: { ...fields, target_modules: [...adapters.keys()].map(moduleOf) } };
}

function productFile(model: object, adapter: string): File {
  const adapters = adaptersOf(model);
  const sites = adapters.sites(adapter);
  const factors = adapters.factors(adapter);
  const tensors: tf.NamedTensorMap = {};
  const ranks: { [module: string]: number } = {};
  for (const site of sites) {
    const { down, up } = factors[site.name]!;
    const rank = up.shape[0]!;
    ranks[moduleOf(site).replaceAll('.', '\\.')] = rank;
    const a = tf.reshape(down, [...site.kernelShape.slice(0, -1), rank]);
    tensors[`${moduleOf(site)}.${keyOf(site, 'A')}`] = toPeft(site, 'A', a, rank);
    tensors[`${moduleOf(site)}.${keyOf(site, 'B')}`] = toPeft(site, 'B', up, rank);
  }
  const r = Math.max(...Object.values(ranks));
  return { tensors, config: { r, lora_alpha: r, rank_pattern: ranks, alpha_pattern: ranks, target_modules: sites.map(moduleOf) } };
}

/**
 * The technique that peft's files describe, with their weights: to train on, to merge, or to switch on and off.
 *
 * @param options what the file does not say, such as `adapter`
 * @throws FinetuneError `bad-file`, `bad-option` here; when attached `bad-file` with everything that is missing, left over or misshapen
 *
 * @example
 * const tuned = finetune(model, await importPeft({ config: await readFile('adapter_config.json', 'utf8'), weights: await readFile('adapter_model.safetensors') }));
 */
export async function importPeft({ config, weights }: PeftFiles, options: Pick<LoraOptions, 'adapter'> = {}): Promise<Technique> {
  const fields = parseConfig(config);
  const values = await valuesOf(weights);
  // The file holds what was trained: what it began with is of no account, and PiSSA's base has been written back or is the user's own.
  const { adapter = 'default' } = options;
  const plain: LoraOptions = { ...fields, adapter, init_lora_weights: true };
  const settledConfig = settled(plain);
  return {
    name: 'lora',
    options: settledConfig as never,
    attach(model) {
      checkRanks(targetSites(model, plain), settledConfig, values);
      const attachment = attachLora(model, settledConfig, plain);
      try {
        fill(model, attachedLora(model.model as object, settledConfig.adapter)!, values);
        return attachment;
      } catch (error) {
        attachment.detach();
        throw error;
      }
    },
  };
}

type NamedValues = ReadonlyMap<string, TensorValues>;

async function valuesOf(weights: Uint8Array): Promise<NamedValues> {
  const values = new Map<string, TensorValues>(); // a name may be "__proto__"
  const options = { file: 'adapter_model.safetensors', fileBytes: weights.byteLength };
  for await (const tensor of readSafetensors([weights], options))
    values.set(tensor.name, { shape: tensor.shape, values: floatsOf(tensor) });
  return values;
}

/** Refuses ranks that no tensor of the file has, before factors of that size are made. */
function checkRanks(sites: readonly LowRankSite[], config: Settled, values: NamedValues): void {
  const inFile = [...values].filter(([name]) => /lora_(embedding_)?A(\.weight)?$/.test(name)).map(([, { shape }]) => shape[0] ?? 0);
  const largest = Math.max(0, ...inFile);
  const faults = sites.flatMap((site) => (rankOf(site, config) > largest ? [`"${moduleOf(site)}" ${rankOf(site, config)}`] : []));
  if (faults.length === 0) return;
  const problem = `adapter_config.json gives ranks that no tensor has: ${faults.join(', ')}; the largest is ${largest}`;
  throw new FinetuneError('bad-file', 'importPeft', `${problem}. Take both files from one adapter.`);
}

/** A tensor of the file and where it goes. */
interface Place {
  readonly key: string;
  readonly shape: readonly number[];
  readonly variable: () => tf.Variable;
  readonly ours: (value: tf.Tensor) => tf.Tensor;
}

function placesOf({ adapters, saved }: AttachedLora): Place[] {
  const parts = ([site, one]: [LowRankSite, LoraAdapter]): Place[] =>
    (['A', 'B', 'magnitude'] as const).flatMap((part) => {
      const variable = { A: one.a, B: one.b, magnitude: one.magnitude }[part];
      const place = { key: `${moduleOf(site)}.${keyOf(site, part)}`, shape: peftShape(site, part, one.path.rank) };
      return variable ? [{ ...place, variable: () => variable, ours: (value: tf.Tensor) => fromPeft(site, part, value) }] : [];
    });
  const whole = saved.flatMap(({ module, weights }) =>
    weights.map((w): Place => {
      const shape = tf.tidy(() => wholeToPeft(w.name, w.variable()).shape);
      return { key: `${module}.${wholeKey(w.name)}`, shape, variable: () => w.variable(), ours: (value) => wholeFromPeft(w.name, value) };
    }),
  );
  return [...[...adapters].flatMap(parts), ...whole];
}

function fill(model: ModelView, attached: AttachedLora, values: NamedValues): void {
  const left = new Map([...values].map(([name, value]) => [name.replace(root, ''), value]));
  const faults: string[] = [];
  const found = placesOf(attached).flatMap((place) => {
    const name = left.has(place.key) ? place.key : [...left.keys()].find((key) => key.endsWith(`.${place.key}`));
    const value = left.get(name ?? '');
    if (!value) faults.push(`"${place.key}" [${place.shape}] is missing`);
    else if (value.shape.join() !== place.shape.join()) faults.push(`"${name}" is [${value.shape}]; expected [${place.shape}]`);
    left.delete(name ?? '');
    return value ? [{ ...place, value }] : [];
  });
  faults.push(...[...left].map(([name, { shape }]) => `"${name}" [${shape}] belongs to nothing that is adapted`));
  if (faults.length > 0)
    throw new FinetuneError('bad-file', 'importPeft', `the adapter does not fit this ${model.kind} model:\n- ${faults.join('\n- ')}`);
  tf.tidy(() => {
    for (const { variable, ours, value } of found) variable().assign(ours(tf.tensor(value.values, [...value.shape])));
  });
}
