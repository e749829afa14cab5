/** A tfjs model.json with its shards, read from a folder, and its input made to fit another image size. */
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { io } from '@tensorflow/tfjs-core';

/** A model.json, or a part of one. */
export type ModelJson = any;

/**
 * Reads `file` and its weights. `edit` may change the JSON before tfjs sees it, e.g. {@link resizeInputs}.
 *
 * @returns what `tf.loadLayersModel` and `tf.loadGraphModel` take
 */
export async function readModel(folder: string, file: string, edit: (json: ModelJson) => void = () => undefined): Promise<io.IOHandler> {
  const json: ModelJson = JSON.parse(await readFile(join(folder, file), 'utf8'));
  edit(json);
  const groups: { paths: string[]; weights: io.WeightsManifestEntry[] }[] = json.weightsManifest;
  const shards = await Promise.all(groups.flatMap((group) => group.paths).map((path) => readFile(join(folder, path))));
  const bytes = Buffer.concat(shards);
  const artifacts: io.ModelArtifacts = {
    ...json,
    weightSpecs: groups.flatMap((group) => group.weights),
    weightData: bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.byteLength),
  };
  return { load: async () => artifacts };
}

/**
 * Makes every image input [any, size, size, 3]. Right for fully convolutional models, whose later layers take the shape
 * that comes: a `batch_input_shape` of a LayersModel, the placeholders of a GraphModel. A size of null is any.
 */
export function resizeInputs(json: ModelJson, size: number | null): void {
  const isGraph = json.modelTopology.node !== undefined;
  if (isGraph) {
    const dims = { dim: [null, size, size, 3].map((side) => ({ size: String(side ?? -1) })) };
    for (const node of json.modelTopology.node) if (node.op === 'Placeholder') node.attr.shape = { shape: dims };
    for (const input of Object.values<ModelJson>((json.signature ?? json.userDefinedMetadata.signature).inputs)) input.tensorShape = dims;
    return;
  }
  const visit = (value: ModelJson): void => {
    if (value === null || typeof value !== 'object') return;
    if (value.batch_input_shape?.length === 4) value.batch_input_shape = [null, size, size, 3];
    Object.values(value).forEach(visit);
  };
  visit(json.modelTopology);
}
