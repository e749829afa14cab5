/** Adapters on a base that is held in few bits: QLoRA (Dettmers et al. 2023, arXiv 2305.14314), LaMDA and S2A. */
import { join } from 'node:path';
import { useBackend } from '@leantune/backends';
import { adamW, FinetuneError, finetune, type Technique } from '@leantune/core';
import { adaptersOf } from '@leantune/core/low-rank';
import { lamda } from '@leantune/lamda';
import { exportPeft, importPeft, lora } from '@leantune/lora';
import { biasTuning, fourBit } from '@leantune/s2a';
import { available, memoryFile } from '@leantune/testing';
import * as tf from '@tensorflow/tfjs';
import { beforeAll, describe, expect, test } from 'vitest';
import { fromPretrained, lossModel, meanLoss } from '../src/index.ts';
import { farthest, fixtures } from './fixture.ts';

const folder = join(fixtures, 'gpt2');
const rows = [
  [1, 5, 9, 13, 17, 3],
  [2, 6, 10, 14, 18, 4],
];
const ids = () => tf.tensor2d(rows, undefined, 'int32');
/** Words of tables in few bits, bit for bit. */
const codesOf = (model: tf.LayersModel) =>
  model.weights.filter((weight) => weight.dtype === 'int32').map((weight) => [weight.originalName, [...weight.read().dataSync()]] as const);

async function learn(model: tf.LayersModel, techniques: Technique | Technique[], steps = 8) {
  const trainer = lossModel(model);
  const tuned = finetune(trainer, techniques);
  const optimizer = tuned.optimizer(adamW({ learningRate: 0.02 }));
  const x = ids();
  const losses: number[] = [];
  for (let i = 0; i < steps; i++) {
    const loss = tuned.minimize(() => meanLoss(x, trainer.apply([x, x], { training: true }) as tf.Tensor), optimizer);
    losses.push(loss.dataSync()[0]!);
    loss.dispose();
  }
  tf.dispose(x);
  optimizer.dispose();
  return { trainer, tuned, losses };
}

describe.each(await available(['cpu', 'wasm', 'tensorflow', 'webgpu']))('%s', (backend) => {
  beforeAll(() => useBackend(backend));

  test.each(['nf4', 'bfloat16'] as const)(
    'LoRA on %s learns as on the numbers that it stands for, and changes none of its words',
    async (storage) => {
      const [model, plain] = [await fromPretrained(folder, { storage }), await fromPretrained(folder)];
      const before = codesOf(model);
      // the same numbers, in float32
      for (const layer of plain.layers) {
        const { packedWeight } = model.getLayer(layer.name) as { packedWeight?: { read(): tf.Tensor } };
        if (packedWeight) tf.tidy(() => layer.setWeights([packedWeight.read(), ...layer.getWeights().slice(1)]));
      }
      const make = () => lora({ r: 4, target_modules: ['c_attn', 'c_proj', 'c_fc'] });
      const [ours, theirs] = [await learn(model, make()), await learn(plain, make())];
      expect(ours.losses.at(-1)!).toBeLessThan(0.9 * ours.losses[0]!);
      expect(farthest(ours.losses, theirs.losses)).toBeLessThan(1e-4);
      expect(codesOf(model)).toEqual(before);
      expect(codesOf(model).length).toBeGreaterThan(8);
    },
  );
});

describe('wasm', () => {
  beforeAll(() => useBackend('wasm'));

  test('an adapter that was trained on packed kernels loads on a base of float32, in both kinds of file, and never holds the base', async () => {
    const { tuned, trainer } = await learn(await fromPretrained(folder, { storage: 'nf4' }), lora({ r: 4, target_modules: ['c_attn'] }));
    const file = memoryFile();
    await tuned.save(file);
    expect(file.artifacts!.weightSpecs!.every(({ name }) => name.includes('lora_'))).toBe(true);
    const plain = await fromPretrained(folder);
    const again = lossModel(plain);
    const other = finetune(again, lora({ r: 4, target_modules: ['c_attn'] }));
    await other.load(file);
    const [a, b] = [tuned, other].map(({ variables }) => variables.map((v) => [...v.dataSync()]));
    expect(b).toEqual(a);
    other.merge(); // on a base that is not packed
    const peft = await exportPeft(trainer);
    finetune(lossModel(await fromPretrained(folder)), await importPeft(peft)).dispose();
  });

  test('merging is refused before anything is changed, by either name', async () => {
    const { tuned, trainer } = await learn(await fromPretrained(folder, { storage: 'nf4' }), lora({ r: 4, target_modules: ['c_attn'] }), 1);
    const says = /the kernels of "transformer\.h\.0\.attn\.c_attn", .* are packed, .* load it on the same base in float32/;
    expect(() => tuned.merge()).toThrow(says);
    expect(() => adaptersOf(trainer).merge()).toThrow(FinetuneError);
    expect(adaptersOf(trainer).active).toEqual({ default: 1 });
    tuned.dispose();
  });

  test.each([
    ['DoRA', () => lora({ r: 4, use_dora: true, target_modules: ['c_attn', 'c_proj'] })],
    ['PiSSA', () => lora({ r: 4, init_lora_weights: 'pissa', target_modules: ['c_attn'] })],
    ['LaMDA', () => lamda({ rank: 4, steps: 8, targets: ['c_attn', 'c_fc'] })],
    ['LoRA with values that wait in 4 bits', () => [lora({ r: 4, target_modules: ['c_attn'] }), fourBit()]],
    ['biases', () => biasTuning()],
  ] as const)('%s learns on packed kernels, and leaves no tensor behind', async (_, make) => {
    const model = await fromPretrained(folder, { storage: 'nf4' });
    const codes = codesOf(model);
    const before = tf.memory().numTensors;
    const { losses, tuned } = await learn(model, make() as Technique);
    expect(losses.at(-1)!).toBeLessThan(0.97 * losses[0]!);
    expect(codesOf(model)).toEqual(codes);
    tuned.dispose();
    expect(tf.memory().numTensors).toBe(before);
  });

  test('a summary counts packed weights as what they stand for', async () => {
    const totals = [];
    for (const storage of ['nf4', 'float16', 'float32'] as const) {
      const tuned = finetune(await fromPretrained(folder, { storage }), lora({ r: 4, target_modules: ['c_attn'] }));
      totals.push(tuned.summary().total);
      tuned.dispose();
    }
    expect(new Set(totals).size).toBe(1);
  });
});
