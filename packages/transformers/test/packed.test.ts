/** Frozen tables in few bits: the levels, how calibration rounds, what is computed with them, and a whole model on them. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { useBackend } from '@leantune/backends';
import { measure, valueAndGrads } from '@leantune/core';
import { available } from '@leantune/testing';
import * as tf from '@tensorflow/tfjs';
import { beforeAll, describe, expect, test } from 'vitest';
import { asInputs, FINER, type Format, isHalf, layoutOf, packFiner, packTable, stepOf, unpackWords } from '../src/blocks/packed-table.ts';
import { gatherRows, unpackRows } from '../src/blocks/unpack-table.ts';
import { fromConfig, fromPretrained, linearCrossEntropy, lossModel, meanLoss, packedMatMul } from '../src/index.ts';
import type { HeldPacked } from '../src/layers/packed-weights.ts';
import { inverseFactor, roundTogether } from '../src/quantize/gptq.ts';
import { farthest, fixtures } from './fixture.ts';

const random = (shape: number[], seed: number) => tf.randomNormal(shape, 0, 1, 'float32', seed);

beforeAll(() => useBackend('cpu')); // looking for the others made one of them current

const wordsOf = (columns: number, format: Format) => layoutOf(columns, format).words;

/** A packed table and the values that it stands for. */
function tableOf(rows: number, columns: number, seed: number, format: Format, finer: readonly number[] = []) {
  const values = tf.tidy(() => random([rows, columns], seed).dataSync()) as Float32Array;
  const words = packTable(values, columns, format);
  const table = {
    packed: tf.tensor(words, [rows, wordsOf(columns, format)], 'int32'),
    columns,
    format,
    ...(finer.length > 0 && {
      finer: {
        rows: tf.tensor1d([...finer], 'int32'),
        packed: tf.tensor(
          packFiner(values, words, Int32Array.from(finer), columns, format as 'nf4'),
          [finer.length, wordsOf(columns, FINER)],
          'int32',
        ),
      },
    }),
  };
  return { values, table, plain: unpackRows(table) };
}

const LEVELS = [
  -1, -0.6961928, -0.52507305, -0.3949175, -0.28444138, -0.18477343, -0.09105004, 0, 0.0795803, 0.1609302, 0.2461123, 0.33791524,
  0.44070983, 0.562617, 0.72295684, 1,
];
/** The squared error of rounding to bitsandbytes' levels by the largest value of each 64. */
const plainError = (values: Float32Array): number =>
  values.reduce((sum, value, i) => {
    const from = i - (i % 64);
    const scale = values.subarray(from, from + 64).reduce((most, x) => Math.max(most, Math.abs(x)), 0);
    return sum + Math.min(...LEVELS.map((level) => (level * scale - value) ** 2));
  }, 0);
const errorOf = (got: ArrayLike<number>, values: Float32Array): number => values.reduce((sum, x, i) => sum + (got[i]! - x) ** 2, 0);

test('a row is its largest scale, a byte for the scale of each group, and its codes', () => {
  expect([64, 128, 288, 768, 8, 24].map((columns) => wordsOf(columns, 'nf4'))).toEqual([10, 18, 39, 100, 3, 5]);
  expect([32, 288, 768].map((columns) => wordsOf(columns, 'nf5'))).toEqual([7, 48, 124]);
  expect([wordsOf(12, 'int8'), wordsOf(12, 'float16'), wordsOf(8, 'bfloat16')]).toEqual([5, 6, 4]);
  expect((['nf4', 'nf5', 'int8', 'float16', 'bfloat16'] as const).map(stepOf)).toEqual([8, 32, 4, 4, 4]);
});

test('every value becomes one of the 16 levels of bitsandbytes, times a scale that loses less than the largest value would', () => {
  const { values, table, plain } = tableOf(6, 64, 1, 'nf4');
  const got = plain.dataSync() as Float32Array;
  for (let row = 0; row < 6; row++) {
    const own = got.subarray(64 * row, 64 * (row + 1));
    const top = new Float32Array(Int32Array.of((table.packed.dataSync() as Int32Array)[10 * row]!).buffer)[0]!; // one group: its scale
    for (const value of own) expect(Math.min(...LEVELS.map((level) => Math.abs(level * top - value)))).toBeLessThan(1e-6);
  }
  expect(errorOf(got, values)).toBeLessThan(0.95 * plainError(values));
  tf.dispose([plain, table.packed]);
});

test('zeros stay', () => {
  for (const format of ['nf4', 'nf5', 'int8', 'float16', 'bfloat16'] as const) {
    const zeros = {
      packed: tf.tensor(packTable(new Float32Array(64), 64, format), [1, wordsOf(64, format)], 'int32'),
      columns: 64,
      format,
    };
    const back = unpackRows(zeros);
    expect(back.dataSync().every((value: number) => Math.abs(value) === 0)).toBe(true);
    tf.dispose([back, zeros.packed]);
  }
});

test('each bit takes three quarters of the squared error; finer rows lose next to nothing, others what they lost', () => {
  const [four, five, eight, finer] = [
    tableOf(6, 64, 1, 'nf4'),
    tableOf(6, 64, 1, 'nf5'),
    tableOf(6, 64, 1, 'int8'),
    tableOf(6, 64, 1, 'nf4', [1, 4]),
  ];
  const errors = [four, five, eight].map(({ plain, values }) => errorOf(plain.dataSync(), values));
  expect(errors[1]! / errors[0]!).toBeLessThan(0.35);
  expect(errors[2]! / errors[0]!).toBeLessThan(0.01);
  const row = (of: typeof four, i: number) => (of.plain.dataSync() as Float32Array).subarray(64 * i, 64 * (i + 1));
  for (const i of [0, 2, 3, 5]) expect([...row(finer, i)]).toEqual([...row(four, i)]);
  for (const i of [1, 4]) {
    const own = four.values.subarray(64 * i, 64 * (i + 1));
    expect(errorOf(row(finer, i), own)).toBeLessThan(0.02 * errorOf(row(four, i), own));
  }
  tf.dispose([four, five, eight, finer].flatMap(({ plain, table }) => [plain, ...Object.values(asInputs(table))]));
});

test('rounding with a Hessian changes the output less than rounding each value', () => {
  tf.tidy(() => {
    const [rows, columns] = [16, 64];
    const values = random([rows, columns], 5).dataSync() as Float32Array;
    const x = tf.matMul(random([256, 8], 6), random([8, columns], 7)).add(random([256, columns], 8).mul(0.1)) as tf.Tensor2D;
    const hessian = Float64Array.from(tf.matMul(x, x, true).dataSync());
    const lost = (words: Int32Array) => {
      const table = { packed: tf.tensor(words, [rows, wordsOf(columns, 'nf4')], 'int32'), columns, format: 'nf4' as const };
      return errorOf(
        packedMatMul(x, table).dataSync(),
        tf.matMul(x, tf.tensor(values, [rows, columns]), false, true).dataSync() as Float32Array,
      );
    };
    const [together, alone] = [
      lost(packTable(values, columns, 'nf4', roundTogether(hessian, columns, 0.01))),
      lost(packTable(values, columns, 'nf4')),
    ];
    expect(together).toBeLessThan(0.5 * alone);
  });
});

test('the factor of an inverse: Uᵀ U H = 1', () => {
  const n = 5;
  const a = Float64Array.from({ length: n * n }, (_, i) => Math.sin(i + 1));
  const h = new Float64Array(n * n);
  for (let i = 0; i < n; i++)
    for (let j = 0; j < n; j++) for (let k = 0; k < n; k++) h[i * n + j]! += a[k * n + i]! * a[k * n + j]! + (i === j ? 0.1 : 0);
  const u = inverseFactor(h, n);
  for (let i = 0; i < n; i++)
    for (let j = 0; j < n; j++) {
      let sum = 0;
      for (let k = 0; k < n; k++) for (let l = 0; l < n; l++) sum += u[k * n + i]! * u[k * n + l]! * h[l * n + j]!;
      expect(sum).toBeCloseTo(i === j ? 1 : 0, 8);
      if (j < i) expect(u[i * n + j]).toBe(0);
    }
});

/** Of float32 of any bits, by numpy and torch. */
const halves: { readonly bits: number[]; readonly numpyFloat16: number[]; readonly torchBfloat16: number[] } = JSON.parse(
  readFileSync(join(import.meta.dirname, '../../backends/test/fixtures/half.json'), 'utf8'),
);
const formats = ['nf4', 'nf5', 'int8', 'float16', 'bfloat16'] as const;

describe.each(await available(['cpu', 'wasm', 'tensorflow', 'webgpu']))('%s', (backend) => {
  beforeAll(() => useBackend(backend));

  test.each(formats)('%s rows come as their words say: all, some, and by number', (format) => {
    tf.tidy(() => {
      const { table } = tableOf(11, 32, 5, format, format === 'nf4' ? [0, 7, 10] : []);
      const words = table.packed.dataSync() as Int32Array;
      const values = unpackWords(words, layoutOf(32, format));
      if (table.finer) {
        const more = unpackWords(table.finer.packed.dataSync() as Int32Array, layoutOf(32, FINER));
        for (const [i, row] of [0, 7, 10].entries()) for (let c = 0; c < 32; c++) values[32 * row + c]! += more[32 * i + c]!;
      }
      const far = isHalf(format) ? 0 : 1e-6;
      const rows = (which: number[]) => which.flatMap((row) => [...values.subarray(32 * row, 32 * (row + 1))]);
      expect(farthest(unpackRows(table).dataSync(), values)).toBeLessThanOrEqual(far);
      expect(farthest(unpackRows(table, 6, 3).dataSync(), rows([6, 7, 8]))).toBeLessThanOrEqual(far);
      const ids = [10, 3, 0, 10, 7];
      expect(farthest(gatherRows(table, tf.tensor1d(ids, 'int32')).dataSync(), rows(ids))).toBeLessThanOrEqual(far);
    });
  });

  test.each(['float16', 'bfloat16'] as const)('%s is what numpy and torch round to, and comes back exactly', (format) => {
    const theirs = format === 'float16' ? halves.numpyFloat16 : halves.torchBfloat16;
    const values = new Float32Array(Uint32Array.from(halves.bits).buffer);
    const words = packTable(values, values.length, format);
    const isNotANumber = (half: number) => (half & 0x7fff) > (format === 'float16' ? 0x7c00 : 0x7f80);
    const plain = (half: number) => (isNotANumber(half) ? 'NaN' : half); // of which there are many
    expect(Array.from(new Uint16Array(words.buffer), plain)).toEqual(theirs.map(plain));
    tf.tidy(() => {
      const table = { packed: tf.tensor(words, [1, words.length], 'int32'), columns: values.length, format };
      const back = packTable(unpackRows(table).dataSync() as Float32Array, values.length, format);
      expect(Array.from(new Uint16Array(back.buffer), plain)).toEqual(theirs.map(plain));
    });
  });

  test('a step on a packed table makes no copy of it in float32, forward or backward', async () => {
    const [rows, columns] = [3072, 512];
    const values = Float32Array.from({ length: rows * columns }, (_, i) => Math.sin(i));
    const table = {
      packed: tf.tensor(packTable(values, columns, 'int8'), [rows, layoutOf(columns, 'int8').words], 'int32'),
      columns,
      format: 'int8',
    } as const;
    const x = tf.variable(random([2, columns], 3));
    const { result, memory } = await measure(() => valueAndGrads(() => tf.sum(packedMatMul(x, table)) as tf.Scalar, [x]));
    // blocks of 1 MiB, of which tfjs copies some; in the kernel not even these
    expect(memory.peakBytes - memory.atPeak.weights).toBeLessThan((backend === 'webgpu' ? 0.05 : 0.6) * 4 * values.length);
    tf.dispose([x, table.packed, result.value, result.grads] as tf.TensorContainer);
  });

  test.each(formats)('in %s, products and losses are those of the unpacked table, and so are their gradients', (format) => {
    const before = tf.memory().numTensors;
    tf.tidy(() => {
      const { table, plain } = tableOf(11, 32, 2, format, format === 'nf4' ? [0, 10] : []);
      const x = tf.variable(random([5, 32], 3));
      const labels = tf.tensor1d([0, 10, -100, 4, 4], 'int32');
      const dy = random([5, 11], 4);
      const pairs: (readonly [() => tf.Tensor, () => tf.Tensor])[] = [
        [
          () => tf.sum(tf.mul(packedMatMul(x, table), dy)),
          () => tf.sum(tf.mul(tf.matMul(x as tf.Tensor as tf.Tensor2D, plain as tf.Tensor2D, false, true), dy)),
        ],
        [() => tf.sum(linearCrossEntropy(x, table, labels)), () => tf.sum(linearCrossEntropy(x, plain, labels))],
      ];
      for (const [ours, theirs] of pairs) {
        const [a, b] = [ours, theirs].map((f) => valueAndGrads(f as () => tf.Scalar, [x]));
        expect(farthest(a!.value.dataSync(), b!.value.dataSync())).toBeLessThan(1e-5);
        expect(farthest(a!.grads[x.name]!.dataSync(), b!.grads[x.name]!.dataSync())).toBeLessThan(1e-5);
        expect(
          farthest(tf.variableGrads(ours as () => tf.Scalar, [x]).grads[x.name]!.dataSync(), b!.grads[x.name]!.dataSync()),
        ).toBeLessThan(1e-5);
      }
      x.dispose();
    });
    expect(tf.memory().numTensors).toBe(before);
  });
});

describe.each(await available(['webgpu']))('%s without our kernels', (backend) => {
  test('a packed table is refused, not misread', async () => {
    await useBackend(backend);
    const kernels = ['UnpackTable', 'PackedMatMul'].map((kernel) => tf.getKernel(kernel, backend));
    for (const { kernelName } of kernels) tf.unregisterKernel(kernelName, backend);
    try {
      tf.tidy(() => {
        const packed = tf.zeros([2, wordsOf(32, 'nf4')], 'int32');
        expect(() => packedMatMul(tf.ones([1, 32]), { packed, columns: 32, format: 'nf4' })).toThrow(
          /packed table on webgpu; expected cpu, wasm or tensorflow/,
        );
      });
    } finally {
      for (const kernel of kernels) {
        if (tf.getKernel(kernel.kernelName, backend)) tf.unregisterKernel(kernel.kernelName, backend); // the composed one
        tf.registerKernel(kernel);
      }
    }
  });
});

describe('a model', () => {
  beforeAll(() => useBackend('wasm'));
  const config = {
    model_type: 'llama',
    architectures: ['LlamaForCausalLM'],
    vocab_size: 512,
    hidden_size: 128,
    intermediate_size: 256,
    num_hidden_layers: 3,
    num_attention_heads: 4,
    tie_word_embeddings: true,
  };

  test('takes 0.55 bytes a parameter; norms alone train, and keep none of its tables', async () => {
    const model = fromConfig(config, { storage: 'nf4' });
    const bytes = model.weights.reduce((sum, weight) => sum + weight.read().size * 4, 0);
    const parameters = 512 * 128 + 3 * (4 * 128 * 128 + 3 * 128 * 256 + 2 * 128) + 128;
    // 1/2, 8 bytes a row, and the norms in float32
    expect(bytes / parameters).toBeLessThan(0.57);
    const trainer = lossModel(model);
    const ids = tf.tensor2d([[1, 2, 3, 4]], [1, 4], 'int32');
    const { result, memory } = await measure(() =>
      valueAndGrads(() => meanLoss(ids, trainer.apply([ids, ids], { training: true }) as tf.Tensor)),
    );
    expect(Object.keys(result.grads).length).toBe(7);
    const kernels = memory.kept.map(({ kernel }) => kernel);
    expect(kernels).not.toContain('PackedMatMul');
    expect(memory.atPeak.weights).toBeLessThan(1.1 * bytes);
    tf.dispose([ids, result.value, result.grads] as tf.TensorContainer);
    trainer.dispose();
    model.dispose();
  });

  test('rows that do not fill words are refused by name', async () => {
    await expect(fromPretrained(join(fixtures, 'llama3'), { storage: 'nf4' })).rejects.toThrow(
      /"model.layers.0.mlp.down_proj" has rows of 12 values; nf4 needs a multiple of 8/,
    );
  });

  test.each([
    ['gpt2', 'nf4'],
    ['llama3', 'float16'],
    ['bert-sequence', 'int8'],
    ['distilbert-token', 'bfloat16'],
    ['vit', 'int8'],
  ] as const)('%s in %s equals the model of its rounded tables, and is saved and loaded', async (name, storage) => {
    const [packed, plain] = [await fromPretrained(join(fixtures, name), { storage }), await fromPretrained(join(fixtures, name))];
    let rounded = 0;
    for (const layer of plain.layers) {
      const { packedWeight } = packed.getLayer(layer.name) as { packedWeight?: HeldPacked };
      if (!packedWeight) continue;
      tf.tidy(() => layer.setWeights([packedWeight.read(), ...layer.getWeights().slice(1)]));
      rounded++;
    }
    expect(rounded).toBeGreaterThan(8);
    const inputs = packed.inputs.map(({ name: input, shape }) => {
      if (input === 'pixel_values') return random([1, ...(shape.slice(1) as number[])], 1);
      return input === 'input_ids' ? tf.tensor2d([[5, 6, 7]], [1, 3], 'int32') : tf.ones([1, 3], 'int32');
    });
    const [a, b] = [packed.predict(inputs) as tf.Tensor, plain.predict(inputs) as tf.Tensor];
    expect(farthest(a.dataSync(), b.dataSync())).toBeLessThan(1e-5);
    let saved: tf.io.ModelArtifacts | undefined;
    await packed.save(
      tf.io.withSaveHandler(async (artifacts) => {
        saved = artifacts;
        return { modelArtifactsInfo: tf.io.getModelArtifactsInfoForJSON(artifacts) };
      }),
    );
    const again = await tf.loadLayersModel(tf.io.fromMemory(saved!));
    expect([...(again.predict(inputs) as tf.Tensor).dataSync()]).toEqual([...a.dataSync()]);
  });
});
