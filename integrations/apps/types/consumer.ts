/** A project as strict as TypeScript gets: what a user writes must compile, and what must not compile must not. */
import { type BackendChoice, BackendError, useBackend } from '@leantune/backends';
import { registerCpuKernels } from '@leantune/backends/cpu';
import { matMulHalf } from '@leantune/backends/tensorflow';
import { heapUse } from '@leantune/backends/wasm';
import { registerWebglKernels } from '@leantune/backends/webgl';
import { poolUse } from '@leantune/backends/webgpu';
import { fold, tuneMode } from '@leantune/convbn';
import { adamW, explain, FinetuneError, finetune, measure, restore, type Technique, type Tuned, warmupCosine } from '@leantune/core';
import { adaptersOf } from '@leantune/core/low-rank';
import { readSafetensors } from '@leantune/core/safetensors';
import { compareEnergy, processorTime } from '@leantune/energy';
import { summarize } from '@leantune/energy/statistics';
import { lamda, lamdaPlusPlus } from '@leantune/lamda';
import { exportPeft, lora } from '@leantune/lora';
import { dynamicLossScale, mixedPrecision } from '@leantune/mixed-precision';
import { biasTuning, fourBit } from '@leantune/s2a';
import { fromPretrained, generate, lossModel, meanLoss } from '@leantune/transformers';
import * as tf from '@tensorflow/tfjs';

export async function train(model: tf.LayersModel, x: tf.Tensor, y: tf.Tensor): Promise<number> {
  const { name, passed }: BackendChoice = await useBackend('auto');
  const techniques: readonly Technique[] = [tuneMode(), lamda({ rank: 8, steps: 100 }), fourBit({ bits: 4 }), mixedPrecision()];
  const tuned: Tuned<tf.LayersModel> = finetune(model, techniques, { trainable: ['head', /^block_\d+/], checkpoint: true });
  const optimizer = tuned.optimizer(adamW({ learningRate: 1e-3 }), {
    accumulate: 2,
    clipNorm: 1,
    schedule: warmupCosine({ peak: 1e-3, warmupSteps: 10, steps: 100 }),
  });
  model.compile({ optimizer, loss: 'categoricalCrossentropy', metrics: ['accuracy'] });
  const { result, memory } = await measure(() => model.fit(x, y, { epochs: 1 }));
  console.log(String(memory), String(tuned.summary()), String(explain(model, x)), name, passed.length, result.epoch);
  await tuned.save('file://adapter', { optimizer });
  const merged: tf.LayersModel = tuned.merge();
  const again = await restore(fold(merged) as tf.LayersModel, 'file://adapter', { lamda, lamdaPlusPlus, lora });
  await exportPeft(again.model);
  adaptersOf(again.model);
  return memory.atPeak.kept + memory.peakAboveWeights;
}

export async function write(prompt: readonly number[]): Promise<number[]> {
  const model = await fromPretrained('./models/tiny', { variant: 'fp16' });
  const trainer = lossModel(model);
  trainer.compile({ optimizer: finetune(trainer, biasTuning()).optimizer(tf.train.sgd(0.1)), loss: meanLoss });
  return generate(model, prompt, { maxTokens: 8 });
}

export async function meter(run: () => Promise<void>): Promise<string> {
  const report = await compareEnergy({ run }, { repeats: 3, sources: [processorTime({ tdpWatts: 15, threads: 2 })] });
  return `${report} ${summarize([1, 2, 3]).mean}`;
}

export function explainFault(error: unknown): string {
  if (FinetuneError.is(error)) return error.code;
  return error instanceof BackendError ? error.code : 'unknown';
}

export const others: readonly unknown[] = [
  registerCpuKernels,
  matMulHalf,
  heapUse,
  registerWebglKernels,
  poolUse,
  readSafetensors,
  dynamicLossScale,
];

// @ts-expect-error a filter is a name, a RegExp, a list of them or a function
finetune({}, [], { trainable: 7 });
// @ts-expect-error an option that is misspelt
lamda({ rnak: 8 });
// @ts-expect-error exactOptionalPropertyTypes: left out, not undefined
finetune({}, [], { checkpoint: undefined });
// @ts-expect-error a backend that does not exist
void useBackend('cuda');
