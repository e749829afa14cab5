import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import * as tf from '@tensorflow/tfjs';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { imageData, imageSet } from '../src/image-set.ts';
import { readModel, resizeInputs } from '../src/saved-model.ts';

let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'leantune-loaders-'));
});
afterEach(() => rm(folder, { recursive: true }));

describe('readModel', () => {
  it('loads a LayersModel for another image size, with the same weights', async () => {
    const model = tf.sequential({
      layers: [tf.layers.conv2d({ inputShape: [8, 8, 3], filters: 2, kernelSize: 3 }), tf.layers.globalAveragePooling2d({})],
    });
    await model.save({
      save: async ({ modelTopology, weightSpecs, weightData }) => {
        await writeFile(join(folder, 'w.bin'), Buffer.from(weightData as ArrayBuffer));
        await writeFile(
          join(folder, 'model.json'),
          JSON.stringify({ modelTopology, weightsManifest: [{ paths: ['w.bin'], weights: weightSpecs }] }),
        );
        return { modelArtifactsInfo: { dateSaved: new Date(0), modelTopologyType: 'JSON' } };
      },
    });
    const resized = await tf.loadLayersModel(await readModel(folder, 'model.json', (json) => resizeInputs(json, 5)));
    expect(resized.inputs[0]?.shape).toEqual([null, 5, 5, 3]);
    expect(resized.getWeights()[0]?.dataSync()).toEqual(model.getWeights()[0]?.dataSync());
    model.dispose();
    resized.dispose();
  });

  it('makes the placeholders of a GraphModel take any number of images', () => {
    const node = { op: 'Placeholder', name: 'images', attr: {} };
    const json = { modelTopology: { node: [node] }, signature: { inputs: { images: { tensorShape: {} } } } };
    resizeInputs(json, 64);
    const dim = [{ size: '-1' }, { size: '64' }, { size: '64' }, { size: '3' }];
    expect(node.attr).toEqual({ shape: { shape: { dim } } });
    expect(json.signature.inputs.images.tensorShape).toEqual({ dim });
  });
});

describe('imageSet', () => {
  it('maps [0, 1] to [-1, 1], repeats gray three times and encodes classes one-hot', async () => {
    const before = tf.memory().numTensors;
    const gray = imageSet([{ pixels: [0, 0.5, 0.5, 1], label: 2 }], 2, 2, 3);
    const color = imageSet([{ pixels: [0, 0.25, 1], label: 0 }], 1, 2, 3);
    expect(gray.images.shape).toEqual([1, 2, 2, 3]);
    expect([...(await gray.images.data())]).toEqual([-1, -1, -1, 0, 0, 0, 0, 0, 0, 1, 1, 1]);
    expect([...(await gray.labels.data())]).toEqual([0, 0, 1]);
    expect([...(await color.images.data())].slice(0, 3)).toEqual([-1, -0.5, 1]);
    imageData(gray, color, ['a', 'b', 'c']).dispose();
    expect(tf.memory().numTensors).toBe(before);
  });
});
