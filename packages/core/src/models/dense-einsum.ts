/**
 * Einsum as a dense layer, as Keras writes its EinsumDense and the projections of its MultiHeadAttention: x keeps some of its axes and is
 * summed over the others, which come last in it and first in the kernel; the kernel's own axes follow.
 *
 *   abc,cde->abde     kernel [c, d, e] as [c, d·e]        abcd,cde->abe     kernel [c, d, e] as [c, d, e]
 */
export interface DenseEinsum {
  /** The kernel's shape, with all of its own axes as one. */
  kernelShape(shape: readonly number[]): number[];
  /** The equation for a kernel that has one axis of its own. */
  readonly narrow: string;
}

/** `undefined` for an equation that is no dense layer. */
export function denseEinsum(equation: string): DenseEinsum | undefined {
  const [, x, kernel, y] = /^([a-z]+),([a-z]+)->([a-z]+)$/i.exec(equation.replaceAll(' ', '')) ?? [];
  if (x === undefined || kernel === undefined || y === undefined) return undefined;
  const summed = [...kernel].filter((axis) => x.includes(axis) && !y.includes(axis)).join('');
  const [free, own] = [x.slice(0, x.length - summed.length), kernel.slice(summed.length)];
  const distinct = new Set(x + own).size === x.length + own.length;
  if (!distinct || summed === '' || own === '' || x !== free + summed || kernel !== summed + own || y !== free + own) return undefined;
  const other = [...'abcdefghijklmnopqrstuvwxyz'].find((axis) => !x.includes(axis))!;
  return {
    kernelShape: (shape) => [...shape.slice(0, summed.length), shape.slice(summed.length).reduce((product, dim) => product * dim, 1)],
    narrow: `${x},${summed}${other}->${free}${other}`,
  };
}
