/** A Vite plugin: the pretrained weights and the ready-made pictures as files of the page, fetched once and kept in a cache. */
import { useBackend } from '@leantune/backends';
import type { Plugin } from 'vite';
import { backboneArtifacts } from './backbone.ts';
import { SAMPLE_CLASSES, samplesPng } from './samples.ts';

type Files = ReadonlyMap<string, { readonly type: string; readonly bytes: Uint8Array }>;

export function pretrained(): Plugin {
  let files: Promise<Files> | undefined;
  const all = (): Promise<Files> => (files ??= make());
  return {
    name: 'pretrained',
    configureServer({ middlewares }) {
      middlewares.use(async ({ url = '' }, response, next) => {
        const file = (await all()).get(url.replace(/^\/|\?.*$/g, ''));
        if (file) response.setHeader('Content-Type', file.type).end(file.bytes);
        else next();
      });
    },
    async generateBundle() {
      for (const [fileName, { bytes }] of await all()) this.emitFile({ type: 'asset', fileName, source: bytes });
    },
  };
}

async function make(): Promise<Files> {
  await useBackend('cpu');
  const { weightData, weightSpecs, ...model } = await backboneArtifacts();
  const json = (value: unknown) => ({ type: 'application/json', bytes: Buffer.from(JSON.stringify(value)) });
  return new Map([
    ['model/model.json', json({ ...model, weightsManifest: [{ paths: ['weights.bin'], weights: weightSpecs }] })],
    ['model/weights.bin', { type: 'application/octet-stream', bytes: new Uint8Array(weightData as ArrayBuffer) }],
    ['samples/samples.json', json({ classes: SAMPLE_CLASSES })],
    ['samples/samples.png', { type: 'image/png', bytes: await samplesPng() }],
  ]);
}
