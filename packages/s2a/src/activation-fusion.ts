/**
 * Activations that tfjs composes of several kernels wait as one: the parts as nothing, x as codes of the whole function's derivative.
 */
import type { Fusion, TapeValue } from '@leantune/core';
import { findActivation } from '@leantune/core/patterns';
import { stepRule, stepsOf } from './activations.ts';
import type { Precision } from './kernels.ts';
import type { Reading, Steps } from './steps.ts';

/** By how much of themselves the numbers in an activation may be off: codes are further off than that. */
const WITHIN = 1e-3;

export function activationFusion(precision: Precision, reading: Reading): Fusion {
  return (last) => {
    const found = findActivation(last, WITHIN);
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
