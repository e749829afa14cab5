/** Codes of steps: a thread packs a word, and decodes a value. Tables are part of the shader. What each kernel computes: `../codes.ts`. */
import * as tf from '@tensorflow/tfjs-core';
import { stepWords } from '../../codes.ts';
import { input, type Kernels } from '../backend.ts';
import { dispatch, type Input } from '../recording/dispatch.ts';
import { entry, groupsFor } from '../recording/entry.ts';

const size = (x: tf.TensorInfo): number => tf.util.sizeFromShape(x.shape);

/** The code of element `i` among codes of `bits`, packed without headers. */
export const codeAt = (codes: string, i: string, bits: number): string =>
  `((${codes}[(${i}) / ${32 / bits}] >> (((${i}) % ${32 / bits}) * ${bits})) & ${2 ** bits - 1}u)`;

/** WGSL that chooses among `leaves` by halves: `above(i)` says whether it is the i-th or a later one. */
function choose(leaves: readonly string[], above: (i: number) => string, first = 0): string {
  if (leaves.length === 1) return leaves[0]!;
  const half = leaves.length >> 1;
  const [low, high] = [choose(leaves.slice(0, half), above, first), choose(leaves.slice(half), above, first + half)];
  return low === high ? low : `select(${low}, ${high}, ${above(first + half)})`;
}

const literal = (value: number): string => {
  const text = `${Math.fround(value)}`;
  return /[.e]/.test(text) ? `${text}f` : `${text}.0f`;
};

/** Whether x lies above a border. A GPU may take what is nearer to zero than 2^-126 for zero. */
const isAbove = (border: number): string =>
  Math.abs(border) >= 2 ** -126 ? `x > ${literal(border)}` : border < 0 ? 'x >= 0.0' : 'x > 0.0';

export const stepCodes: Kernels = {
  EncodeSteps: (inputs, { borders, codes, bits }, backend) => {
    const x = input(inputs, 'x');
    const per = 32 / bits;
    const words = stepWords(size(x), bits);
    const tree = choose(
      codes.map((code: number) => `${code}u`),
      (i) => isAbove(borders[i - 1]),
    );
    return dispatch(backend, {
      key: `EncodeSteps ${bits} ${tree}`,
      inputs: { x: [x, 'f32'] },
      outputs: { packed: [{ shape: [words], dtype: 'int32' }, 'u32'] },
      uniforms: { threads: ['u32', words], size: ['u32', size(x)] },
      workgroups: groupsFor(words),
      code: () => `
fn code(x: f32) -> u32 { return ${tree}; }
${entry}
  var word = 0u;
  let first = i * ${per};
  for (var k = 0u; k < min(${per}u, u.size - first); k++) { word |= code(x[first + k]) << (k * ${bits}); }
  packed[i] = word;
}`,
    }).packed;
  },

  DecodeSteps: (inputs, { levels, bits, shape }, backend) => {
    const { dy } = inputs;
    const n = tf.util.sizeFromShape(shape);
    const tree = choose(levels.map(literal), (i) => `code >= ${i}u`);
    return dispatch(backend, {
      key: `DecodeSteps ${bits} ${tree}`,
      inputs: { codes: [input(inputs, 'codes'), 'u32'], ...(dy && { dy: [dy, 'f32'] as Input }) },
      outputs: { y: [{ shape, dtype: 'float32' }, 'f32'] },
      uniforms: { threads: ['u32', n] },
      workgroups: groupsFor(n),
      code: () => `
fn level(code: u32) -> f32 { return ${tree}; }
${entry}
  y[i] = ${dy ? 'dy[i] * ' : ''}level(${codeAt('codes', 'i', bits)});
}`,
    }).y;
  },
};
