/** How patterns of kernels are looked up on the tape, from the last kernel back to where they begin. */
import type { TapeOp, TapeValue } from '@leantune/core';

/** Follows values back, and remembers the runs it passed. */
export class Trail {
  readonly passed: Set<TapeOp> = new Set();

  /** The run of one of `kernels` that made the value, through runs that change no number. */
  made(value: TapeValue | undefined, ...kernels: readonly string[]): TapeOp | undefined {
    const op = this.plain(value)?.from;
    if (!op || !kernels.includes(op.kernel)) return undefined;
    this.passed.add(op);
    return op;
  }

  /** The value behind reshapes, casts and copies. */
  plain(value: TapeValue | undefined): TapeValue | undefined {
    const op = value?.from;
    if (!op || !/^(Reshape|Cast|Identity)$/.test(op.kernel)) return value;
    this.passed.add(op);
    return this.plain(op.inputs['x']);
  }

  /** The two operands of a sum or product. */
  operands(value: TapeValue | undefined, kernel: 'Add' | 'Multiply'): readonly [TapeValue, TapeValue] | undefined {
    const op = this.made(value, kernel);
    return op && [op.inputs['a']!, op.inputs['b']!];
  }

  /** A number, and what it is added to or multiplied with. */
  withNumber(value: TapeValue | undefined, kernel: 'Add' | 'Multiply'): readonly [number, TapeValue] | undefined {
    return number(this.operands(value, kernel));
  }

  /** The runs passed between `x` and `last`. */
  between(x: TapeValue, last: TapeOp): readonly TapeOp[] {
    const passed = new Set(this.passed);
    passed.delete(last);
    for (let op = x.from; op && passed.delete(op); op = op.inputs['x']?.from);
    return [...passed];
  }

  /** A value that is not a number, and the numbers that multiply it. */
  scaled(value: TapeValue): readonly [factor: number, value: TapeValue] {
    const op = this.plain(value)?.from;
    const quotient = op?.kernel === 'RealDiv' ? op.inputs['b']!.number : undefined;
    const [factor, inner] =
      op && quotient !== undefined
        ? [1 / quotient, op.inputs['a']!]
        : (op?.kernel === 'Multiply' && number([op.inputs['a']!, op.inputs['b']!])) || [undefined, undefined];
    if (factor === undefined) return [1, value];
    this.passed.add(op!);
    const [more, innermost] = this.scaled(inner!);
    return [factor * more, innermost];
  }
}

const number = (operands: readonly [TapeValue, TapeValue] | undefined): readonly [number, TapeValue] | undefined => {
  if (!operands) return undefined;
  const [a, b] = operands;
  if (a.number !== undefined) return [a.number, b];
  return b.number === undefined ? undefined : [b.number, a];
};

export const near = (a: number, b: number): boolean => Math.abs(a - b) < 1e-3 * Math.abs(b);
