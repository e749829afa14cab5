/** A product through tiles of both operands in workgroup memory, rows x columns a thread, in registers. */
import type { Operand } from './operand.ts';
import { PADDING, type Tiles } from './plan.ts';
import { pipelined, stage } from './staging.ts';
import { addOuter, declareSums, entry, putSums } from './sums.ts';

export function tiled(a: Operand, b: Operand, plan: Tiles): string {
  const { m, n, k, rows, columns, half = false } = plan;
  const scalar = half ? 'h' : 'f';
  const [across, threads] = [n / columns, (m / rows) * (n / columns)];
  const pitch = (size: number): number => (size + PADDING.tiles) / 4; // in vectors
  const write = (tile: string, size: number) => (column: string, at: string, i: string) =>
    `${tile}[(${at}) * ${pitch(size)} + ${i} / 4] = ${column};`;
  const stages = [
    stage('a', a, `mat4x4${scalar}`, { size: m, k, threads, write: write('tileA', m) }, false),
    stage('b', b, `mat4x4${scalar}`, { size: n, k, threads, write: write('tileB', n) }, true),
  ];
  const vector = (value: string): string => (half ? `vec4f(${value})` : value);
  const list = (count: number, f: (i: number) => string): string => Array.from({ length: count }, (_, i) => f(i)).join(' ');
  // Blocks of four columns lie `across` blocks apart: neighbouring threads read neighbouring vectors.
  const step = (j: number): string => `{
        ${list(rows / 4, (i) => `let a${i} = ${vector(`tileA[(k + ${j}) * ${pitch(m)} + ty * ${rows / 4} + ${i}]`)};`)}
        ${list(columns / 4, (c) => `let b${c} = ${vector(`tileB[(k + ${j}) * ${pitch(n)} + tx + ${c * across}]`)};`)}
        ${addOuter(
          plan,
          (row) => `a${row >> 2}[${row & 3}]`,
          (c) => `b${c}`,
        )}
      }`;
  return `
var<workgroup> tileA: array<vec4${scalar}, ${k * pitch(m)}>;
var<workgroup> tileB: array<vec4${scalar}, ${k * pitch(n)}>;
${entry(
  threads,
  '',
  `let tx = local % ${across}; let ty = local / ${across};
  ${declareSums(plan)}
  ${pipelined(stages, k, `for (var k = 0u; k < ${k}; k += 4) { ${[0, 1, 2, 3].map(step).join(' ')} }`)}
  ${putSums(plan, `tileM * ${m} + ty * ${rows}`, (c) => `tileN * ${n} + (tx + ${c * across}) * 4`)}`,
)}`;
}
