/**
 * x Φ(x) in one pass, and its gradient, exact or with the tanh that GPT-2 approximates it by: the kernels `Gelu` of { x } and `GeluGrad` of
 * { x, dy } of @leantune/transformers; core looks for the latter as `FusedGeluGrad`. Hendrycks & Gimpel 2016, arXiv 1606.08415. Φ by
 * Abramowitz & Stegun 7.1.26, as tfjs's erf: within 1e-7, and below zero without the difference of two numbers near one. (1 + tanh u) / 2
 * is 1 / (1 + exp(−2u)).
 */
import { input, type Kernels, type WebGPUKernel } from '../backend.ts';
import { elementwise } from './elementwise.ts';

const exact = `
fn share(x: T) -> T {
  let z = abs(x) * ${Math.SQRT1_2};
  let t = T(1) / (T(1) + 0.3275911 * z);
  let tail = 0.5 * t * (0.254829592 + t * (-0.284496736 + t * (1.421413741 + t * (-1.453152027 + t * 1.061405429)))) * exp(-z * z);
  return select(T(1) - tail, tail, x < T());
}
fn slope(x: T) -> T { return share(x) + ${1 / Math.sqrt(2 * Math.PI)} * x * exp(-0.5 * x * x); }`;

const approximate = `
fn share(x: T) -> T { return T(1) / (T(1) + exp(${-2 * Math.sqrt(2 / Math.PI)} * x * (T(1) + 0.044715 * x * x))); }
fn slope(x: T) -> T {
  let h = share(x);
  return h + 2 * h * (T(1) - h) * ${Math.sqrt(2 / Math.PI)} * x * (T(1) + ${3 * 0.044715} * x * x);
}`;

/** The kernel, and `Half` before its name: rounded, see `../half.ts`. */
function kernels(name: string, value: string): Kernels {
  const run: WebGPUKernel = (inputs, { approximate: isApproximate, half }, backend) => {
    const x = input(inputs, 'x');
    const { dy } = inputs;
    const [functions, key] = isApproximate ? [approximate, `${name} tanh`] : [exact, name];
    return elementwise(backend, { key, inputs: { x, ...(dy && { dy }) }, shape: x.shape, value, functions, half });
  };
  return { [name]: run, [`Half${name}`]: run };
}

export const gelus: Kernels = {
  ...kernels('Gelu', 'x * share(x)'),
  ...kernels('GeluGrad', 'dy * slope(x)'),
  ...kernels('FusedGeluGrad', 'dy * slope(x)'),
};
