/** Activations that a product applies to what it stores. `prelu`, which reads a tensor, is not among them. */

const activations: { readonly [name: string]: string } = {
  linear: 'x',
  // not max(x, 0): NaN must stay NaN
  relu: 'select(x, vec4f(), x < vec4f())',
  relu6: 'select(select(x, vec4f(), x < vec4f()), vec4f(6), x > vec4f(6))',
  elu: 'select(x, exp(x) - 1, x < vec4f())',
  sigmoid: '1 / (1 + exp(-x))',
  leakyrelu: 'select(x, x * u.alpha, x < vec4f())',
};

export const canActivate = (name: string | null | undefined): boolean => (name ?? 'linear') in activations;

/** `activate`, on a vec4f. */
export const activate = (name = 'linear'): string => `fn activate(x: vec4f) -> vec4f { return ${activations[name]}; }`;
