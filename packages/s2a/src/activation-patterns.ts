/**
 * Activations that tfjs composes of several kernels, found by their pattern, whoever wrote it: a layer's `activation`, a custom layer,
 * a GraphModel, a function.
 *
 *   GELU       x · ½ (1 + erf(x / √2)), or with tanh(√(2/π) (x + 0.044715 x³))        numbers in any place and order
 *   SiLU       x · sigmoid(k x)          Mish  x · tanh(softplus(x))          hard swish  x · relu6(x + 3) / 6
 *
 * The parts wait as nothing; x waits as codes of the whole function's derivative.
 */
import type { Fusion, TapeOp, TapeValue } from '@leantune/core';
import { stepRule, stepsOf } from './activations.ts';
import type { Activation } from './derivatives.ts';
import type { Precision } from './kernels.ts';
import { near, Trail } from './pattern.ts';
import type { Reading, Steps } from './steps.ts';

/** f(x) = x · gate(x) · factor. */
interface Gate {
  readonly name: Activation;
  readonly kernel: string;
  readonly x: TapeValue;
  /** What the whole product must be multiplied by. */
  readonly factor: number;
  /** f'(x) = derivative(scale · x). */
  readonly scale?: number;
  /** Where k · x waits for a part of the pattern: x itself may be gone by now. */
  readonly spare?: readonly [k: number, value: TapeValue];
}

export function activationFusion(precision: Precision, reading: Reading): Fusion {
  return (last) => {
    const found = find(last);
    if (!found) return undefined;
    const { name, kernel, x, scale = 1, spare, through } = found;
    const other = x.read() ? undefined : spare;
    const source = other ? { ...x, read: () => other[1].read() } : x;
    if (!source.read()) return undefined;
    const bits = precision({ kernel, layer: last.layer, elements: elements(x), kind: 'activation' });
    if (bits === 32) return undefined;
    return {
      kernel,
      inputs: { x: source },
      through,
      rule: stepRule(() => stretched(stepsOf(name, bits, reading), scale / (other?.[0] ?? 1))),
    };
  };
}

const elements = ({ shape }: TapeValue): number => shape.reduce((n, d) => n * d, 1);

const stretched = (steps: Steps, scale: number): Steps =>
  scale === 1 ? steps : { ...steps, borders: steps.borders.map((border) => border / scale) };

function find(last: TapeOp): (Gate & { readonly through: readonly TapeOp[] }) | undefined {
  if (last.kernel !== 'Multiply' && last.kernel !== 'RealDiv') return undefined;
  const whole: TapeValue = { shape: [], id: last, from: last, constant: false, read: () => undefined };
  for (const flipped of [false, true]) {
    const trail = new Trail();
    const [outer, product] = trail.scaled(whole);
    const operands = trail.operands(product, 'Multiply');
    if (!operands) continue;
    const [p, q] = flipped ? [operands[1], operands[0]] : operands;
    const [before, inner] = trail.scaled(q);
    const gate = gateOf(inner, trail);
    if (!gate) continue;
    const direct = trail.plain(p)!.id === gate.x.id;
    const [factor, x] = direct ? [1, p] : trail.scaled(p);
    if (trail.plain(x)!.id !== gate.x.id || !near(outer * before * factor, gate.factor)) continue;
    return { ...gate, x, through: trail.between(x, last) };
  }
  return undefined;
}

function gateOf(value: TapeValue, trail: Trail): Gate | undefined {
  const sigmoid = trail.made(value, 'Sigmoid');
  if (sigmoid) {
    const [scale, x] = trail.scaled(sigmoid.inputs['x']!);
    return { name: 'silu', kernel: 'Silu', x: trail.plain(x)!, factor: 1, scale };
  }
  const relu6 = trail.made(value, 'Relu6');
  const shifted = relu6 && trail.withNumber(relu6.inputs['x'], 'Add');
  if (shifted && near(shifted[0], 3)) return { name: 'hardSwish', kernel: 'HardSwish', x: trail.plain(shifted[1])!, factor: 1 / 6 };
  const softplus = trail.made(trail.made(value, 'Tanh')?.inputs['x'], 'Softplus');
  if (softplus) return { name: 'mish', kernel: 'Mish', x: trail.plain(softplus.inputs['x'])!, factor: 1 };
  const sum = trail.withNumber(value, 'Add');
  return sum && near(sum[0], 1) ? geluGate(sum[1], trail) : undefined;
}

function geluGate(value: TapeValue, trail: Trail): Gate | undefined {
  const erf = trail.made(value, 'Erf');
  if (erf) {
    const [scale, x] = trail.scaled(erf.inputs['x']!);
    return near(scale, Math.SQRT1_2)
      ? { name: 'gelu', kernel: 'Gelu', x: trail.plain(x)!, factor: 0.5, spare: [scale, erf.inputs['x']!] }
      : undefined;
  }
  const tanh = trail.made(value, 'Tanh');
  if (!tanh) return undefined;
  const [scale, sum] = trail.scaled(tanh.inputs['x']!);
  const operands = trail.operands(sum, 'Add');
  for (const [p, q] of operands && near(scale, Math.sqrt(2 / Math.PI)) ? [operands, [operands[1], operands[0]] as const] : []) {
    const x = trail.plain(p)!;
    const [factor, power] = trail.scaled(q);
    const cubed = near(factor, 0.044715) ? cubeOf(power, x, trail) : undefined;
    if (cubed) return { name: 'geluTanh', kernel: 'Gelu', x, factor: 0.5, spare: [1, cubed] };
  }
  return undefined;
}

/** x where it is read for x³, written as a power or as products. */
function cubeOf(value: TapeValue, x: TapeValue, trail: Trail): TapeValue | undefined {
  const pow = trail.made(value, 'Pow');
  if (pow) return trail.plain(pow.inputs['a'])!.id === x.id && pow.inputs['b']!.number === 3 ? pow.inputs['a'] : undefined;
  let read: TapeValue | undefined;
  const factors = (v: TapeValue): number => {
    if (trail.plain(v)!.id === x.id) {
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
