/** Runs GLSL of our own on flat views of tensors, and how many codes a texel holds. */
import * as tf from '@tensorflow/tfjs-core';
import { BackendError } from '../errors.ts';

/** What we use of tfjs-backend-webgl's backend object. */
export interface WebglBackend extends tf.KernelBackend {
  makeTensorInfo(shape: number[], dtype: tf.DataType, values?: tf.backend_util.BackendValues): tf.TensorInfo;
  runWebGLProgram(
    program: { readonly variableNames: string[]; readonly outputShape: number[]; readonly userCode: string },
    inputs: tf.TensorInfo[],
    dtype: tf.DataType,
  ): tf.TensorInfo;
}

/** Inputs by name: GLSL reads the i-th value of `dy` as `getDy(i)`. */
export type Glsl = { readonly [name: string]: tf.TensorInfo };

export const size = (x: tf.TensorInfo): number => tf.util.sizeFromShape(x.shape);
/** Codes in a word: a float32 holds whole numbers of 24 bits. */
export const perWord = (bits: number): number => Math.floor(24 / bits);
/** Words of a row of codes with its two bounds. */
export const rowLength = (n: number, bits: number): number => 2 + Math.ceil(n / perWord(bits));

const reshape = (backend: WebglBackend, x: tf.TensorInfo, shape: number[]): tf.TensorInfo =>
  tf.getKernel('Reshape', 'webgl').kernelFunc({ inputs: { x }, backend, attrs: { shape } }) as tf.TensorInfo;

/** A float32 tensor of `shape` whose i-th value is the GLSL `value` of `i`. The caller owns it. */
export function run(backend: WebglBackend, inputs: Glsl, shape: readonly number[], functions: string, value: string): tf.TensorInfo {
  if (!tf.env().getBool('WEBGL_RENDER_FLOAT32_ENABLED'))
    throw new BackendError('not-available', 'webgl', 'this GPU renders no float32, of which codes take 24 bits', {
      fix: 'Leave the technique out, or use another backend',
    });
  const made: tf.TensorInfo[] = [];
  const temporary = (x: tf.TensorInfo): tf.TensorInfo => {
    made.push(x);
    return x;
  };
  try {
    const flat = Object.values(inputs).map((x) => temporary(reshape(backend, x, [size(x)])));
    const program = {
      variableNames: Object.keys(inputs),
      outputShape: [tf.util.sizeFromShape([...shape])],
      userCode: `${functions}\nvoid main() { int i = getOutputCoords(); setOutput(${value}); }`,
    };
    const result = temporary(backend.runWebGLProgram(program, flat, 'float32'));
    return reshape(backend, result, [...shape]);
  } finally {
    for (const { dataId } of made) backend.disposeData(dataId);
  }
}
