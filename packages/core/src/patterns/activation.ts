/**
 * Activations that tfjs composes of several kernels, found by their pattern, whoever wrote it: a layer's `activation`, a custom layer,
 * a GraphModel, a function.
 *
 *   GELU       x · ½ (1 + erf(x / √2)), or with tanh(√(2/π) (x + 0.044715 x³))        numbers in any place and order
 *   SiLU       x · sigmoid(k x)          Mish  x · tanh(softplus(x))          hard swish  x · relu6(x + 3) / 6
 */
import type { TapeOp, TapeValue } from '../technique.ts';
import { either, leadsTo, Trail } from './trail.ts';

/** f(x) = x · gate(x) · factor. */
interface Gate {
  readonly name: 'gelu' | 'geluTanh' | 'silu' | 'mish' | 'hardSwish';
  readonly kernel: 'Gelu' | 'Silu' | 'Mish' | 'HardSwish';
  readonly x: TapeValue;
  /** What the whole product must be multiplied by. */
  readonly factor: number;
  /** k: f'(x) = derivative(k x). */
  readonly scale?: number;
  /** Where k · x waits for a part of the pattern: x itself may be gone by now. */
  readonly spare?: readonly [k: number, value: TapeValue];
}

/** An activation on the tape, from x to its last run. */
export interface ActivationPattern extends Gate {
  readonly through: readonly TapeOp[];
}

/**
 * The activation whose last run is `last`, if it is one.
 *
 * @param within by how much of themselves the numbers in it may be off
 */
export function findActivation(last: TapeOp, within: number): ActivationPattern | undefined {
  if ((last.kernel !== 'Multiply' && last.kernel !== 'RealDiv') || !leadsTo(/^(Erf|Tanh|Sigmoid|Relu6)$/, last, 4)) return undefined;
  const whole: TapeValue = { shape: [], id: last, from: last, constant: false, read: () => undefined };
  for (const turn of [0, 1] as const) {
    const trail = new Trail(within);
    const [outer, product] = trail.scaled(whole);
    const operands = trail.operands(product, 'Multiply');
    if (!operands) continue;
    const [p, q] = either(operands)[turn];
    const [before, inner] = trail.scaled(q);
    const gate = gateOf(inner, trail);
    if (!gate) continue;
    const direct = trail.plain(p).id === gate.x.id;
    const [factor, x] = direct ? [1, p] : trail.scaled(p);
    const same = trail.plain(x).id === gate.x.id && x.shape.join() === q.shape.join();
    if (!same || !trail.near(outer * before * factor, gate.factor)) continue;
    return { ...gate, x, through: trail.between(x, last) };
  }
  return undefined;
}

function gateOf(value: TapeValue, trail: Trail): Gate | undefined {
  const sigmoid = trail.made(value, 'Sigmoid');
  if (sigmoid) {
    const [scale, x] = trail.scaled(sigmoid.inputs['x']!);
    return scale > 0 ? { name: 'silu', kernel: 'Silu', x: trail.plain(x), factor: 1, scale } : undefined;
  }
  const relu6 = trail.made(value, 'Relu6');
  const shifted = relu6 && trail.withNumber(relu6.inputs['x'], 'Add');
  if (shifted && trail.near(shifted[0], 3)) return { name: 'hardSwish', kernel: 'HardSwish', x: trail.plain(shifted[1]), factor: 1 / 6 };
  const softplus = trail.made(trail.made(value, 'Tanh')?.inputs['x'], 'Softplus');
  if (softplus) return { name: 'mish', kernel: 'Mish', x: trail.plain(softplus.inputs['x']!), factor: 1 };
  const sum = trail.withNumber(value, 'Add');
  return sum && trail.near(sum[0], 1) ? geluGate(sum[1], trail) : undefined;
}

function geluGate(value: TapeValue, trail: Trail): Gate | undefined {
  const erf = trail.made(value, 'Erf');
  if (erf) {
    const [scale, x] = trail.scaled(erf.inputs['x']!);
    return trail.near(scale, Math.SQRT1_2)
      ? { name: 'gelu', kernel: 'Gelu', x: trail.plain(x), factor: 0.5, spare: [scale, erf.inputs['x']!] }
      : undefined;
  }
  const tanh = trail.made(value, 'Tanh');
  if (!tanh) return undefined;
  const [scale, sum] = trail.scaled(tanh.inputs['x']!);
  const operands = trail.operands(sum, 'Add');
  for (const [p, q] of operands && trail.near(scale, Math.sqrt(2 / Math.PI)) ? either(operands) : []) {
    const x = trail.plain(p);
    const [factor, power] = trail.scaled(q);
    const cubed = trail.near(factor, 0.044715) ? cubeOf(power, x, trail) : undefined;
    if (cubed) return { name: 'geluTanh', kernel: 'Gelu', x, factor: 0.5, spare: [1, cubed] };
  }
  return undefined;
}

/** x where it is read for x³, written as a power or as products. */
function cubeOf(value: TapeValue, x: TapeValue, trail: Trail): TapeValue | undefined {
  const pow = trail.made(value, 'Pow');
  if (pow) return trail.plain(pow.inputs['a']!).id === x.id && pow.inputs['b']!.number === 3 ? pow.inputs['a'] : undefined;
  let read: TapeValue | undefined;
  const factors = (v: TapeValue): number => {
    if (trail.plain(v).id === x.id) {
      read = v;
      return 1;
    }
    const square = trail.made(v, 'Square');
    if (square) return 2 * factors(square.inputs['x']!);
    const operands = trail.operands(v, 'Multiply');
    return operands ? factors(operands[0]) + factors(operands[1]) : Number.NaN;
  };
  return factors(value) === 3 ? read : undefined;
}
