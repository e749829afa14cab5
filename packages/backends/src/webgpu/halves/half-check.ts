/** Holds float16 products of a device against float32 once, when its backend starts: see half-units.ts. */
import { narrow, widen } from '../../half.ts';
import type { WebGPUBackend } from '../backend.ts';
import { matMul } from '../products/mat-mul.ts';
import { directPlan, matrixPlan, type Plan, prefersTiles, smallTiles } from '../products/plan.ts';
import { encode } from './half.ts';
import { isChecked, matrixUnits, setHalfUnits } from './half-units.ts';

/** Rows, inner and columns: no multiples of any tile. */
const [M, K, N] = [37, 45, 29];
/** Halves without rounding. */
const values = (size: number, seed: number): Float32Array =>
  Float32Array.from({ length: size }, (_, i) => (((i + seed) * 2654435761) % 2048) / 1024 - 1);

/** Finds what the device does with float16, and what not and why. */
export async function checkHalf(backend: WebGPUBackend): Promise<void> {
  if (isChecked(backend)) return;
  if (!backend.device.features.has('shader-f16')) return setHalfUnits(backend, { f16: false, reasons: ['the adapter has no shader-f16'] });
  const tiles = prefersTiles(backend);
  setHalfUnits(backend, { f16: true, reasons: [] });
  const wrong = await fault(backend, tiles ? { ...smallTiles, half: true } : directPlan(backend));
  if (wrong) return setHalfUnits(backend, { f16: false, reasons: [`shader-f16 ${wrong}`] });
  const matrix = tiles ? matrixUnits(backend) : 'an adapter that runs on the CPU has no tensor cores';
  const fails = typeof matrix === 'string' ? matrix : await fault(backend, matrixPlan(64, 2, 2, matrix));
  const casts = await castsAsIEEE(backend);
  const reasons = [...(fails ? [`subgroup matrices: ${fails}`] : []), ...(casts ? [] : ['f16() rounds in another way than IEEE 754'])];
  setHalfUnits(backend, { f16: true, casts, reasons, ...(!fails && { matrix: matrix as never }) });
}

/** Whether f16() takes floats, in a column times 1, to the nearest halves: ties, subnormals, and what overflows among them. */
async function castsAsIEEE(backend: WebGPUBackend): Promise<boolean> {
  const [bits, x] = [new Uint32Array(1), new Float32Array(4096)];
  const near = x.map((_, i) => {
    bits[0] = ((i * 2654435761) & 0x8fffffff) | (0x30000000 + (((i * 40503) & 0xff) << 20)); // from 2⁻³¹ to beyond 65504
    if (i % 2 === 0) bits[0] = (bits[0]! & ~0x1fff) | 0x1000; // a tie of normal halves
    x[i] = new Float32Array(bits.buffer)[0]!;
    bits[0] = widen.float16(narrow.float16(bits[0]!));
    return new Float32Array(bits.buffer)[0]!;
  });
  setHalfUnits(backend, { f16: true, casts: true, reasons: [] });
  const made = [
    backend.makeTensorInfo([x.length, 1], 'float32', x),
    backend.makeTensorInfo([1, 4], 'float32', Float32Array.of(1, 1, 1, 1)),
  ];
  try {
    const c = matMul(backend, made[0]!, made[1]!, { plan: { ...smallTiles, half: true }, rounding: { half: 'float16', a: true } });
    made.push(c);
    const got = (await backend.read(c.dataId)) as Float32Array;
    return got.every((value, i) => Object.is(value + 0, near[Math.floor(i / 4)]! + 0)); // a sum has no negative zero
  } catch {
    return false;
  } finally {
    for (const { dataId } of made) backend.disposeData(dataId);
  }
}

/** What is wrong with a product by that plan. */
async function fault(backend: WebGPUBackend, plan: Plan): Promise<string | undefined> {
  const [x, y] = [values(M * K, 1), values(K * N, 2)];
  const made = [backend.makeTensorInfo([M, K], 'float32', x), backend.makeTensorInfo([K, N], 'float32', y)];
  try {
    made.push(...made.map((value) => encode(backend, value, 'float16')));
    const c = matMul(backend, { ...made[2]!, shape: [M, K] }, { ...made[3]!, shape: [K, N] }, { plan });
    made.push(c);
    const got = (await backend.read(c.dataId)) as Float32Array;
    const off = Array.from({ length: M * N }, (_, i) => Math.abs(got[i]! - product(x, y, Math.floor(i / N), i % N)));
    const worst = Math.max(...off.map((error) => (error >= 0 ? error : Number.POSITIVE_INFINITY)));
    return worst < 1e-4 ? undefined : `gives products that are wrong by ${worst} on this driver`;
  } catch (error) {
    return `fails: ${(error as Error).message}`;
  } finally {
    for (const { dataId } of made) backend.disposeData(dataId);
  }
}

function product(x: Float32Array, y: Float32Array, row: number, column: number): number {
  let sum = 0;
  for (let k = 0; k < K; k++) sum += x[row * K + k]! * y[k * N + column]!;
  return sum;
}
