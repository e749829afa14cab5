/** Activation functions as numbers in and numbers out: what step tables are fitted to. Derivatives: papers beside the names below. */

const { exp, sqrt, tanh, PI } = Math;
const sigmoid = (x: number): number => 1 / (1 + exp(-x));
const softplus = (x: number): number => (x > 30 ? x : Math.log1p(exp(x)));
/** Cumulative normal distribution: erf by Abramowitz and Stegun 7.1.26, |error| < 1.5e-7. */
const normal = (x: number): number => {
  const z = Math.abs(x) / Math.SQRT2;
  const t = 1 / (1 + 0.3275911 * z);
  const tail = t * (0.254829592 + t * (-0.284496736 + t * (1.421413741 + t * (-1.453152027 + t * 1.061405429)))) * exp(-z * z);
  return x < 0 ? tail / 2 : 1 - tail / 2;
};
const SELU_SCALE = 1.0507009873554805;
const SELU_ALPHA = 1.6732632423543772;
const C = sqrt(2 / PI);

/** f'(x) by name. GELU: arXiv 1606.08415. SiLU: arXiv 1702.03118. Mish: arXiv 1908.08681. SELU: arXiv 1706.02515. ELU: arXiv 1511.07289. */
export const derivatives = {
  gelu: (x: number): number => normal(x) + (x * exp((-x * x) / 2)) / sqrt(2 * PI),
  geluTanh: (x: number): number => {
    const t = tanh(C * (x + 0.044715 * x ** 3));
    return 0.5 * (1 + t) + 0.5 * x * (1 - t * t) * C * (1 + 3 * 0.044715 * x * x);
  },
  silu: (x: number): number => sigmoid(x) * (1 + x * (1 - sigmoid(x))),
  mish: (x: number): number => {
    const t = tanh(softplus(x));
    return t + x * (1 - t * t) * sigmoid(x);
  },
  hardSwish: (x: number): number => (x <= -3 ? 0 : x > 3 ? 1 : (2 * x + 3) / 6),
  elu: (x: number): number => (x > 0 ? 1 : exp(x)),
  selu: (x: number): number => (x > 0 ? SELU_SCALE : SELU_SCALE * SELU_ALPHA * exp(x)),
  softplus: (x: number): number => sigmoid(x),
  sigmoid: (x: number): number => sigmoid(x) * (1 - sigmoid(x)),
  tanh: (x: number): number => 1 - tanh(x) ** 2,
} as const;

export type Activation = keyof typeof derivatives;
