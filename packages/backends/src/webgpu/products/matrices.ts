/**
 * A product on tensor cores, through WGSL's subgroup matrices: float16 operands in workgroup memory, sums in float32, which leave their
 * matrices through workgroup memory too, for a matrix has no elements that a shader could name.
 *
 * Chromium's chromium_experimental_subgroup_matrix, of which gpuweb's proposals/subgroup-matrix.md is the description.
 */
import type { Operand } from './operand.ts';
import { type Matrices, PADDING } from './plan.ts';
import { pipelined, stage } from './staging.ts';
import { entry } from './sums.ts';

export function matrices(a: Operand, b: Operand, { m, n, k, down, across, shape, lanes }: Matrices): string {
  const { M, N, K } = shape;
  const threads = down * across * lanes;
  const pitch = (size: number): number => size + PADDING.matrices; // in halves
  const write = (tile: string, size: number) => (column: string, at: string, i: string) =>
    `{ let w = bitcast<vec2u>(${column}); let at = ((${at}) * ${pitch(size)} + ${i}) / 2; ${tile}[at] = w.x; ${tile}[at + 1] = w.y; }`;
  const stages = [
    stage('a', a, 'mat4x4h', { size: m, k, threads, write: write('tileA', m) }, false),
    stage('b', b, 'mat4x4h', { size: n, k, threads, write: write('tileB', n) }, true),
  ];
  const [rows, columns] = [m / down / M, n / across / N];
  const list = (count: number, f: (i: number) => string): string => Array.from({ length: count }, (_, i) => f(i)).join('\n        ');
  const overAll = (f: (i: number, j: number) => string): string => list(rows, (i) => list(columns, (j) => f(i, j)));
  // Both tiles lie with step k as their row. Offsets and strides count words of two halves.
  const left = (i: number): string =>
    `let left${i} = subgroupMatrixLoad<subgroup_matrix_left<f16, ${K}, ${M}>, col_major>(&tileA, (k * ${pitch(m)} + row + ${i * M}) / 2, ${pitch(m) / 2});`;
  const right = (j: number): string =>
    `let right${j} = subgroupMatrixLoad<subgroup_matrix_right<f16, ${N}, ${K}>, row_major>(&tileB, (k * ${pitch(n)} + column + ${j * N}) / 2, ${pitch(n) / 2});`;
  const sum = `for (var k = 0u; k < ${k}; k += ${K}) {
        ${list(rows, left)}
        ${list(columns, right)}
        ${overAll((i, j) => `acc${i}_${j} = subgroupMatrixMultiplyAccumulate(left${i}, right${j}, acc${i}_${j});`)}
      }`;
  const fours = (M * N) / 4; // of a matrix, in vectors
  const put = (i: number, j: number): string => `
  subgroupMatrixStore<row_major>(&sums, subgroup * ${M * N}, acc${i}_${j}, ${N});
  workgroupBarrier();
  for (var e = local; e < ${down * across * fours}; e += ${threads}) {
    let which = e / ${fours}; let r = (e % ${fours}) / ${N / 4}; let c = (e % ${N / 4}) * 4;
    put(m0 + (which / ${across}) * ${m / down} + ${i * M} + r, n0 + (which % ${across}) * ${n / across} + ${j * N} + c, z,
      vec4f(sums[e * 4], sums[e * 4 + 1], sums[e * 4 + 2], sums[e * 4 + 3]));
  }
  workgroupBarrier();`;
  return `
var<workgroup> tileA: array<u32, ${(k * pitch(m)) / 2}>;
var<workgroup> tileB: array<u32, ${(k * pitch(n)) / 2}>;
var<workgroup> sums: array<f32, ${down * across * M * N}>;
${entry(
  threads,
  ', @builtin(subgroup_id) subgroup: u32',
  `let m0 = tileM * ${m}; let n0 = tileN * ${n};
  let row = (subgroup / ${across}) * ${m / down}; let column = (subgroup % ${across}) * ${n / across};
  ${overAll((i, j) => `var acc${i}_${j} = subgroup_matrix_result<f32, ${N}, ${M}>();`)}
  ${pipelined(stages, k, sum)}
  ${overAll(put)}`,
)}`;
}
