/** The kernels of @leantune/backends that round to half precision, and store values in it. Stored values no other op may read. */
import { type Codec, FinetuneError } from '@leantune/core';
import * as tf from '@tensorflow/tfjs-core';

export type HalfType = 'float16' | 'bfloat16';

const run = (kernel: string, inputs: tf.NamedTensorMap, attrs: object): tf.Tensor =>
  tf.engine().runKernel(kernel, inputs, attrs as tf.NamedAttrMap);

/** @throws FinetuneError `bad-model` if the backend in use has no such kernels */
export function requireKernels(): void {
  const name = tf.getBackend();
  if (tf.getKernel('RoundHalf', name)) return;
  const advice = `Call useBackend('${name}') of @leantune/backends before, which brings them.`;
  throw new FinetuneError(
    'bad-model',
    'mixedPrecision',
    `got the backend "${name}" without kernels for half precision; expected one with. ${advice}`,
  );
}

/** A new tensor of the nearest values. */
export const rounded = (x: tf.Tensor, half: HalfType): tf.Tensor => run('RoundHalf', { x }, { half });

/** Takes x and returns the nearest values, in its buffer where nothing else reads that. */
export function roundedInPlace(x: tf.Tensor, half: HalfType): tf.Tensor {
  const y = run('RoundHalf', { x }, { half, inPlace: tf.backend().refCount(x.dataId) === 1 });
  x.dispose();
  return y;
}

/** Two bytes a value. */
export const halfCodec = (half: HalfType, decoded: (x: tf.Tensor) => void): Codec => ({
  name: half,
  encode(x) {
    const { shape } = x;
    const codes = tf.keep(run('EncodeHalf', { x }, { half }));
    return {
      bytes: codes.size * tf.util.bytesPerElement(codes.dtype),
      decode() {
        const y = run('DecodeHalf', { codes }, { half, shape });
        decoded(y);
        return y;
      },
      dispose: () => codes.dispose(),
    };
  },
});
