/**
 * Stretches of both operands brought into workgroup memory by all threads of a workgroup, in blocks of 4 x 4. The next stretch is read into
 * registers while the present one is multiplied.
 */
import { blockAt, type Operand } from './operand.ts';

export interface Staged {
  /** Rows or columns of the tile, k steps of it at a time, and the threads that share the work. */
  readonly size: number;
  readonly k: number;
  readonly threads: number;
  /** WGSL that writes `column`, four values along the tile that begin at `i`, for step `k`. */
  readonly write: (column: string, k: string, i: string) => string;
}

/** Statements of one operand, in the order in which the loop of `pipelined` needs them. */
export interface Stage {
  readonly before: string;
  readonly segment: string;
  readonly declare: string;
  readonly fetch: string;
  readonly write: string;
}

/** @param type of a block: mat4x4f or mat4x4h. `last` puts the threads that have work at the end, where there is not enough for all. */
export function stage(name: 'a' | 'b', operand: Operand, type: string, { size, k, threads, write }: Staged, last: boolean): Stage {
  const blocks = (size / 4) * (k / 4);
  const turns = Math.ceil(blocks / threads);
  const busy = blocks < threads ? (last ? `local >= ${threads - blocks}` : `local < ${blocks}`) : '';
  const inTurns = Array.from({ length: turns }, (_, turn) => {
    const tag = `${name}${turn}`;
    const t = blocks < threads ? `local % ${blocks}` : `(local + ${turn * threads})`;
    // Neighbouring threads read neighbouring memory.
    const [along, across] = operand.form === 'rows' ? [`${tag}_k`, `${tag}_i`] : [`${tag}_i`, `${tag}_k`];
    const count = (operand.form === 'rows' ? k : size) / 4;
    const place = `let ${tag}_t = ${t}; let ${along} = (${tag}_t % ${count}) * 4; let ${across} = (${tag}_t / ${count}) * 4;`;
    const at = blockAt(name, operand, `tile${name === 'a' ? 'M' : 'N'} * ${size} + ${tag}_i`, tag);
    return {
      before: `${place} ${at.before}`,
      segment: at.segment,
      declare: `var ${tag}_block = ${type}();`,
      fetch: `${tag}_block = ${type}(); if (next + ${tag}_k < length) { ${tag}_block = ${at.load(`next + ${tag}_k`)}; }`,
      write: [0, 1, 2, 3].map((j) => write(`${tag}_block[${j}]`, `${tag}_k + ${j}`, `${tag}_i`)).join(' '),
    };
  });
  const all = (key: keyof Stage): string => inTurns.map((turn) => turn[key]).join(' ');
  const where = (code: string): string => (busy ? `if (${busy}) { ${code} }` : code);
  return {
    before: all('before'),
    segment: all('segment'),
    declare: all('declare'),
    fetch: where(all('fetch')),
    write: where(all('write')),
  };
}

/** All segments of z, `k` steps at a time. @param sum statements that add what is in workgroup memory */
export const pipelined = (stages: readonly Stage[], k: number, sum: string): string => `
  ${stages.map(({ before }) => before).join('\n  ')}
  ${stages.map(({ declare }) => declare).join(' ')}
  let range = segments(z);
  for (var s = range.x; s < range.y; s++) {
    let length = lengthOf(s, z);
    ${stages.map(({ segment }) => segment).join(' ')}
    var next = 0u;
    ${stages.map(({ fetch }) => fetch).join('\n    ')}
    while (next < length) {
      ${stages.map(({ write }) => write).join('\n      ')}
      workgroupBarrier();
      next += ${k};
      ${stages.map(({ fetch }) => fetch).join('\n      ')}
      ${sum}
      workgroupBarrier();
    }
  }`;
