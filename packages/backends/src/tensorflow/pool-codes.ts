/**
 * Max pooling that waits as the place in its window. The place of the largest in the image, which TensorFlow's op gives, less that of the
 * window's first element is one of as many numbers as the window has elements, in order; dx is summed over places. `../codes.ts`.
 */
import type * as tf from '@tensorflow/tfjs-core';
import { input, type KernelMap } from '../kernels.ts';
import { poolInfo2d } from '../pool-window.ts';
import { DType, type Handle, type TensorflowBackend } from './binding.ts';
import { bytesOf, packWords, slice, unpackCodes } from './code-bytes.ts';
import { int, type Ops, text, type, withOps } from './raw.ts';
import { countAbove } from './step-codes.ts';

type Info = tf.backend_util.Conv2DInfo;
const float = type(DType.float);
const I32 = { T: type(DType.int32) };
const ints = (ops: Ops, values: readonly number[], shape?: readonly number[]): Handle => ops.constant(Int32Array.from(values), shape);

/** Rows and columns with what padding adds, as far as windows reach. */
function padded(s: Info) {
  const { top, left } = s.padInfo;
  const height = Math.max(s.inHeight + top, (s.outHeight - 1) * s.strideHeight + s.filterHeight);
  const width = Math.max(s.inWidth + left, (s.outWidth - 1) * s.strideWidth + s.filterWidth);
  return { top, left, height, width, bottom: height - top - s.inHeight, right: width - left - s.inWidth };
}

/** Places of a window's elements, from its first, rising. */
const offsets = (s: Info): number[] =>
  Array.from({ length: s.filterHeight * s.filterWidth }, (_, tap) => {
    const [row, column] = [Math.floor(tap / s.filterWidth), tap % s.filterWidth];
    return (row * padded(s).width + column) * s.inChannels;
  });

/** The place of each window's first element in its image, [1, outHeight, outWidth, channels]. */
function firsts(ops: Ops, s: Info): Handle {
  const line = (n: number, step: number): number[] => Array.from({ length: n }, (_, i) => i * step);
  const rows = ints(ops, line(s.outHeight, s.strideHeight * padded(s).width * s.inChannels), [1, s.outHeight, 1, 1]);
  const columns = ints(ops, line(s.outWidth, s.strideWidth * s.inChannels), [1, 1, s.outWidth, 1]);
  const channels = ints(ops, line(s.inChannels, 1), [1, 1, 1, s.inChannels]);
  return ops.run('AddV2', I32, [ops.run('AddV2', I32, [rows, columns]), channels]);
}

const maxPoolIndex: KernelMap<TensorflowBackend, tf.TensorInfo>[string] = (inputs, attrs, backend) =>
  withOps(backend, (ops) => {
    const x = input(inputs, 'x');
    const s = poolInfo2d(x.shape, attrs);
    const { top, bottom, left, right } = padded(s);
    const around = ints(ops, [0, 0, top, bottom, left, right, 0, 0], [4, 2]);
    const lowest = ops.constant(Float32Array.of(-Infinity), []);
    const image = top + bottom + left + right === 0 ? x : ops.run('PadV2', { T: float, Tpaddings: type(DType.int32) }, [x, around, lowest]);
    const window = {
      ksize: int([1, s.filterHeight, s.filterWidth, 1]),
      strides: int([1, s.strideHeight, s.strideWidth, 1]),
      padding: text('VALID'),
    };
    const argmax = { ...window, T: float, Targmax: type(DType.int64), include_batch_in_index: { kind: 'BOOL', value: false } as const };
    const [y, at] = ops.runMany('MaxPoolWithArgmax', argmax, [image], 2) as [Handle, Handle];
    ops.free(y);
    const offset = ops.run('Sub', I32, [ops.cast(at, DType.int64, DType.int32), firsts(ops, s)]);
    const borders = offsets(s).slice(1);
    const taps = countAbove(
      ops,
      offset,
      DType.int32,
      borders.map((border) => border - 1),
      [...borders.keys(), borders.length],
    );
    const n = s.outShape.reduce((product, d) => product * d, 1);
    const words = packWords(ops, ops.reshape(taps, DType.uint8, [1, n]), attrs['bits']);
    return ops.leave(ops.bitcast(ops.reshape(words, DType.float, [words.shape[1]!]), DType.float, DType.int32), 'int32');
  });

const maxPoolIndexGrad: typeof maxPoolIndex = (inputs, attrs, backend) =>
  withOps(backend, (ops) => {
    const [codes, dy] = [input(inputs, 'codes'), input(inputs, 'dy')];
    const { bits, inputShape } = attrs;
    const s = poolInfo2d(inputShape, attrs);
    const { top, left, height, width } = padded(s);
    const n = s.outShape.reduce((product, d) => product * d, 1);
    const image = height * width * s.inChannels;
    const bytes = bytesOf(ops, ops.reshape(codes, DType.int32, [1, codes.shape[0]!]), DType.int32);
    const taps = ops.cast(ops.reshape(unpackCodes(ops, bytes, bits, n), DType.float, s.outShape), DType.float, DType.int32);
    const gather = { Tparams: type(DType.int32), Tindices: type(DType.int32), Taxis: type(DType.int32), batch_dims: int(0) };
    const offset = ops.run('GatherV2', gather, [ints(ops, offsets(s)), taps, ints(ops, [0], [])]);
    const images = ints(
      ops,
      Array.from({ length: s.batchSize }, (_, b) => b * image),
      [s.batchSize, 1, 1, 1],
    );
    const places = ops.run('AddV2', I32, [ops.run('AddV2', I32, [offset, firsts(ops, s)]), images]);
    const sum = { T: float, Tindices: type(DType.int32), Tnumsegments: type(DType.int32) };
    const flat = ops.run('UnsortedSegmentSum', sum, [
      ops.reshape(dy, DType.float, [n]),
      ops.reshape(places, DType.int32, [n]),
      ints(ops, [s.batchSize * image], []),
    ]);
    const dx = ops.reshape(flat, DType.float, [s.batchSize, height, width, s.inChannels]);
    const whole = height === s.inHeight && width === s.inWidth;
    return ops.leave(whole ? dx : slice(ops, dx, DType.float, [0, top, left, 0], inputShape), 'float32');
  });

export const poolCodes: KernelMap<TensorflowBackend, tf.TensorInfo> = { MaxPoolIndex: maxPoolIndex, MaxPoolIndexGrad: maxPoolIndexGrad };
