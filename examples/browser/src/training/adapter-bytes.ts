/**
 * An adapter as one safetensors file: the trained tensors, and in its metadata what core says of them, with the checksum over both.
 * Python's safetensors opens it too.
 */

import { tuneMode } from '@leantune/convbn';
import { FinetuneError, restore, type Tuned } from '@leantune/core';
import { readSafetensors, writeSafetensors } from '@leantune/core/safetensors';
import { lora } from '@leantune/lora';
import { biasTuning } from '@leantune/s2a';
import type { io } from '@tensorflow/tfjs-core';
import type { LayersModel } from '@tensorflow/tfjs-layers';
import { type Labels, labels } from './labels.ts';

const KEY = 'leantune';

export async function adapterBytes(tuned: Tuned): Promise<Uint8Array<ArrayBuffer>> {
  let file: Uint8Array<ArrayBuffer> | undefined;
  const save = async ({ weightSpecs = [], weightData, userDefinedMetadata }: io.ModelArtifacts): Promise<io.SaveResult> => {
    let at = 0;
    const tensors = weightSpecs.map(({ name, shape }) => {
      const values = new Float32Array(
        weightData as ArrayBuffer,
        at,
        shape.reduce((size, n) => size * n, 1),
      );
      at += values.byteLength;
      return [name, { shape, values }] as const;
    });
    file = writeSafetensors(Object.fromEntries(tensors), { metadata: { [KEY]: JSON.stringify(userDefinedMetadata) } });
    return { modelArtifactsInfo: { dateSaved: new Date(), modelTopologyType: 'JSON' } };
  };
  await tuned.save({ save });
  return file!;
}

export interface Restored {
  readonly tuned: Tuned<LayersModel>;
  readonly labels: Labels;
}

/**
 * Puts an adapter on the model that `make` makes for it.
 *
 * @throws FinetuneError `bad-file`: not a file of this page, cut short or altered
 */
export async function restoreAdapter(file: Uint8Array, make: (classes: number) => Promise<LayersModel>): Promise<Restored> {
  const artifacts = await artifactsOf(file);
  const { techniques = [] } = artifacts.userDefinedMetadata as { techniques?: readonly { name: string; options: unknown }[] };
  const meaning = techniques.find(({ name }) => name === 'labels')?.options as Labels | undefined;
  const outputs = artifacts.weightSpecs!.find(({ name }) => name.endsWith('head/bias'))?.shape[0];
  if (!Array.isArray(meaning?.classes) || meaning.classes.length !== outputs) throw foreign('names of its classes');
  const model = await make(outputs);
  try {
    const tuned = await restore(model, { load: async () => artifacts }, { labels, tuneMode, biasTuning, lora });
    return { tuned, labels: meaning };
  } catch (error) {
    model.dispose();
    throw error;
  }
}

async function artifactsOf(file: Uint8Array): Promise<io.ModelArtifacts> {
  const weightSpecs: io.WeightsManifestEntry[] = [];
  const parts: Uint8Array<ArrayBuffer>[] = [];
  let metadata: { readonly [key: string]: string } = {};
  const onHeader = (header: { metadata?: typeof metadata }) => {
    metadata = header.metadata ?? {};
  };
  for await (const { name, shape, bytes } of readSafetensors([file], { fileBytes: file.length, onHeader })) {
    weightSpecs.push({ name, shape: [...shape], dtype: 'float32' });
    parts.push(bytes as Uint8Array<ArrayBuffer>);
  }
  const header = metadata[KEY] === undefined ? undefined : jsonOf(metadata[KEY]);
  if (!header) throw foreign('adapter of LeanTune');
  return { userDefinedMetadata: header, weightSpecs, weightData: await new Blob(parts).arrayBuffer() };
}

function jsonOf(text: string): io.ModelArtifacts['userDefinedMetadata'] | undefined {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

const foreign = (what: string): FinetuneError =>
  new FinetuneError('bad-file', 'load', `the file holds no ${what}; expected one that this page saved. Save or copy it again.`);
