/**
 * How attention (attention.ts) is spread over the threads of a device. A workgroup owns rows of one head, queries or, for the gradient of keys
 * and values, keys, and meets the columns, which are the others, a tile of scores at a time.
 */
import type { WebGPUBackend } from '../backend.ts';

export interface AttentionPlan {
  /** Rows of a tile that a thread takes, 4 or 8, each with four columns. */
  readonly rows: number;
  /** Threads along the rows and along the columns of a tile. */
  readonly down: number;
  readonly across: number;
  /** Values of a head in workgroup memory at a time, and columns of weights that are multiplied at a time. */
  readonly step: number;
  /** Little to compile: for adapters that run on the CPU. @default false */
  readonly compact?: boolean;
}

/** What a kernel asks of a plan. */
export interface AttentionTask {
  /** Values of a head. */
  readonly size: number;
  /** Rows of a head that there are. */
  readonly length: number;
  /** Matrices of scores that a thread has at a time, and sums of the size of its rows. */
  readonly scores: 1 | 2;
  readonly sums: 1 | 2;
}

/** Rows and columns of a tile of scores. */
export const heightOf = ({ rows, down }: AttentionPlan): number => rows * down;
export const widthOf = ({ across }: AttentionPlan): number => 4 * across;

/** Vectors of four that a thread has of each row of a sum. */
export const blocksOf = ({ across }: AttentionPlan, size: number): number => Math.ceil(size / 4 / across);

/** Vectors of workgroup memory. `left`: rows by step, or weights, rows by columns; `right`: columns by step, values, or a number a row and thread. */
export function memoryOf(plan: AttentionPlan, size: number): { readonly left: number; readonly right: number } {
  const { across, step } = plan;
  const values = (step - 1) * pitchesOf(plan, size).values + blocksOf(plan, size) * across;
  return {
    left: widthOf(plan) * pitchesOf(plan, size).rows,
    right: Math.max(step * pitchesOf(plan, size).columns, values, (across * heightOf(plan)) / 4),
  };
}

/** Vectors from one step to the next: odd, so that they fall on different banks. */
export const pitchesOf = (
  plan: AttentionPlan,
  size: number,
): { readonly rows: number; readonly columns: number; readonly values: number } => ({
  rows: heightOf(plan) / 4 + 1,
  columns: plan.across + 1,
  values: Math.ceil(size / 4) + 1,
});

const plansOf = (...shapes: readonly (readonly [rows: number, down: number, across: number])[]): readonly AttentionPlan[] =>
  shapes.flatMap(([rows, down, across]) => [32, 16, 8, 4].flatMap((step) => (step <= 2 * across ? { rows, down, across, step } : [])));
/** The fastest first, as an NVIDIA H200 ran them with heads of 64: tiles of 128 x 64 took two thirds of the time that 64 x 64 did. */
const plans = plansOf([8, 16, 16], [8, 16, 8], [8, 8, 16], [4, 16, 16], [4, 8, 16], [4, 8, 32], [4, 8, 8]);
/** Rows of tiles that fewer may fill. */
const SMALL = 64;
/** For a token at a time, as in generation. */
const few = { length: 8, plans: plansOf([4, 2, 32]) };
/** Numbers of a thread in registers, beside what it needs for a step. */
const REGISTERS = 128;

/** The plan for a task, or undefined where no workgroup has the memory. */
export function attentionPlanOf({ device }: WebGPUBackend, { size, length, scores, sums }: AttentionTask): AttentionPlan | undefined {
  const { maxComputeWorkgroupStorageSize: bytes, maxComputeInvocationsPerWorkgroup: threads } = device.limits;
  const fits = (plan: AttentionPlan): boolean => {
    const { left, right } = memoryOf(plan, size);
    const whole = (4 * Math.ceil(size / 4)) % plan.step === 0 && widthOf(plan) % plan.step === 0;
    const filled = heightOf(plan) <= Math.max(SMALL, length);
    return whole && filled && plan.down * plan.across <= threads && 16 * (left + right) <= bytes;
  };
  const registers = (plan: AttentionPlan): number => 4 * plan.rows * (scores + sums * blocksOf(plan, size));
  const from = length <= few.length ? [...few.plans, ...plans] : plans;
  return (
    from.find((plan) => registers(plan) <= REGISTERS && fits(plan)) ??
    from
      .filter(fits)
      .reduce<AttentionPlan | undefined>((best, plan) => (best && registers(best) <= registers(plan) ? best : plan), undefined)
  );
}
