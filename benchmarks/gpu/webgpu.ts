/**
 * What a GPU does through WebGPU: features, limits, what its tensor cores multiply; whether each kind of product is right, and its rate by
 * plan; training steps of stock tfjs and LeanTune. pytorch.py measures the same sizes on the same card.
 *
 *   npx tsx --conditions=@leantune/source benchmarks/gpu/webgpu.ts <out.json> [--size 4096] [--small] [--seconds 100] [stage…]
 *   benchmarks/gpu/bundle.sh           makes a folder that does so on a machine with neither Node nor npm
 *
 * Stages: device, correctness, f32, half, transformer, mobilenet. Each adds its part to the file when it ends.
 */
import { parseArgs } from 'node:util';
import { encodeHalf, halfUnits, matrixConfigs, type WebGPUBackend } from '@leantune/backends/webgpu';
import * as tf from '@tensorflow/tfjs';
import { matrixUnits } from '../../packages/backends/src/webgpu/halves/half-units.ts';
import { matMul } from '../../packages/backends/src/webgpu/products/mat-mul.ts';
import {
  directPlan,
  largeTiles,
  type Matrices,
  matrixPlan,
  type Plan,
  planOf,
  smallTiles,
  type Tiles,
} from '../../packages/backends/src/webgpu/products/plan.ts';
import type { ModelSpec } from '../models/subject.ts';
import { type Engine, engines, trainingSteps, useKernels } from '../tasks/engines.ts';
import { runStages } from './stages.ts';

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    size: { type: 'string', default: '4096' },
    seconds: { type: 'string', default: '100' },
    small: { type: 'boolean', default: false },
  },
});
const [file = 'webgpu.json', ...names] = positionals;
const size = Number(values.size);
const backend = tf.backend() as WebGPUBackend;
const { device } = backend;

const transposes = { NN: {}, NT: { transposeB: true }, TN: { transposeA: true } } as const;
type Transpose = keyof typeof transposes;
type Storage = 'float32' | 'float16';

/** Plans by name; those that the device cannot run are left out. */
function plans(): { readonly [name: string]: Plan } {
  const matrix = matrixUnits(backend);
  const { f16 } = halfUnits(backend);
  const tiles = (m: number, n: number, k: number, rows: number, columns: number): Tiles => ({ kind: 'tiles', m, n, k, rows, columns });
  const fits = ({ m, n, rows, columns }: Tiles): boolean => (m / rows) * (n / columns) <= device.limits.maxComputeInvocationsPerWorkgroup;
  const all = [
    smallTiles,
    largeTiles,
    tiles(128, 64, 16, 8, 8),
    tiles(128, 64, 16, 8, 4),
    tiles(64, 64, 16, 4, 4),
    tiles(64, 64, 16, 8, 8),
    tiles(128, 128, 8, 8, 8),
    tiles(128, 128, 16, 16, 8),
    tiles(256, 128, 16, 16, 8),
    tiles(128, 128, 32, 8, 8),
  ].filter(fits);
  const named = all.map((plan) => [`tiles ${plan.m}x${plan.n}x${plan.k} by ${plan.rows}x${plan.columns}`, plan] as const);
  const halves = f16
    ? [smallTiles, largeTiles, tiles(128, 128, 32, 8, 8)].map(
        (plan) => [`f16 tiles ${plan.m}x${plan.n}x${plan.k}`, { ...plan, half: true }] as const,
      )
    : [];
  const cores =
    f16 && typeof matrix !== 'string'
      ? matrixPlans(matrix).map((plan) => [`matrices ${plan.m}x${plan.n}x${plan.k} by ${plan.down}x${plan.across}`, plan] as const)
      : [];
  return Object.fromEntries([...named, ...halves, ...cores]);
}

function matrixPlans(units: Exclude<ReturnType<typeof matrixUnits>, string>): Matrices[] {
  const square = matrixPlan(128, 2, 2, units);
  const list = [
    matrixPlan(64, 2, 2, units),
    matrixPlan(128, 2, 4, units),
    square,
    { ...square, k: 64 },
    { ...square, m: 64 },
    { ...matrixPlan(128, 2, 4, units), n: 256 },
  ];
  // in software each accumulator of a tile is compiled for long
  return values.small ? list.slice(0, 1) : list;
}

const isHalf = (plan: Plan): boolean => plan.kind === 'matrices' || (plan.kind === 'tiles' && plan.half === true);

/** a and b as stored, read by `matMul` in the shape of their values. */
function operands([m, k, n]: readonly [number, number, number], transpose: Transpose, storage: Storage) {
  const shapes = [transpose === 'TN' ? [k, m] : [m, k], transpose === 'NT' ? [n, k] : [k, n]] as const;
  const floats = shapes.map((shape, i) => tf.randomUniform([...shape], -1, 1, 'float32', i + 1)) as [tf.Tensor, tf.Tensor];
  const held = storage === 'float16' ? floats.map((x) => encodeHalf(x)) : floats;
  const views = held.map((x, i) => ({ dataId: x.dataId, dtype: x.dtype, shape: [...(shapes[i] as number[])] }));
  return { floats, a: views[0] as tf.TensorInfo, b: views[1] as tf.TensorInfo, dispose: () => tf.dispose([floats, held]) };
}

/** The largest error of an odd shape against float64, in units of the largest value. */
async function errorOf(plan: Plan, transpose: Transpose, storage: Storage): Promise<number> {
  const [m, k, n] = [197, 173, 101];
  const { floats, a, b, dispose } = operands([m, k, n], transpose, storage);
  const y = tf.engine().makeTensorFromTensorInfo(matMul(backend, a, b, { ...transposes[transpose], plan }));
  const [x, w, got] = [await floats[0].data(), await floats[1].data(), await y.data()];
  let [error, largest] = [0, 0];
  for (let r = 0; r < m; r++)
    for (let c = 0; c < n; c++) {
      let sum = 0;
      for (let i = 0; i < k; i++)
        sum += (x[transpose === 'TN' ? i * m + r : r * k + i] as number) * (w[transpose === 'NT' ? c * k + i : i * n + c] as number);
      const difference = Math.abs(sum - (got[r * n + c] as number));
      error = Math.max(error, Number.isNaN(difference) ? Number.POSITIVE_INFINITY : difference);
      largest = Math.max(largest, Math.abs(sum));
    }
  y.dispose();
  dispose();
  return Number((error / largest).toPrecision(3));
}

/** The best of several batches of products that one read waits for. */
async function teraflops(plan: Plan, transpose: Transpose, storage: Storage): Promise<number> {
  const { a, b, dispose } = operands([size, size, size], transpose, storage);
  const batch = async (products: number): Promise<number> => {
    const start = performance.now();
    let last: tf.Tensor | undefined;
    for (let i = 0; i < products; i++) {
      last?.dispose();
      last = tf.engine().makeTensorFromTensorInfo(matMul(backend, a, b, { ...transposes[transpose], plan }));
    }
    const corner = tf.slice(last as tf.Tensor, [0, 0], [1, 1]);
    await corner.data();
    tf.dispose([last as tf.Tensor, corner]);
    return performance.now() - start;
  };
  await batch(1);
  const products = Math.max(1, Math.min(50, Math.round(60 / (await batch(1)))));
  let best = Number.POSITIVE_INFINITY;
  for (let i = 0; i < 4; i++) best = Math.min(best, await batch(products));
  dispose();
  return Number(((2 * size ** 3 * products) / best / 1e9).toPrecision(3));
}

/** `f` of each name, noted as it goes; an error is its result. */
async function each(keys: readonly string[], note: (part: object) => void, f: (key: string) => Promise<unknown>): Promise<object> {
  const results: { [key: string]: unknown } = {};
  for (const key of keys) {
    results[key] = await f(key).catch((error: Error) => `failed: ${error.message.slice(0, 300)}`);
    note(results);
  }
  return results;
}

const overTransposes = async (f: (transpose: Transpose) => Promise<number>) => ({
  NN: await f('NN'),
  NT: await f('NT'),
  TN: await f('TN'),
});

/** Milliseconds of a step of each engine, in turns, after two that compile. */
const trainingStage = (spec: ModelSpec, batch: number) => async (note: (part: object) => void) => {
  const times: { [engine in Engine]: number[] } = { stock: [], leantune: [] };
  const losses: { [engine in Engine]: number[] } = { stock: [], leantune: [] };
  const steps = trainingSteps(spec, batch);
  const least = (engine: Engine): number => Number(Math.min(...times[engine]).toPrecision(4));
  for (let i = -2; i < (values.small ? 2 : 12); i++)
    for (const engine of engines) {
      useKernels(engine);
      const start = performance.now();
      losses[engine].push(await steps[engine]());
      if (i >= 0) times[engine].push(performance.now() - start);
      if (i >= 0)
        note({
          spec,
          batch,
          losses,
          milliseconds: { stock: least('stock'), leantune: least('leantune') },
          timesAsFast: least('stock') / least('leantune'),
        });
    }
  useKernels('leantune');
  return {};
};

const block = (width: number, heads: number, tokens: number): ModelSpec => ({
  name: 'encoder',
  layers: 1,
  width,
  heads,
  inner: 4 * width,
  vocabulary: 2000,
  tokens,
  classes: 6,
});

await runStages(
  {
    device: async () => {
      const { adapterInfo } = device as unknown as { adapterInfo: { [key: string]: unknown } };
      const pick = (o: object, keys: readonly string[]) =>
        Object.fromEntries(keys.map((key) => [key, (o as { [key: string]: unknown })[key]]));
      const limits: string[] = [];
      for (const name in device.limits) limits.push(name);
      return {
        date: new Date().toISOString(),
        adapter: pick(adapterInfo, ['vendor', 'architecture', 'device', 'description', 'subgroupMinSize', 'subgroupMaxSize']),
        features: [...device.features],
        limits: pick(device.limits, limits),
        subgroupMatrixConfigs: matrixConfigs(backend).map((config) =>
          pick(config, ['componentType', 'resultComponentType', 'M', 'N', 'K']),
        ),
        half: halfUnits(backend),
        chosen: {
          f32: planOf(backend, { m: size, n: size, depth: 1 }),
          half: planOf(backend, { m: size, n: size, depth: 1 }, { half: halfUnits(backend) }),
        },
      };
    },
    correctness: async (note) => {
      const all: { [name: string]: Plan } = { direct: directPlan(backend), ...plans() };
      const chosen = values.small
        ? Object.keys(all).filter((name) => /^direct|64x64x16 by 8x4|f16 tiles 64|matrices/.test(name))
        : Object.keys(all);
      return each(chosen, note, async (name) => ({
        float32: await overTransposes((transpose) => errorOf(all[name] as Plan, transpose, 'float32')),
        ...((halfUnits(backend).f16 || !isHalf(all[name] as Plan)) && {
          float16: await overTransposes((transpose) => errorOf(all[name] as Plan, transpose, 'float16')),
        }),
      }));
    },
    f32: async (note) => {
      const candidates = Object.entries(plans()).filter(([, plan]) => !isHalf(plan));
      const shapes = values.small ? [] : candidates;
      const NN = await each(
        shapes.map(([name]) => name),
        note,
        (name) => teraflops(plans()[name] as Plan, 'NN', 'float32'),
      );
      const plan = planOf(backend, { m: size, n: size, depth: 1 });
      return { size, ...NN, chosen: await overTransposes((transpose) => teraflops(plan, transpose, 'float32')) };
    },
    half: async (note) => {
      const candidates = Object.entries(plans()).filter(([name, plan]) => isHalf(plan) || /^tiles 128x128x16 by 8x8/.test(name));
      const keys = candidates
        .filter(() => !values.small)
        .flatMap(([name]) => [`${name}, float16`, `${name}, float32 rounded as it is read`]);
      await each(keys, note, async (key) => {
        const plan = plans()[key.replace(/, float.*/, '')] as Plan;
        return teraflops(plan, 'NN', key.endsWith('float16') ? 'float16' : 'float32');
      });
      const plan = planOf(backend, { m: size, n: size, depth: 1 }, { half: halfUnits(backend) });
      return { size, chosen: await overTransposes((transpose) => teraflops(plan, transpose, 'float16')) };
    },
    transformer: values.small ? trainingStage(block(64, 4, 32), 2) : trainingStage(block(768, 12, 256), 16),
    mobilenet: values.small
      ? trainingStage({ name: 'mobilenet-v2', size: 32, width: 0.35, classes: 10 }, 2)
      : trainingStage({ name: 'mobilenet-v2', size: 224, width: 1, classes: 10 }, 32),
  },
  { file, names, seconds: Number(values.seconds) },
);
process.exit(0);
