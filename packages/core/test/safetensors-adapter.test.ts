/** An adapter as safetensors and JSON. */
import { finetune, restore, type Technique } from '@leantune/core';
import * as tf from '@tensorflow/tfjs';
import { beforeAll, expect, test } from 'vitest';
import { floatsOf, readSafetensors, safetensorsFiles, writeSafetensors } from '../src/safetensors/index.ts';

beforeAll(async () => {
  await tf.setBackend('cpu');
});

/** A gain that trains, and a count that files hold. */
function gain(): Technique {
  return {
    name: 'gain',
    options: {},
    attach(model) {
      const [site] = model.sites('head');
      const g = tf.tidy(() => tf.variable<tf.Rank.R0>(tf.scalar(1), true));
      let steps = 0;
      const undo = site!.replace((x, next) => tf.mul(next(x), g));
      return {
        variables: [g],
        step: { afterStep: () => void steps++ },
        saved: {
          read: () => ({ g: tf.clone(g), steps: tf.scalar(steps, 'int32') }),
          write(tensors) {
            g.assign(tensors['g'] as tf.Scalar);
            steps = tensors['steps']!.dataSync()[0]!;
          },
        },
        detach() {
          undo();
          g.dispose();
        },
      };
    },
  };
}

function subject() {
  const kernelInitializer = tf.initializers.glorotUniform({ seed: 3 });
  const model = tf.sequential({ layers: [tf.layers.dense({ inputShape: [4], units: 2, name: 'head', kernelInitializer })] });
  const x = tf.randomNormal([5, 4], 0, 1, 'float32', 4);
  const loss = () => (model.apply(x, { training: true }) as tf.Tensor).square().mean() as tf.Scalar;
  return { model, loss };
}

async function trained() {
  const { model, loss } = subject();
  const tuned = finetune(model, gain());
  const optimizer = tuned.optimizer(tf.train.adam(0.1));
  for (let i = 0; i < 3; i++) tuned.minimize(loss, optimizer).dispose();
  const to = safetensorsFiles();
  await tuned.save(to, { optimizer });
  return { loss, tuned, optimizer, files: to.files };
}

test('is restored from its two files, and training goes on bit for bit, with the optimizer', async () => {
  const { loss, tuned, optimizer, files } = await trained();
  const other = subject();
  const restored = await restore(other.model, safetensorsFiles(files), { gain });
  expect(other.loss().dataSync()).toEqual(loss().dataSync());
  const second = restored.optimizer(tf.train.adam(0.1));
  await restored.load(safetensorsFiles(files), { optimizer: second });
  for (let i = 0; i < 3; i++) {
    const [a, b] = [tuned.minimize(loss, optimizer), restored.minimize(other.loss, second)];
    expect(b.dataSync()).toEqual(a.dataSync());
  }
});

test('holds every tensor under its name, whole numbers as such, and says in JSON what it is of', async () => {
  const { tuned, files } = await trained();
  const found = new Map<string, { dtype: string; shape: readonly number[]; values: number[] }>();
  for await (const t of readSafetensors([files.weights]))
    found.set(t.name, {
      dtype: t.dtype,
      shape: t.shape,
      values: t.dtype === 'I32' ? [...new Int32Array(t.bytes.slice().buffer)] : [...floatsOf(t)],
    });
  expect([...found.keys()].slice(0, 2)).toEqual(['gain:g', 'gain:steps']);
  expect(found.get('gain:steps')).toEqual({ dtype: 'I32', shape: [], values: [3] });
  expect(found.get('gain:g')!.values).toEqual([...tuned.variables[0]!.dataSync()]);
  expect([...found.keys()].some((name) => name.startsWith('optimizer:'))).toBe(true);
  const { format, userDefinedMetadata } = JSON.parse(files.config);
  expect(format).toBe('@leantune/adapter');
  expect(userDefinedMetadata.techniques).toEqual([{ name: 'gain', options: {} }]);
});

test('may have its tensors in another order, as other programs write them', async () => {
  const { loss, files } = await trained();
  const tensors = [];
  for await (const t of readSafetensors([files.weights]))
    tensors.push([t.name, { shape: t.shape, values: t.dtype === 'I32' ? new Int32Array(t.bytes.slice().buffer) : floatsOf(t) }] as const);
  const other = subject();
  const weights = writeSafetensors(Object.fromEntries(tensors.reverse()));
  expect(weights).not.toEqual(files.weights);
  await restore(other.model, safetensorsFiles({ ...files, weights }), { gain });
  expect(other.loss().dataSync()).toEqual(loss().dataSync());
});

test('is refused with every fault where the two files do not belong together, and where one was altered', async () => {
  const { files } = await trained();
  const from = (changed: Partial<typeof files>) => restore(subject().model, safetensorsFiles({ ...files, ...changed }), { gain });
  const weights = writeSafetensors({
    'gain:g': { shape: [2], values: Float32Array.of(1, 2) },
    x: { shape: [1], values: Int32Array.of(1) },
  });
  await expect(from({ weights })).rejects.toThrow(
    /"gain:g" F32 \[\] is F32 \[2\]; "gain:steps" I32 \[\] is missing; .*"x" I32 \[1\] is unknown to adapter_config.json/,
  );
  const altered = files.weights.slice();
  altered[altered.length - 1]! ^= 1;
  await expect(from({ weights: altered })).rejects.toThrow('was altered: checksum');
  await expect(from({ weights: files.weights.subarray(0, -1) })).rejects.toThrow('adapter_model.safetensors');
  await expect(from({ config: '{' })).rejects.toThrow('adapter_config.json is not JSON');
  await expect(from({ config: '{ "peft_type": "LORA" }' })).rejects.toThrow('importPeft of @leantune/lora reads it');
  await expect(restore(subject().model, safetensorsFiles(), { gain })).rejects.toThrow('Save to this handler first');
});
