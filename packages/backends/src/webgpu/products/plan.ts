/**
 * How a product (product.ts) is spread over the threads of a device, and which way suits it.
 *
 * `direct`: each thread reads for itself, which adapters that run on the CPU prefer, for barriers are costly and caches are large there.
 * `tiles`: through workgroup memory, for GPUs. `matrices`: the same on tensor cores, for operands in float16.
 */
import type { HalfType } from '../../half.ts';
import type { WebGPUBackend } from '../backend.ts';

export interface Direct {
  readonly kind: 'direct';
  /** Rows of c that a thread sums: 4 or 8. */
  readonly rows: number;
  /** Each thread of a workgroup, which is one subgroup, reads a row of a, and hands its values to the others. @default false: each reads all rows */
  readonly shares?: boolean;
}

/** A workgroup sums a tile of m x n, k steps of the inner axis at a time; a thread of it, rows x columns. All are multiples of 4. */
export interface Tiles {
  readonly kind: 'tiles';
  readonly m: number;
  readonly n: number;
  readonly k: number;
  readonly rows: number;
  readonly columns: number;
  /** Tiles are kept in float16, for operands that are. Needs shader-f16. Sums are float32. @default false */
  readonly half?: boolean;
}

/** What tensor cores do at once: C (M x N, float32) += A (M x K) · B (K x N), of float16. */
export interface MatrixShape {
  readonly M: number;
  readonly N: number;
  readonly K: number;
}

/** A workgroup of `down` x `across` subgroups sums a tile of m x n, k steps of the inner axis at a time. */
export interface Matrices {
  readonly kind: 'matrices';
  readonly m: number;
  readonly n: number;
  readonly k: number;
  readonly down: number;
  readonly across: number;
  readonly shape: MatrixShape;
  /** Threads of a subgroup. */
  readonly lanes: number;
}

export type Plan = Direct | Tiles | Matrices;

/** Threads along n of a direct plan: one vector of the CPU; and the columns of c that each sums. */
export const LANES = 8;
export const COLUMNS = 4;

export const smallTiles: Tiles = { kind: 'tiles', m: 64, n: 64, k: 16, rows: 8, columns: 4 };
export const largeTiles: Tiles = { kind: 'tiles', m: 128, n: 128, k: 16, rows: 8, columns: 8 };

/** Rows and columns of c, and how many such there are. */
export interface Extent {
  readonly m: number;
  readonly n: number;
  readonly depth: number;
  /** In how many pieces the inner axis may be cut, to be summed after. @default 1 */
  readonly cuts?: number;
}

/** What of float16 the device does itself, and rightly: see half-units.ts. */
export interface HalfUnits {
  readonly f16: boolean;
  readonly matrix?: { readonly shape: MatrixShape; readonly lanes: number } | undefined;
  /** f16() rounds to nearest, ties to even. @default false: it is given values that need no rounding */
  readonly casts?: boolean;
}

/** What of a product c = a · b is rounded in its kernel: operands as they are read, c with its bias as it is written. */
export interface Rounding {
  readonly half: HalfType;
  /** @default false */
  readonly a?: boolean;
  /** @default false */
  readonly b?: boolean;
  /** @default false */
  readonly c?: boolean;
}

/** Whether the device is a GPU, and not a program on the CPU. */
export function prefersTiles({ device }: WebGPUBackend): boolean {
  const { adapterInfo } = device as { adapterInfo?: { isFallbackAdapter?: boolean; description?: string; architecture?: string } };
  return !(
    adapterInfo?.isFallbackAdapter || /llvmpipe|swiftshader|software/i.test(`${adapterInfo?.description} ${adapterInfo?.architecture}`)
  );
}

export interface How {
  /** @default what suits the device and the extent */
  readonly plan?: Plan | undefined;
  /** What the device can do with operands that are float16, or may be rounded to it. @default none are */
  readonly half?: HalfUnits | undefined;
  /** @default none is rounded */
  readonly rounding?: Rounding | undefined;
}

/**
 * The plan for products of that extent: of those from large to small, the first whose workgroups keep the device busy. Large tiles read less, and
 * a long inner axis that is cut in pieces makes as many workgroups of them.
 */
export function planOf(backend: WebGPUBackend, extent: Extent, { plan, half }: How = {}): Plan {
  if (plan) return plan;
  if (!prefersTiles(backend)) return directPlan(backend);
  const { matrix, f16 = false } = half ?? {};
  const tiles = [largeTiles, smallTiles].map((tiles) => (f16 ? { ...tiles, half: f16 } : tiles));
  const cores = matrix ? [{ ...matrixPlan(128, 2, 4, matrix), n: 256 }, matrixPlan(128, 2, 2, matrix), matrixPlan(64, 2, 2, matrix)] : [];
  const able = [cores, tiles]
    .map((plans: readonly (Tiles | Matrices)[]) => plans.filter((plan) => fits(plan, backend)))
    .find(({ length }) => length > 0)!;
  return (able.find((plan) => groupsOf(plan, extent) * (extent.cuts ?? 1) >= enoughGroups(plan) / 2) ?? able.at(-1)) as Plan;
}

/** Elements between the steps of k of a tile in workgroup memory, so that they fall on different banks. */
export const PADDING = { tiles: 4, matrices: 8 } as const;

/** Whether a workgroup of the device has the memory for both tiles, and for a matrix of sums a subgroup, and the threads. */
function fits(plan: Tiles | Matrices, { device }: WebGPUBackend): boolean {
  const { maxComputeWorkgroupStorageSize: most, maxComputeInvocationsPerWorkgroup: threads } = device.limits;
  const elements = plan.k * (plan.m + plan.n + 2 * PADDING[plan.kind]);
  if (plan.kind === 'tiles') return elements * (plan.half ? 2 : 4) <= most && (plan.m / plan.rows) * (plan.n / plan.columns) <= threads;
  const { down, across, shape, lanes } = plan;
  return 2 * elements + 4 * down * across * shape.M * shape.N <= most && down * across * lanes <= threads;
}

/** SwiftShader compiles eight rows for minutes. llvmpipe reads one value for eight threads as slowly as eight, but hands it on fast. */
export function directPlan({ device }: WebGPUBackend): Direct {
  const { adapterInfo } = device as {
    adapterInfo?: { architecture?: string; subgroupMinSize?: number; subgroupMaxSize?: number };
  };
  const { architecture, subgroupMinSize, subgroupMaxSize } = adapterInfo ?? {};
  if (architecture === 'swiftshader') return { kind: 'direct', rows: 4 };
  const shares = device.features.has('subgroups') && subgroupMinSize === LANES && subgroupMaxSize === LANES;
  return { kind: 'direct', rows: 8, ...(shares && { shares }) };
}

export const matrixPlan = (size: number, down: number, across: number, { shape, lanes }: NonNullable<HalfUnits['matrix']>): Matrices => ({
  kind: 'matrices',
  m: size,
  n: size,
  k: 32,
  down,
  across,
  shape,
  lanes,
});

/** Rows and columns of c that a workgroup sums. */
export const tileOf = (plan: Plan): readonly [m: number, n: number] =>
  plan.kind === 'direct' ? [plan.rows, LANES * COLUMNS] : [plan.m, plan.n];

/** Workgroups that keep the device busy. */
export const enoughGroups = (plan: Plan): number => (plan.kind === 'direct' ? 16 : 256);

export function groupsOf(plan: Plan, { m, n, depth }: Extent): number {
  const [tileM, tileN] = tileOf(plan);
  return Math.ceil(m / tileM) * Math.ceil(n / tileN) * depth;
}
