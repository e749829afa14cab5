/**
 * A product without workgroup memory: eight rows by four columns a thread. All threads of a workgroup have the same rows, so each reads `a` at
 * the same places as the others; or, where they are one subgroup, a row of it, whose values it hands to the others.
 */
import { blockAt, lineAt, type Operand } from './operand.ts';
import { COLUMNS, type Direct, LANES } from './plan.ts';
import { addOuter, declareSums, entry, putSums, type Sums } from './sums.ts';

export function direct(a: Operand, b: Operand, { rows, shares = false }: Direct): string {
  const sums: Sums = { rows, columns: COLUMNS };
  const left = shares
    ? Array.from({ length: rows / LANES }, (_, i) => lineAt('a', a, `m0 + ${LANES * i} + lane`, `a${i}`))
    : Array.from({ length: rows / 4 }, (_, i) => blockAt('a', a, `m0 + ${4 * i}`, `a${i}`));
  const right = blockAt('b', b, 'n0', 'b0');
  const nowhere = left.map((_, i) => (shares ? `a${i}_at < 0` : `all(a${i}_at < vec4i())`)).join(' && ');
  const absent = shares ? `subgroupAll(${nowhere})` : nowhere;
  const value = (row: number, j: number): string =>
    shares ? `subgroupBroadcast(left${Math.floor(row / LANES)}[${j}], ${row % LANES})` : `left${row >> 2}[${j}][${row & 3}]`;
  const step = (j: number): string =>
    addOuter(
      sums,
      (row) => value(row, j),
      () => `right[${j}]`,
    );
  const body = entry(
    LANES,
    shares ? ', @builtin(subgroup_invocation_id) lane: u32' : '',
    `let m0 = tileM * ${rows}; let n0 = (tileN * ${LANES} + local) * ${COLUMNS};
  ${[...left, right].map(({ before }) => before).join('\n  ')}
  ${declareSums(sums)}
  let range = segments(z);
  for (var s = range.x; s < range.y; s++) {
    let length = lengthOf(s, z);
    ${left.map(({ segment }) => segment).join(' ')}
    ${a.form === 'rows' ? `if (${absent}) { continue; }` : ''}
    ${right.segment}
    for (var k = 0u; k < length; k += 4) {
      ${left.map(({ load }, i) => `let left${i} = ${load('k')};`).join(' ')}
      let right = ${right.load('k')};
      ${[0, 1, 2, 3].map(step).join('\n      ')}
    }
  }
  ${putSums(sums, 'm0', () => 'n0')}`,
  );
  return shares ? `@diagnostic(off, subgroup_uniformity) ${body}` : body;
}
