/** Everything that computes, away from the page: a worker holds one engine and one model, and ends with them. */
import { type BackendChoice, useBackend } from '@leantune/backends';
import type { Tuned } from '@leantune/core';
import * as tf from '@tensorflow/tfjs-core';
import '@tensorflow/tfjs-backend-webgl';
import '@tensorflow/tfjs-backend-webgpu';
import wasmPlain from '@tensorflow/tfjs-backend-wasm/dist/tfjs-backend-wasm.wasm?url';
import wasmSimd from '@tensorflow/tfjs-backend-wasm/dist/tfjs-backend-wasm-simd.wasm?url';
import wasmThreads from '@tensorflow/tfjs-backend-wasm/dist/tfjs-backend-wasm-threaded-simd.wasm?url';
import type { LayersModel } from '@tensorflow/tfjs-layers';
import { adapterBytes, restoreAdapter } from './adapter-bytes.ts';
import { classifier } from './classifier.ts';
import type { Labels } from './labels.ts';
import type { Call, Example, Job, Outcome, Reply, Request, Where } from './messages.ts';
import { imagesOf } from './pixels.ts';
import { type PictureSet, type Progress, train } from './train.ts';

const wasmPaths = {
  'tfjs-backend-wasm.wasm': wasmPlain,
  'tfjs-backend-wasm-simd.wasm': wasmSimd,
  'tfjs-backend-wasm-threaded-simd.wasm': wasmThreads,
};

let modelUrl: string;
let model: LayersModel | undefined;
let tuned: Tuned | undefined;
let labels: Labels | undefined;
let stopping = false;

const make = (classes: number): Promise<LayersModel> => classifier(modelUrl, classes);

function start({ backend, page }: Where): Promise<BackendChoice> {
  modelUrl = new URL('model/model.json', page).href;
  return useBackend(backend, backend === 'auto' || backend === 'wasm' ? { wasmPaths } : {});
}

async function run(job: Job, onProgress: (progress: Progress) => void): Promise<Outcome> {
  labels = job.labels;
  const { size, classes } = labels;
  const [learnt, check] = [false, true].map((held) =>
    pictures(
      job.examples.filter((each) => each.held === held),
      size,
    ),
  );
  model = await make(classes.length);
  try {
    const steps = train(model, { ...job, train: learnt!, check: check! });
    for (;;) {
      const { done, value } = await steps.next(stopping);
      if (done) {
        if (job.by === 'LeanTune') tuned = value;
        return { summary: tuned ? String(tuned.summary()) : '', stopped: stopping };
      }
      onProgress(value);
      await new Promise((turn) => setTimeout(turn)); // lets a wish to stop come in
    }
  } finally {
    tf.dispose([learnt!.images, check!.images]);
  }
}

function pictures(examples: readonly Example[], size: number): PictureSet {
  return {
    images: imagesOf(
      examples.map(({ bitmap }) => bitmap),
      size,
    ),
    classes: examples.map(({ label }) => label),
  };
}

async function predict(picture: ImageBitmap): Promise<number[]> {
  const probabilities = tf.tidy(() => model!.predict(imagesOf([picture], labels!.size)) as tf.Tensor);
  const values = [...(await probabilities.data())];
  probabilities.dispose();
  return values;
}

async function load(file: Uint8Array): Promise<Labels> {
  ({ tuned, labels } = await restoreAdapter(file, make));
  model = tuned.model as LayersModel;
  return labels;
}

function answer({ name, argument }: Call, onProgress: (progress: Progress) => void): Promise<unknown> {
  switch (name) {
    case 'start':
      return start(argument!);
    case 'train':
      return run(argument!, onProgress);
    case 'predict':
      return predict(argument!);
    case 'save':
      return adapterBytes(tuned!);
    case 'load':
      return load(argument!);
  }
}

const reply = (message: Reply): void => (self.postMessage as (message: Reply) => void)(message);

self.onmessage = async ({ data }: MessageEvent<Request>) => {
  if (data === 'stop') {
    stopping = true;
    return;
  }
  const { id, call } = data;
  try {
    reply({ id, answer: await answer(call, (progress) => reply({ id, progress })) });
  } catch (error) {
    reply({ id, error: error instanceof Error ? error.message : String(error) });
  }
};
