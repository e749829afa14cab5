/**
 * Everything that reads a file of somebody else, each with good files and a judge: a corrupted one is refused with an error of ours and
 * nothing has changed, or it loads and every value is what the file says.
 */
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { adamW, finetune, restore, type Technique, type Tuned } from '@leantune/core';
import { readSafetensors } from '@leantune/core/safetensors';
import { lamda } from '@leantune/lamda';
import { exportPeft, importPeft, lora } from '@leantune/lora';
import { fromPretrained } from '@leantune/transformers';
import * as tf from '@tensorflow/tfjs';
import type fc from 'fast-check';
import { type Corruption, onBytes, onBytesOrJson, onJson, onSafetensors } from './corruptions.ts';
import { seal } from './forge.ts';
import { gratings, makeModel } from './subject.ts';

export type Files = ReadonlyMap<string, Uint8Array>;

export interface Loader {
  readonly name: string;
  /** Good files; those with corruptions listed are corrupted, one at a time. */
  readonly files: Files;
  readonly corruptions: { readonly [file: string]: fc.Arbitrary<Corruption> };
  /** Makes what the corruption broke fit again: a file that was forged, not damaged. */
  readonly forge?: (files: Files) => Files;
  /** Readies `files`; what it returns is watched. Throws what loading throws. */
  load(files: Files): Promise<() => Promise<void>>;
  /** What is not as it must be after loading, or after loading failed; and sets all back. */
  judge(files: Files, loaded: boolean): Promise<string | undefined>;
}

export const techniques: { readonly [name: string]: () => readonly Technique[] } = {
  lora: () => [lora({ r: 4, lora_alpha: 8 })],
  lamda: () => [lamda({ rank: 4 })],
  plain: () => [],
};

const norms = { trainable: ['norm_1', 'norm_2'] };
const bits = (t: tf.Tensor): string => Buffer.from(new Uint8Array(t.dataSync().buffer.slice(0))).toString('base64');
const everything = async (tuned: Tuned<tf.LayersModel>, optimizer: tf.Optimizer): Promise<string> => {
  const state = await optimizer.getWeights();
  const all = [...tuned.model.getWeights(), ...tuned.variables, ...state.map(({ tensor }) => tensor)].map(bits).join(' ');
  state[0]?.tensor.dispose(); // the step count is made for the caller
  return all;
};

/** `tuned.load` of an adapter with AdamW's state. */
export async function adapterLoader(technique: string, folder: string, forged = false): Promise<Loader> {
  const tuned = finetune(makeModel(), techniques[technique]!(), norms);
  const optimizer = tuned.optimizer(adamW());
  const { images, labels } = gratings(8, 1);
  const train = (): void => {
    const logits = () => tuned.model.apply(images, { training: true }) as tf.Tensor;
    tuned.minimize(() => tf.losses.softmaxCrossEntropy(labels, logits()) as tf.Scalar, optimizer).dispose();
  };
  train();
  await tuned.save(`file://${folder}`, { optimizer });
  const files = await folderFiles(folder);
  const saved = await everything(tuned, optimizer);
  train();
  const other = memoryHandler();
  await tuned.save(other, { optimizer });
  const before = await everything(tuned, optimizer);
  return {
    name: `${forged ? 'forged ' : ''}adapter of ${technique}`,
    files,
    corruptions: forged
      ? { 'model.json': onJson }
      : Object.fromEntries([...files.keys()].map((name) => [name, name === 'model.json' ? onBytesOrJson : onBytes])),
    ...(forged ? { forge: seal } : {}),
    async load(broken) {
      await writeFiles(folder, broken);
      return () => tuned.load(`file://${folder}`, { optimizer });
    },
    async judge(_, loaded) {
      const now = await everything(tuned, optimizer);
      if (loaded) await tuned.load(other, { optimizer });
      if (loaded && !forged && now !== saved) return 'loaded other values than were saved';
      if (!loaded && now !== before) return 'was refused, and yet changed weights or state';
      return undefined;
    },
  };
}

/** `restore` of a forged adapter: its techniques and options are made from the file. */
export async function restoreLoader(folder: string): Promise<Loader> {
  const { files } = await adapterLoader('lora', folder);
  const model = makeModel();
  let tuned: Tuned<tf.LayersModel> | undefined;
  const weights = () => model.getWeights().map(bits).join(' ');
  const before = weights();
  const clones = model.getWeights().map((weight) => weight.clone());
  return {
    name: 'forged adapter, by restore',
    files,
    corruptions: { 'model.json': onJson },
    forge: (broken) => seal(withSmallRank(broken)),
    async load(broken) {
      await writeFiles(folder, broken);
      return async () => {
        tuned = await restore(model, `file://${folder}`, { lora, lamda });
      };
    },
    async judge(_, loaded) {
      tuned?.dispose();
      tuned = undefined;
      if (!loaded) return weights() === before ? undefined : 'was refused, and yet changed the base';
      model.setWeights(clones);
      return undefined;
    },
  };
}

/** A rank is what the file's maker asks for: a forged one may cost memory, as one in a program may. */
function withSmallRank(files: Files): Files {
  const json = JSON.parse(new TextDecoder().decode(files.get('model.json')!));
  const options = json?.userDefinedMetadata?.techniques?.[0]?.options;
  if (!(options?.r > 64)) return files;
  options.r = 64;
  return new Map(files).set('model.json', new TextEncoder().encode(JSON.stringify(json)));
}

/** `importPeft` of what peft writes. */
export async function peftLoader(): Promise<Loader> {
  const model = makeModel();
  const source = finetune(model, [lora({ r: 4, lora_alpha: 8 })]);
  const { config, weights } = await exportPeft(model);
  source.dispose();
  let tuned: Tuned<tf.LayersModel> | undefined;
  return {
    name: "peft's files",
    files: new Map([
      ['adapter_config.json', new TextEncoder().encode(config)],
      ['adapter_model.safetensors', weights],
    ]),
    corruptions: { 'adapter_config.json': onBytesOrJson, 'adapter_model.safetensors': onSafetensors },
    load: async (files) => async () => {
      const text = new TextDecoder().decode(files.get('adapter_config.json')!);
      tuned = finetune(model, [await importPeft({ config: text, weights: files.get('adapter_model.safetensors')! })]);
    },
    async judge(files, loaded) {
      if (!loaded) return undefined;
      const inFile = tensorsOf(files.get('adapter_model.safetensors')!);
      const inModel = tensorsOf((await exportPeft(model)).weights);
      tuned!.dispose();
      const values = (tensors: ReadonlyMap<string, string>): string => [...tensors.values()].sort().join(' ');
      return values(inFile) === values(inModel) ? undefined : 'loaded other values than the file holds';
    },
  };
}

/** The reader of safetensors, in chunks, told the size of the file or not. */
export async function safetensorsLoader(sizeIsKnown: boolean): Promise<Loader> {
  const { files } = await peftLoader();
  const weights = files.get('adapter_model.safetensors')!;
  let read: Map<string, string>;
  return {
    name: `safetensors, size ${sizeIsKnown ? 'known' : 'unknown'}`,
    files: new Map([['x.safetensors', weights]]),
    corruptions: { 'x.safetensors': onSafetensors },
    load: async (broken) => async () => {
      const file = broken.get('x.safetensors')!;
      const chunks = Array.from({ length: Math.ceil(file.length / 1000) }, (_, i) => file.subarray(i * 1000, (i + 1) * 1000));
      read = new Map();
      for await (const { name, bytes } of readSafetensors(chunks, sizeIsKnown ? { fileBytes: file.length } : {}))
        read.set(name, Buffer.from(bytes).toString('base64'));
    },
    async judge(broken, loaded) {
      if (!loaded) return undefined;
      const held = tensorsOf(broken.get('x.safetensors')!);
      return [...held].every(([name, values]) => read.get(name) === values) && held.size === read.size
        ? undefined
        : 'read other values than the file holds';
    },
  };
}

/** `fromPretrained` of a tiny BERT that transformers wrote. */
export async function checkpointLoader(): Promise<Loader> {
  const folder = join(import.meta.dirname, '../../packages/transformers/test/fixtures/bert');
  const [config, weights] = await Promise.all(['config.json', 'model.safetensors'].map((name) => readFile(join(folder, name))));
  let model: tf.LayersModel | undefined;
  return {
    name: 'checkpoint of Hugging Face',
    files: new Map([
      ['config.json', config!],
      ['model.safetensors', weights!],
    ]),
    corruptions: { 'model.safetensors': onSafetensors },
    load: async (files) => async () => {
      const open = async (path: string) => {
        const file = files.get(path);
        return (
          file && {
            chunks: (async function* () {
              yield file;
            })(),
            size: file.length,
          }
        );
      };
      model = (await fromPretrained({ name: 'corrupted', open })) as unknown as tf.LayersModel;
    },
    async judge() {
      model?.dispose();
      model = undefined;
      return undefined;
    },
  };
}

/** By name, values as they lie in the file: read without our reader. */
function tensorsOf(file: Uint8Array): ReadonlyMap<string, string> {
  const length = Number(new DataView(file.buffer, file.byteOffset).getBigUint64(0, true));
  const { __metadata__, ...entries } = JSON.parse(new TextDecoder().decode(file.subarray(8, 8 + length)));
  const values = ({ data_offsets: [begin, end] }: { data_offsets: [number, number] }) =>
    Buffer.from(file.subarray(8 + length + begin, 8 + length + end)).toString('base64');
  return new Map(Object.entries(entries).map(([name, entry]) => [name, values(entry as never)]));
}

async function folderFiles(folder: string): Promise<Files> {
  const json = await readFile(join(folder, 'model.json'));
  const name: string = JSON.parse(json.toString()).weightsManifest[0].paths[0];
  return new Map([
    ['model.json', json],
    [name, await readFile(join(folder, name))],
  ]);
}

async function writeFiles(folder: string, files: Files): Promise<void> {
  for (const [name, bytes] of files) await writeFile(join(folder, name), bytes);
}

function memoryHandler(): tf.io.IOHandler {
  let stored: tf.io.ModelArtifacts;
  return {
    save: async (artifacts) => {
      stored = structuredClone(artifacts);
      return { modelArtifactsInfo: tf.io.getModelArtifactsInfoForJSON(artifacts) };
    },
    load: async () => stored,
  };
}
