/** WGSL that reads rows of a packed table (`../tables.ts`): four values at a time, which share a scale. */
import { type CodeRow, type HalfRow, isHalfRow, type TableRow } from '../../tables.ts';
import { widenings } from '../halves/half-casts.ts';

/** What tells apart the WGSL of rows. */
export const keyOf = (row: TableRow): string => [row.format, row.columns, isHalfRow(row) ? '' : row.group].join('/');

/** The function `four_<name>(i)`: the values from 4 · i on, rows one behind the other, of the words in `name`. */
export const readFours = (name: string, row: TableRow): string => (isHalfRow(row) ? halves(name, row) : inCodes(name, row));

const halves = (name: string, { format }: HalfRow): string => `
${widenings[format].replace('fn widen', `fn widen_${name}`)}
fn four_${name}(i: u32) -> vec4f {
  let low = ${name}[2 * i]; let high = ${name}[2 * i + 1];
  return bitcast<vec4f>(vec4u(widen_${name}(low & 0xffff), widen_${name}(low >> 16), widen_${name}(high & 0xffff), widen_${name}(high >> 16)));
}`;

function inCodes(name: string, { columns, group, bits, codes, fifths, words, levels }: CodeRow): string {
  const fours = columns / 4;
  const low =
    bits === 8
      ? `(vec4u(${name}[at + ${codes} + c / 4]) >> vec4u(0, 8, 16, 24)) & vec4u(255)`
      : `(vec4u(${name}[at + ${codes} + c / 8] >> (4 * (c & 4))) >> vec4u(0, 4, 8, 12)) & vec4u(15)`;
  const fifth = `(((vec4u(${name}[at + ${fifths} + c / 32] >> (c & 31)) >> vec4u(0, 1, 2, 3)) & vec4u(1)) << vec4u(4))`;
  const table = levels && `array<f32, ${levels.length}>(${levels.map((level) => Math.fround(level)).join(', ')})`;
  const value = table ? `vec4f(${[0, 1, 2, 3].map((j) => `levels_${name}[code[${j}]]`).join(', ')})` : '(vec4f(code) - 128) / 127';
  return `
${table ? `const levels_${name} = ${table};` : ''}
fn four_${name}(i: u32) -> vec4f {
  let row = i / ${fours}; let c = (i % ${fours}) * 4;
  let at = row * ${words}; let g = c / ${group};
  let scale = bitcast<f32>(${name}[at]) / 255 * f32((${name}[at + 1 + g / 4] >> (8 * (g & 3))) & 255);
  let code = ${bits === 5 ? `(${low}) | ${fifth}` : low};
  return ${value} * scale;
}`;
}
