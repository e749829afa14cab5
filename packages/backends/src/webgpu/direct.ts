/** A product without workgroup memory: eight rows by four columns a thread. The rows come from the workgroup's id, so reads of `a` are uniform. */
import { blockAt, type Operand } from './operand.ts';
import { COLUMNS, type Direct, LANES } from './plan.ts';
import { addOuter, declareSums, entry, putSums, type Sums } from './sums.ts';

export function direct(a: Operand, b: Operand, { rows }: Direct): string {
  const sums: Sums = { rows, columns: COLUMNS };
  const left = Array.from({ length: rows / 4 }, (_, i) => blockAt('a', a, `m0 + ${4 * i}`, `a${i}`));
  const right = blockAt('b', b, 'n0', 'b0');
  const absent = left.map((_, i) => `all(a${i}_at < vec4i())`).join(' && ');
  const step = (j: number): string =>
    addOuter(
      sums,
      (i) => `left${i}[${j}]`,
      () => `right[${j}]`,
    );
  return entry(
    LANES,
    '',
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
}
