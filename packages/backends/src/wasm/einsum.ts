/**
 * Einsum as one batched product. The letters of `a, b -> out` fall in four groups:
 *
 *     batch: in all three     contracted: in a and b only     free: in one and out     summed: in one alone
 *
 * Summed letters go first; then [batch, freeA, contracted] x [batch, contracted, freeB] -> [batch, freeA, freeB], and the
 * letters of the result are put in order. tfjs has this kernel on cpu only.
 */
import * as tf from '@tensorflow/tfjs-core';
import { input, type Kernels, run, viewAs, type WasmBackend, type WasmKernel, withTemporaries } from './backend.ts';

type Temporary = (x: tf.TensorInfo) => tf.TensorInfo;
interface Term {
  readonly x: tf.TensorInfo;
  readonly letters: readonly number[];
}

const sizes = ({ x, letters }: Term, of: readonly number[]): number[] => of.map((letter) => x.shape[letters.indexOf(letter)] as number);
const product = tf.util.sizeFromShape;
const same = (a: readonly number[], b: readonly number[]): boolean => a.length === b.length && a.every((value, i) => value === b[i]);

/** Sums over the letters that `keep` lacks. */
function sumOut(term: Term, keep: (letter: number) => boolean, backend: WasmBackend, temporary: Temporary): Term {
  const axis = term.letters.flatMap((letter, i) => (keep(letter) ? [] : [i]));
  if (axis.length === 0) return term;
  return { x: temporary(run(backend, tf.Sum, { x: term.x }, { axis, keepDims: false })), letters: term.letters.filter(keep) };
}

function inOrder(term: Term, letters: readonly number[], backend: WasmBackend): tf.TensorInfo {
  return run(backend, tf.Transpose, { x: term.x }, { perm: letters.map((letter) => term.letters.indexOf(letter)) });
}

/** The term as matrices [batch, rows, columns], read transposed if that saves moving the data. */
function matrices(
  term: Term,
  batch: readonly number[],
  rows: readonly number[],
  columns: readonly number[],
  backend: WasmBackend,
  temporary: Temporary,
): { x: tf.TensorInfo; transposed: boolean } {
  const transposed = same(term.letters, [...batch, ...columns, ...rows]) && !same(term.letters, [...batch, ...rows, ...columns]);
  const order = transposed ? [columns, rows] : [rows, columns];
  const x = transposed ? term.x : temporary(inOrder(term, [batch, rows, columns].flat(), backend));
  return {
    x: viewAs(
      x,
      [batch, ...order].map((letters) => product(sizes(term, letters))),
    ),
    transposed,
  };
}

function contract(a: Term, b: Term, isOut: (letter: number) => boolean, backend: WasmBackend, temporary: Temporary): Term {
  const inBoth = a.letters.filter((letter) => b.letters.includes(letter));
  const batch = inBoth.filter(isOut);
  const contracted = inBoth.filter((letter) => !isOut(letter));
  const freeA = a.letters.filter((letter) => !inBoth.includes(letter));
  const freeB = b.letters.filter((letter) => !inBoth.includes(letter));
  const left = matrices(a, batch, freeA, contracted, backend, temporary);
  const right = matrices(b, batch, contracted, freeB, backend, temporary);
  const shape = [...sizes(a, batch), ...sizes(a, freeA), ...sizes(b, freeB)];
  const elementwise = contracted.length === 0; // a product of columns and rows is a broadcast
  const x = elementwise
    ? run(backend, tf.Multiply, {
        a: viewAs(left.x, [product(sizes(a, batch)), product(sizes(a, freeA)), 1]),
        b: viewAs(right.x, [product(sizes(b, batch)), 1, product(sizes(b, freeB))]),
      })
    : run(backend, tf.BatchMatMul, { a: left.x, b: right.x }, { transposeA: left.transposed, transposeB: right.transposed });
  return { x: viewAs(temporary(x), shape), letters: [...batch, ...freeA, ...freeB] };
}

const einsum: WasmKernel = (inputs, attrs, backend) =>
  withTemporaries(backend, (temporary) => {
    const tensors = Object.keys(inputs).map((name) => input(inputs, name));
    const { allDims, summedDims, idDims } = tf.backend_util.decodeEinsumEquation(attrs.equation, tensors.length);
    tf.backend_util.checkEinsumDimSizes(allDims.length, idDims, tensors as unknown as tf.Tensor[]);
    const outLetters = Array.from({ length: allDims.length - summedDims.length }, (_, letter) => letter);
    const isOut = (letter: number): boolean => letter < outLetters.length;
    const terms = tensors.map((x, i): Term => {
      const others = idDims.filter((_, j) => j !== i).flat();
      return sumOut({ x, letters: idDims[i] as number[] }, (letter) => isOut(letter) || others.includes(letter), backend, temporary);
    });
    const [a, b] = terms as [Term, Term?];
    return inOrder(b ? contract(a, b, isOut, backend, temporary) : a, outLetters, backend);
  });

export const einsums: Kernels = { [tf.Einsum]: einsum };
