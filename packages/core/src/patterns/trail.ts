/** How patterns of kernels are looked up on the tape, from the last kernel back to where they begin. */
import type { TapeOp, TapeValue } from '../technique.ts';

/** Follows values back, and remembers the runs it passed. */
export class Trail {
  readonly passed: Set<TapeOp> = new Set();
  readonly #within: number;

  /** @param within by how much of itself a number may be off */
  constructor(within = 0) {
    this.#within = within;
  }

  near(a: number, b: number): boolean {
    return Math.abs(a - b) < this.#within * Math.abs(b);
  }

  /** The run of one of `kernels` that made the value, through runs that change no number. */
  made(value: TapeValue | undefined, ...kernels: readonly string[]): TapeOp | undefined {
    const op = this.plain(value)?.from;
    if (!op || !kernels.includes(op.kernel)) return undefined;
    this.passed.add(op);
    return op;
  }

  /** As {@link plain}. */
  plain(value: TapeValue): TapeValue;
  plain(value: TapeValue | undefined): TapeValue | undefined;
  plain(value: TapeValue | undefined): TapeValue | undefined {
    return value && plain(value, (op) => this.passed.add(op));
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
    const op = this.plain(value).from;
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

/** The value behind reshapes, copies and casts to float32, which `pass` is told of. */
export function plain(value: TapeValue, pass?: (op: TapeOp) => void): TapeValue {
  const op = value.from;
  if (!op || !passesOn(op)) return value;
  pass?.(op);
  return plain(op.inputs['x']!, pass);
}

/** Both ways round. */
export const either = <T>([a, b]: readonly [T, T]): readonly [readonly [T, T], readonly [T, T]] => [
  [a, b],
  [b, a],
];

/** Whether one of `kernels` ran up to `depth` runs before. Numbers are read after this alone: on a GPU that takes time. */
export function leadsTo(kernels: RegExp, { inputs }: TapeOp, depth: number): boolean {
  return Object.values(inputs).some(({ from }) => from && (kernels.test(from.kernel) || (depth > 1 && leadsTo(kernels, from, depth - 1))));
}

const passesOn = ({ kernel, attrs }: TapeOp): boolean =>
  kernel === 'Reshape' || kernel === 'Identity' || (kernel === 'Cast' && attrs['dtype'] === 'float32');

const number = (operands: readonly [TapeValue, TapeValue] | undefined): readonly [number, TapeValue] | undefined => {
  if (!operands) return undefined;
  const [a, b] = operands;
  if (a.number !== undefined) return [a.number, b];
  return b.number === undefined ? undefined : [b.number, a];
};
