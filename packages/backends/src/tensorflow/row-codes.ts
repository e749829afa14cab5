/** Codes of rows between their bounds, and the gradients that read them, in chunks of rows. What each kernel computes: `../codes.ts`. */
import * as tf from '@tensorflow/tfjs-core';
import { stepWords } from '../codes.ts';
import { input, type KernelMap } from '../kernels.ts';
import { DType, type Handle, type TensorflowBackend } from './binding.ts';
import { bytesOf, concat, filled, inChunks, packWords, slice, unpackCodes } from './code-bytes.ts';
import { bool, type Operand, type Ops, type, withOps } from './raw.ts';

const T = type(DType.float);
const I32 = { T: type(DType.int32) };
const size = (x: tf.TensorInfo): number => tf.util.sizeFromShape(x.shape);
const over = (ops: Ops, op: 'Min' | 'Max' | 'Mean' | 'Sum', x: Operand): Handle =>
  ops.run(op, { T, Tidx: type(DType.int32), keep_dims: bool(true) }, [x, ops.constant(Int32Array.of(1))]);
const binary = (ops: Ops, op: 'Sub' | 'Mul' | 'AddV2' | 'RealDiv' | 'Minimum' | 'DivNoNan', a: Operand, b: Operand): Handle =>
  ops.run(op, { T }, [a, b]);
const scalar = (ops: Ops, value: number): Handle => ops.constant(Float32Array.of(value), []);

/** Rows of one length: all of them, and a shorter one behind them if n is no multiple of `group`. */
function stretches(n: number, group: number): { readonly from: number; readonly rows: number; readonly width: number }[] {
  const [rows, rest] = [Math.floor(n / group), n % group];
  return [...(rows > 0 ? [{ from: 0, rows, width: group }] : []), ...(rest > 0 ? [{ from: rows * group, rows: 1, width: rest }] : [])];
}

interface Bounds {
  readonly low: Handle;
  readonly inverse: Handle;
  /** [rows, 1], as float32. */
  readonly header: Handle;
}

/** Low is rounded down and step up to bfloat16, so that the codes reach from the least to the most. */
function boundsOf(ops: Ops, x: Operand, bits: number): Bounds {
  const int = (op: 'BitwiseAnd' | 'AddV2' | 'RightShift', a: Handle, b: number | Handle): Handle =>
    ops.run(op, I32, [a, typeof b === 'number' ? ops.constant(Int32Array.of(b), []) : b]);
  const [least, most] = [over(ops, 'Min', x), over(ops, 'Max', x)];
  const leastBits = ops.bitcast(least, DType.float, DType.int32);
  const negative = int('RightShift', leastBits, 31); // -1 or 0
  const lowBits = int('BitwiseAnd', int('AddV2', leastBits, int('BitwiseAnd', negative, 0xffff)), -0x10000);
  const low = ops.bitcast(lowBits, DType.int32, DType.float);
  const exact = binary(ops, 'RealDiv', binary(ops, 'Sub', most, low), scalar(ops, 2 ** bits - 1));
  const stepBits = int('BitwiseAnd', int('AddV2', ops.bitcast(exact, DType.float, DType.int32), 0xffff), -0x10000);
  const inverse = binary(ops, 'DivNoNan', scalar(ops, 1), ops.bitcast(stepBits, DType.int32, DType.float));
  const header = ops.run('BitwiseOr', I32, [lowBits, int('RightShift', stepBits, 16)]); // of no sign: a step is not negative
  return { low, inverse, header: ops.bitcast(header, DType.int32, DType.float) };
}

const quantizeRows: KernelMap<TensorflowBackend, tf.TensorInfo>[string] = (inputs, { bits, group, seed }, backend) =>
  withOps(backend, (ops) => {
    const x = input(inputs, 'x');
    const n = size(x);
    const flat = ops.reshape(x, DType.float, [n]);
    const parts = stretches(n, group).map(({ from, rows, width }) => {
      const own = ops.reshape(slice(ops, flat, DType.float, [from], [rows * width]), DType.float, [rows, width]);
      const words = inChunks(ops, rows, width, (inner, row, count) => {
        const piece = slice(inner, own, DType.float, [row, 0], [count, width]);
        const { low, inverse, header } = boundsOf(inner, piece, bits);
        const scaled = binary(inner, 'Mul', binary(inner, 'Sub', piece, low), inverse);
        const code = seed ? atRandom(inner, scaled, bits, [seed, from + row]) : binary(inner, 'AddV2', scaled, scalar(inner, 0.5));
        const whole = inner.cast(code, DType.float, bits === 16 ? DType.uint16 : DType.uint8);
        return concat(inner, [header, packWords(inner, whole, bits)], DType.float, 1);
      });
      return ops.reshape(words, DType.float, [rows * (1 + stepWords(width, bits))]);
    });
    return ops.leave(ops.bitcast(concat(ops, parts, DType.float, 0), DType.float, DType.int32), 'int32');
  });

/** What is cut off to a code that is right on average. */
function atRandom(ops: Ops, scaled: Handle, bits: number, seed: readonly [number, number]): Handle {
  const attrs = { dtype: T, T: type(DType.int32), Tseed: type(DType.int32) };
  const chance = ops.run('StatelessRandomUniform', attrs, [
    ops.constant(Int32Array.from(scaled.shape)),
    ops.constant(Int32Array.from(seed)),
  ]);
  return binary(ops, 'Minimum', binary(ops, 'AddV2', scaled, chance), scalar(ops, 2 ** bits - 1));
}

/** Rows as they wait: codes [count, width] as float32, and of each row [count, 1] its bounds. */
interface Read {
  readonly codes: Handle;
  readonly low: Handle;
  readonly step: Handle;
}

/** Reads rows of `width` from words that begin at `from`. */
function reader(ops: Ops, codes: tf.TensorInfo, from: number, rows: number, width: number, bits: number) {
  const each = 1 + stepWords(width, bits);
  const flat = ops.reshape(ops.bitcast(codes, DType.int32, DType.float), DType.float, [size(codes)]);
  const words = ops.reshape(slice(ops, flat, DType.float, [from], [rows * each]), DType.float, [rows, each]);
  return (inner: Ops, row: number, count: number): Read => {
    const columns = (first: number, width: number): Handle => slice(inner, words, DType.float, [row, first], [count, width]);
    const halves = inner.bitcast(columns(0, 1), DType.float, DType.bfloat16); // [count, 1, 2]
    const bounds = inner.reshape(inner.cast(halves, DType.bfloat16, DType.float), DType.float, [count, 2]);
    const [step, low] = [0, 1].map((side) => slice(inner, bounds, DType.float, [0, side], [count, 1])) as [Handle, Handle];
    return { codes: unpackCodes(inner, bytesOf(inner, columns(1, each - 1), DType.float), bits, width), low, step };
  };
}

const valuesOf = (ops: Ops, { codes, low, step }: Read): Handle => binary(ops, 'AddV2', binary(ops, 'Mul', codes, step), low);

const dequantizeRows: typeof quantizeRows = (inputs, { bits, group, shape }, backend) =>
  withOps(backend, (ops) => {
    const codes = input(inputs, 'codes');
    let at = 0;
    const parts = stretches(tf.util.sizeFromShape(shape), group).map(({ rows, width }) => {
      const read = reader(ops, codes, at, rows, width, bits);
      at += rows * (1 + stepWords(width, bits));
      const values = filled(ops, rows, width, (inner, row, count) => valuesOf(inner, read(inner, row, count)));
      return ops.reshape(values, DType.float, [rows * width]);
    });
    return ops.leave(ops.reshape(concat(ops, parts, DType.float, 0), DType.float, shape), 'float32');
  });

/** dx of some rows from what waits and from dy, [count, group]. */
type RowGradient = (ops: Ops, rows: Read, dy: Handle, from: number, count: number) => Handle;

function byRows(ops: Ops, codes: tf.TensorInfo, dy: tf.TensorInfo, group: number, bits: number, gradient: RowGradient): tf.TensorInfo {
  const rows = size(dy) / group;
  const by = ops.reshape(dy, DType.float, [rows, group]);
  const read = reader(ops, codes, 0, rows, group, bits);
  const dx = filled(ops, rows, group, (inner, from, count) =>
    gradient(inner, read(inner, from, count), slice(inner, by, DType.float, [from, 0], [count, group]), from, count),
  );
  return ops.leave(ops.reshape(dx, DType.float, dy.shape), 'float32');
}

const softmaxGradRows: typeof quantizeRows = (inputs, { bits, group }, backend) =>
  withOps(backend, (ops) =>
    byRows(ops, input(inputs, 'codes'), input(inputs, 'dy'), group, bits, (inner, rows, dy) => {
      const y = valuesOf(inner, rows);
      const mean = binary(inner, 'DivNoNan', over(inner, 'Sum', binary(inner, 'Mul', y, dy)), over(inner, 'Sum', y));
      return binary(inner, 'Mul', y, binary(inner, 'Sub', dy, mean));
    }),
  );

/** With z = a·code + b and m = mean(g z), dx = g / σ − code · a m / σ − (mean(g) + b m) / σ: most of it is done once a row. */
const normGradRows: typeof quantizeRows = (inputs, { bits, group }, backend) =>
  withOps(backend, (ops) => {
    const dy = input(inputs, 'dy');
    const rows = size(dy) / group;
    const column = (x: tf.TensorInfo): Handle => ops.reshape(x, DType.float, [rows, 1]);
    const [mean, rstd] = [inputs['mean'] && column(inputs['mean']), column(input(inputs, 'rstd'))];
    const scale = inputs['scale'] && ops.reshape(inputs['scale'], DType.float, [1, group]);
    return byRows(ops, input(inputs, 'codes'), dy, group, bits, (inner, { codes, low, step }, by, from, count) => {
      const here = (t: Handle): Handle => slice(inner, t, DType.float, [from, 0], [count, 1]);
      const of =
        (op: 'AddV2' | 'Sub' | 'Mul') =>
        (x: Handle, y: Handle): Handle =>
          binary(inner, op, x, y);
      const [add, subtract, times] = [of('AddV2'), of('Sub'), of('Mul')];
      const inverse = here(rstd);
      const [a, b] = [times(step, inverse), times(mean ? subtract(low, here(mean)) : low, inverse)];
      const g = scale ? times(by, scale) : by;
      const meanG = over(inner, 'Mean', g);
      const m = add(times(a, over(inner, 'Mean', times(g, codes))), times(b, meanG));
      const constant = times(mean ? add(meanG, times(b, m)) : times(b, m), inverse);
      return subtract(subtract(times(g, inverse), times(codes, times(times(a, m), inverse))), constant);
    });
  });

export const rowCodes: KernelMap<TensorflowBackend, tf.TensorInfo> = {
  QuantizeRows: quantizeRows,
  DequantizeRows: dequantizeRows,
  SoftmaxGradRows: softmaxGradRows,
  NormGradRows: normGradRows,
};
