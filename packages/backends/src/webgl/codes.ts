/**
 * Codes of values that wait for backward in words of 24 bits, which float32 textures hold exactly: 24 / bits codes a word, so 4 bits a value
 * take 2n/3 bytes. Rows have their bounds in two float32 before their words. Otherwise as on every backend: `../codes.ts`.
 */
import type * as tf from '@tensorflow/tfjs-core';
import { deltasOf } from '../codes.ts';
import { input, type Kernel, type KernelMap } from '../kernels.ts';
import { type Glsl, perWord, rowLength, run, size, type WebglBackend } from './program.ts';

type Codes = KernelMap<WebglBackend, tf.TensorInfo>;

const float = (value: number): string => {
  const text = `${Math.fround(value)}`;
  return /[.e]/.test(text) ? text : `${text}.0`;
};
/** What is nearer to zero than 2^-126 may be taken for zero. */
const isAbove = (border: number): string => (Math.abs(border) >= 2 ** -126 ? `x > ${float(border)}` : border < 0 ? 'x >= 0.0' : 'x > 0.0');

/** GLSL of the code of `bits` in a word. */
export const codeIn = (word: string, k: string, bits: number): string =>
  `((int(${word}) >> ((${k}) % ${perWord(bits)} * ${bits})) & ${2 ** bits - 1})`;

/** GLSL of a word that packs `code(i)` for i from `first` to before `last`. */
export const packed = (bits: number): string => `
float pack(int first, int last) {
  float word = 0.0;
  float place = 1.0;
  for (int i = first; i < min(first + ${perWord(bits)}, last); i++) { word += place * code(i); place *= ${2 ** bits}.0; }
  return word;
}`;

const steps: Codes = {
  EncodeSteps: (inputs, { borders, codes, bits }, backend) => {
    const x = input(inputs, 'x');
    const n = size(x);
    const [first, ...deltas] = deltasOf(codes);
    const changes = deltas.map((delta, i) => `if (${isAbove(borders[i])}) c += ${float(delta)};`);
    const code = `float code(int i) { float x = getX(i); float c = ${float(first!)}; ${changes.join(' ')} return c; }`;
    const at = perWord(bits);
    return run(backend, { x }, [Math.ceil(n / at)], `${code} ${packed(bits)}`, `pack(i * ${at}, ${n})`);
  },

  DecodeSteps: (inputs, { levels, bits, shape }, backend) => {
    const { dy } = inputs;
    const chosen = levels.slice(1).map((level: number, i: number) => `if (code >= ${i + 1}) level = ${float(level)};`);
    const functions = `float levelOf(int code) { float level = ${float(levels[0])}; ${chosen.join(' ')} return level; }`;
    const value = `levelOf(${codeIn(`getCodes(i / ${perWord(bits)})`, 'i', bits)})`;
    const given = { codes: input(inputs, 'codes'), ...(dy && { dy }) };
    return run(backend, given, shape, functions, dy ? `getDy(i) * ${value}` : value);
  },
};

/** In [0, 1), from the place of a value and a seed: Jarzynski and Olano 2020, "Hash functions for GPU rendering" (pcg). */
const chance = (seed: number): string => `
float chance(int place) {
  uint state = (uint(place) ^ ${seed >>> 0}u) * 747796405u + 2891336453u;
  uint word = ((state >> ((state >> 28u) + 4u)) ^ state) * 277803737u;
  return float(((word >> 22u) ^ word) >> 8u) * ${2 ** -24};
}`;

/** GLSL of the k-th value of a row. */
const decode = (group: number, bits: number): string => `
float value(int row, int k) {
  int at = row * ${rowLength(group, bits)};
  return getCodes(at) + float(${codeIn(`getCodes(at + 2 + k / ${perWord(bits)})`, 'k', bits)}) * getCodes(at + 1);
}`;

/** A pair of numbers for each row, one behind the other: GLSL that loops over `k`, with `row`, changes `a` and `b`, and ends them. */
function pairs(backend: WebglBackend, inputs: Glsl, rows: number, functions: string, body: string): tf.TensorInfo {
  const code = `${functions} float pairOf(int row, int side) { float a = 0.0; float b = 0.0; ${body} return side == 0 ? a : b; }`;
  return run(backend, inputs, [2 * rows], code, 'pairOf(i / 2, i % 2)');
}

/** dx from `pairs` of each row: a second program reads them. */
function gradient(backend: WebglBackend, inputs: Glsl, group: number, functions: string, body: string, value: string): tf.TensorInfo {
  const dy = inputs['dy']!;
  const pair = pairs(backend, inputs, size(dy) / group, functions, body);
  try {
    return run(backend, { ...inputs, pair }, dy.shape, functions, `${value}`);
  } finally {
    backend.disposeData(pair.dataId);
  }
}

const rows: Codes = {
  QuantizeRows: (inputs, { bits, group, seed }, backend) => {
    const x = input(inputs, 'x');
    const n = size(x);
    const count = Math.ceil(n / group);
    const last = 2 ** bits - 1;
    const bounds = pairs(
      backend,
      { x },
      count,
      '',
      `
      int start = row * ${group}; int end = min(start + ${group}, ${n});
      a = getX(start); float most = a;
      for (int i = start; i < end; i++) { float v = getX(i); a = min(a, v); most = max(most, v); }
      b = (most - a) / ${last}.0;`,
    );
    try {
      const functions = `${seed ? chance(seed) : ''}
float code(int i) {
  int row = i / ${group}; float step = getBounds(2 * row + 1);
  float v = step > 0.0 ? (getX(i) - getBounds(2 * row)) / step : 0.0;
  return floor(clamp(v + ${seed ? 'chance(i)' : '0.5'}, 0.0, ${last}.0));
}
${packed(bits)}
float wordOf(int row, int k) {
  int start = row * ${group};
  return k < 2 ? getBounds(2 * row + k) : pack(start + (k - 2) * ${perWord(bits)}, min(start + ${group}, ${n}));
}`;
      const each = rowLength(group, bits);
      const rest = n % group;
      const words = Math.floor(n / group) * each + (rest > 0 ? rowLength(rest, bits) : 0);
      return run(backend, { x, bounds }, [words], functions, `wordOf(i / ${each}, i % ${each})`);
    } finally {
      backend.disposeData(bounds.dataId);
    }
  },

  DequantizeRows: (inputs, { bits, group, shape }, backend) =>
    run(backend, { codes: input(inputs, 'codes') }, shape, decode(group, bits), `value(i / ${group}, i % ${group})`),

  SoftmaxGradRows: (inputs, { bits, group }, backend) =>
    gradient(
      backend,
      { codes: input(inputs, 'codes'), dy: input(inputs, 'dy') },
      group,
      decode(group, bits),
      `for (int k = 0; k < ${group}; k++) { float y = value(row, k); a += y; b += y * getDy(row * ${group} + k); }
      b = a > 0.0 ? b / a : b;`,
      `value(i / ${group}, i % ${group}) * (getDy(i) - getPair(2 * (i / ${group}) + 1))`,
    ),

  NormGradRows: (inputs, { bits, group }, backend) => {
    const { mean, scale } = inputs;
    const given: Glsl = {
      ...{ codes: input(inputs, 'codes'), dy: input(inputs, 'dy'), rstd: input(inputs, 'rstd') },
      ...(mean && { mean }),
      ...(scale && { scale }),
    };
    const functions = `${decode(group, bits)}
float gOf(int row, int k) { return getDy(row * ${group} + k)${scale ? ' * getScale(k)' : ''}; }
float zOf(int row, int k) { return (value(row, k)${mean ? ' - getMean(row)' : ''}) * getRstd(row); }
float dxOf(int row, int k, float center, float product) { return getRstd(row) * (gOf(row, k) - center - zOf(row, k) * product); }`;
    const body = `for (int k = 0; k < ${group}; k++) { float g = gOf(row, k); a += g; b += g * zOf(row, k); }
      a *= ${mean ? `1.0 / ${group}.0` : '0.0'}; b /= ${group}.0;`;
    const row = `i / ${group}`;
    return gradient(backend, given, group, functions, body, `dxOf(${row}, i % ${group}, getPair(2 * (${row})), getPair(2 * (${row}) + 1))`);
  },
};

export const codes: { readonly [kernel: string]: Kernel<WebglBackend, tf.TensorInfo> } = { ...steps, ...rows };
