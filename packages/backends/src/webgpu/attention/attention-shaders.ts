/** The three shaders of attention (attention.ts): forward, the gradient of queries, and that of keys and values. */

import { declareSums, overSums } from '../products/sums.ts';
import { heightOf, widthOf } from './attention-plan.ts';
import {
  bounds,
  LEAST,
  overRows,
  overScores,
  type Rows,
  reader,
  type Side,
  scores,
  shader,
  sumsOf,
  type Tiling,
  weigh,
  write,
  writer,
} from './attention-tiles.ts';

/** The place of a head's first value. */
const originOf = (tiling: Tiling, side: Side, heads: string, head: string): string =>
  `(sequence * u.${side} * ${heads} + ${head}) * ${bounds(tiling).size}`;
/** Of a tensor the rows that the workgroup owns, and those that are the columns of a tile. */
const rows = (name: string, side: Side): Rows => ({ name, origin: side, first: 'm0' });
const columns = (name: string, side: Side): Rows => ({ name, origin: side, first: 'n0' });

/** A workgroup whose rows are queries: the keys that they are at, their documents, and the keys from `start` to `end` that any of them sees. */
const forQueries = (tiling: Tiling): string => `
  let sequence = z / u.heads; let head = z % u.heads;
  let queries = ${originOf(tiling, 'queries', 'u.heads', 'head')};
  let keys = ${originOf(tiling, 'keys', 'u.kvHeads', 'head / u.group')};
  ${overRows(tiling, (i) => `let at${i} = four(m0 + ty * ${tiling.plan.rows} + ${4 * i}) + first;`)}
  ${tiling.masked ? overRows(tiling, (i) => `let own${i} = max(documents(sequence, at${i}), vec4f(32768));`) : ''}
  let start = u32(max(0, first + i32(m0) + 1 - i32(u.window)));
  let end = u32(clamp(first + i32(m0 + u.later) + ${heightOf(tiling.plan)}, 0, i32(u.keys)));`;
/** The latest first, which meet most keys where no query sees later ones. */
const latestFirst = 'u.tiles - 1 - index / u.depth';

/** The scores of its tile. */
const ofQueries = (tiling: Tiling): string => `
  ${scores(tiling, 's', rows('q', 'queries'), columns('k', 'keys'))}
  ${overScores(tiling, (i, c) => {
    const apart = tiling.masked ? `own${i} - vec4f(document(sequence, i32(n0 + tx * 4) + ${c}))` : 'vec4f()';
    return `s${i}_${c} = score(s${i}_${c}, vec4i(i32(n0 + tx * 4) + ${c}), at${i}, ${apart});`;
  })}`;

export function forward(tiling: Tiling): string {
  const { plan } = tiling;
  const o = sumsOf(tiling, 'o');
  const high = heightOf(plan) / 4;
  const each = (f: (i: number) => string): string => overRows(tiling, f);
  const ofRow = (name: string, row: number): string => `${name}${row >> 2}[${row & 3}]`;
  const ofThread = (x: string, i: number): string => `right[${x} * ${high} + ty * ${plan.rows / 4} + ${i}]`;
  const exchange = (value: (i: number) => string, add: (i: number, x: string) => string): string => `
    ${each((i) => `${ofThread('tx', i)} = ${value(i)};`)}
    workgroupBarrier();
    for (var x = 0u; x < ${bounds(tiling).width} / 4; x++) { ${each((i) => add(i, ofThread('x', i)))} }`;
  const body = `
  ${forQueries(tiling)}
  ${declareSums(o)}
  ${each((i) => `var top${i} = vec4f(${LEAST}); var total${i} = vec4f();`)}
  for (var n0 = start; n0 < end; n0 += ${widthOf(plan)}) {
    ${ofQueries(tiling)}
    ${each((i) => `let old${i} = top${i};`)}
    ${exchange(
      (i) => `max(max(s${i}_0, s${i}_1), max(s${i}_2, s${i}_3))`,
      (i, x) => `top${i} = max(top${i}, ${x});`,
    )}
    ${overScores(tiling, (i, c) => `s${i}_${c} = exp(s${i}_${c} - top${i});`)}
    ${each((i) => `let shrink${i} = exp(old${i} - top${i}); total${i} = total${i} * shrink${i} + (s${i}_0 + s${i}_1 + s${i}_2 + s${i}_3);`)}
    ${overSums(o, (sum, row) => `${sum} *= ${ofRow('shrink', row)};`)}
    ${weigh(tiling, o, 's', columns('v', 'keys'))}
  }
  ${each((i) => `var all${i} = vec4f();`)}
  ${exchange(
    (i) => `total${i}`,
    (i, x) => `all${i} += ${x};`,
  )}
  ${each((i) => `let none${i} = at${i} + i32(u.later) < vec4i(); let share${i} = select(1 / all${i}, vec4f(), none${i});`)}
  ${write(tiling, o, rows('o', 'queries'), (row) => ofRow('share', row))}
  if (tx == 0) {
    ${each((i) => `let level${i} = select(top${i} + log(all${i}), vec4f(${LEAST}), none${i});`)}
    for (var j = 0u; j < 4; j++) {
      ${each((i) => `if (m0 + ty * ${plan.rows} + ${4 * i} + j < u.queries) { lse[z * u.queries + m0 + ty * ${plan.rows} + ${4 * i} + j] = level${i}[j]; }`)}
    }
  }`;
  const readers = [reader(tiling, 'q', 'queries'), reader(tiling, 'k', 'keys'), reader(tiling, 'v', 'keys')];
  return shader(tiling, [...readers, writer(tiling, 'o', 'queries')], latestFirst, body);
}

/** Log-sum-exp and Σ do · o of a query, which lie side by side. */
const known = `
fn known(sequence: u32, head: u32, i: u32) -> vec2f { return stats[(sequence * u.queries + min(i, u.queries - 1)) * u.heads + head]; }`;

const gradientReaders = (tiling: Tiling): string[] => [
  ...(['q', 'dy'] as const).map((name) => reader(tiling, name, 'queries')),
  ...(['k', 'v'] as const).map((name) => reader(tiling, name, 'keys')),
  known,
];

export function queryGradient(tiling: Tiling): string {
  const { plan } = tiling;
  const dq = sumsOf(tiling, 'dq');
  const body = `
  ${forQueries(tiling)}
  ${overRows(tiling, (i) => {
    const four = [0, 1, 2, 3].map((j) => `known${i}_${j}`);
    const read = four.map((name, j) => `let ${name} = known(sequence, head, m0 + ty * ${plan.rows} + ${4 * i + j});`).join(' ');
    return `${read} let lse${i} = vec4f(${four.map((x) => `${x}.x`)}); let along${i} = vec4f(${four.map((x) => `${x}.y`)});`;
  })}
  ${declareSums(dq)}
  for (var n0 = start; n0 < end; n0 += ${widthOf(plan)}) {
    ${ofQueries(tiling)}
    ${scores(tiling, 'd', rows('dy', 'queries'), columns('v', 'keys'))}
    ${overScores(tiling, (i, c) => `d${i}_${c} = exp(s${i}_${c} - lse${i}) * (d${i}_${c} - along${i}) * u.scale;`)}
    ${weigh(tiling, dq, 'd', columns('k', 'keys'))}
  }
  ${write(tiling, dq, rows('dq', 'queries'))}`;
  return shader(tiling, [...gradientReaders(tiling), writer(tiling, 'dq', 'queries')], latestFirst, body);
}

/** Rows are keys here, and columns the queries of all heads that share them. */
export function keyGradients(tiling: Tiling): string {
  const { plan, masked } = tiling;
  const [dk, dv] = [sumsOf(tiling, 'dk'), sumsOf(tiling, 'dv')];
  const ofColumn = (c: number): string => `
      let query${c} = n0 + tx * 4 + ${c}; let at${c} = i32(query${c}) + first; let known${c} = known(sequence, head, query${c});
      ${masked ? `let own${c} = max(document(sequence, at${c}), 32768);` : ''}`;
  const body = `
  let sequence = z / u.kvHeads;
  let keys = ${originOf(tiling, 'keys', 'u.kvHeads', 'z % u.kvHeads')};
  ${overRows(tiling, (i) => `let key${i} = four(m0 + ty * ${plan.rows} + ${4 * i}); ${masked ? `let document${i} = documents(sequence, key${i});` : ''}`)}
  let start = u32(max(0, i32(m0) - first - i32(u.later)));
  let end = u32(clamp(i32(m0 + u.window) + ${heightOf(plan) - 1} - first, 0, i32(u.queries)));
  ${declareSums(dk)}
  ${declareSums(dv)}
  for (var g = 0u; g < u.group; g++) {
    let head = (z % u.kvHeads) * u.group + g;
    let queries = ${originOf(tiling, 'queries', 'u.heads', 'head')};
    for (var n0 = start; n0 < end; n0 += ${widthOf(plan)}) {
      ${scores(tiling, 's', rows('k', 'keys'), columns('q', 'queries'))}
      ${scores(tiling, 'd', rows('v', 'keys'), columns('dy', 'queries'))}
      ${[0, 1, 2, 3].map(ofColumn).join('')}
      ${overScores(tiling, (i, c) => {
        const score = `score(s${i}_${c}, key${i}, vec4i(at${c}), ${masked ? `vec4f(own${c}) - document${i}` : 'vec4f()'})`;
        return `s${i}_${c} = exp(${score} - known${c}.x); d${i}_${c} = s${i}_${c} * (d${i}_${c} - known${c}.y) * u.scale;`;
      })}
      ${weigh(tiling, dv, 's', columns('dy', 'queries'))}
      ${weigh(tiling, dk, 'd', columns('q', 'queries'))}
    }
  }
  ${write(tiling, dk, rows('dk', 'keys'))}
  ${write(tiling, dv, rows('dv', 'keys'))}`;
  return shader(tiling, [...gradientReaders(tiling), writer(tiling, 'dk', 'keys'), writer(tiling, 'dv', 'keys')], 'index / u.depth', body);
}
