/**
 * Holds gradients against finite differences.
 *
 *   ⟨∇f, v⟩ = d/dh f(x + h v)        central differences Σ w (f(x + h v) − f(x − h v)) / 2h, summed in float64
 *
 * float32 rounds f, so no single h is right: from Ridders' tableau (Richardson extrapolation over shrinking steps) comes the entry
 * whose last change and share of the rounding, |f| 2⁻²⁴ / h, are least. v is each element in turn for small inputs, and random
 * signs for large ones (as torch's fast mode).
 * Ridders 1982, Advances in Engineering Software 4(2); Numerical Recipes 5.7.
 */
import * as tf from '@tensorflow/tfjs-core';
import { FinetuneError } from '../errors.ts';
import { gradients } from './gradients.ts';

/** Options of {@link gradcheck}. */
export interface GradcheckOptions {
  /** First and largest step, relative to the root mean square of an input. @default 0.125 */
  readonly epsilon?: number;
  /** Largest error allowed, relative to the largest derivative with respect to that input. @default 1e-3 */
  readonly tolerance?: number;
  /** Every element, or along random directions. @default 'full' for inputs of up to 64 elements */
  readonly mode?: 'full' | 'directions';
  /** Directions per input. @default 4 */
  readonly directions?: number;
  /** For directions, and for the weights w that make a scalar of f's result. @default 1 */
  readonly seed?: number;
  /** Gradients of a scalar f to check instead of the tape's, one per input; borrowed. @default those of the tape */
  readonly analytic?: readonly tf.Tensor[];
  /** Throws unless the report is ok. @default false */
  readonly assert?: boolean;
}

/** How far gradients are from finite differences. */
export interface GradcheckReport {
  readonly ok: boolean;
  readonly maxError: number;
  /** `index` is that of the element in the flat input, or of the direction. */
  readonly worst: { readonly input: number; readonly index: number; readonly analytic: number; readonly numeric: number };
}

/**
 * Compares the gradients of `f` with finite differences. `f` gets `inputs` and returns a tensor of any shape, the same for the
 * same inputs; it may close over variables given as inputs, which are moved by `assign` and put back bit for bit.
 *
 * @param inputs float32 tensors or variables.
 * @throws FinetuneError `'no-gradient'` if `assert` is set and the gradients differ; `'bad-loss'` if f is not deterministic.
 *
 * @example
 * const { ok, maxError } = await gradcheck((x) => tf.selu(x), [tf.tensor1d([-1, 0.5, 2])]);
 */
export async function gradcheck(
  f: (...inputs: tf.Tensor[]) => tf.Tensor,
  inputs: readonly tf.Tensor[],
  options: GradcheckOptions = {},
): Promise<GradcheckReport> {
  const { epsilon = 0.125, tolerance = 1e-3, directions = 4, seed = 1, mode, assert } = options;
  const run = (xs: readonly tf.Tensor[]) => read(tf.tidy(() => tf.clone(f(...xs))));
  const base = await twice(run, inputs);
  const w = base.length === 1 ? Float32Array.of(1) : await random(base.length, seed);
  const size = dot(w.map(Math.abs), base.map(Math.abs));
  const analytic = await Promise.all(options.analytic?.map((g) => read(tf.clone(g))) ?? slopes(f, inputs, w));
  let report: GradcheckReport = { ok: true, maxError: 0, worst: { input: 0, index: 0, analytic: 0, numeric: 0 } };
  for (const [input, x] of inputs.entries()) {
    const start = await read(tf.clone(x));
    const rms = Math.sqrt(dot(start, start) / x.size) || 1;
    const at = (h: number, v: Float32Array) =>
      moved(
        x,
        start.map((value, i) => value + h * v[i]!),
        (there) => run(inputs.map((other, i) => (i === input ? there : other))),
      );
    const full = (mode ?? (x.size > 64 ? 'directions' : 'full')) === 'full';
    const checks: GradcheckReport['worst'][] = [];
    for (let index = 0; index < (full ? x.size : directions); index++) {
      const v = full ? new Float32Array(x.size).fill(1, index, index + 1) : (await random(x.size, seed + 1 + index)).map(Math.sign);
      const numeric = await ridders(async (h) => dot(w, await at(h, v), await at(-h, v)) / (2 * h), epsilon * rms, size * 2 ** -24);
      checks.push({ input, index, analytic: dot(v, analytic[input]!), numeric });
    }
    // Below a hundredth of |f| / |x|, a derivative drowns in the rounding of f. |∇f| is what a random direction gives on average.
    const typical = full ? 0 : Math.sqrt(dot(analytic[input]!, analytic[input]!));
    const scale = Math.max((0.01 * size) / rms, typical, ...checks.flatMap((c) => [c.analytic, c.numeric].map(Math.abs)));
    for (const worst of checks) {
      const error = worst.analytic === worst.numeric ? 0 : Math.abs(worst.analytic - worst.numeric) / scale;
      if (!(error <= report.maxError)) report = { ok: error <= tolerance, maxError: error, worst };
    }
  }
  if (assert && !report.ok) throw failure(report, tolerance, inputs);
  return report;
}

/** f(inputs), which must be the same twice. */
async function twice(run: (xs: readonly tf.Tensor[]) => Promise<Float32Array>, inputs: readonly tf.Tensor[]): Promise<Float32Array> {
  const wrong = inputs.flatMap((x, i) => (x.dtype === 'float32' ? [] : [`input ${i} of dtype ${x.dtype}`]));
  if (inputs.length === 0 || wrong.length > 0) {
    throw new FinetuneError(
      'bad-option',
      'gradcheck',
      `got ${wrong.join(', ') || 'no inputs'}; expected float32 tensors. Close over the others inside f.`,
    );
  }
  const [base, again] = [await run(inputs), await run(inputs)];
  if (base.some((y, i) => y !== again[i])) {
    throw new FinetuneError(
      'bad-loss',
      'gradcheck',
      'f gave two results for the same inputs; expected one. Seed what is random in it, or leave it out (dropout).',
    );
  }
  return base;
}

/** Σ a (b − c) in float64. */
function dot(a: Float32Array, b: Float32Array, c?: Float32Array): number {
  return a.reduce((sum, value, i) => sum + value * (b[i]! - (c?.[i] ?? 0)), 0);
}

/** Gradients of Σ w f with respect to xs. */
function slopes(f: (...xs: tf.Tensor[]) => tf.Tensor, xs: readonly tf.Tensor[], w: Float32Array): (Float32Array | Promise<Float32Array>)[] {
  const { value, grads } = gradients(() => tf.sum(tf.mul(tf.reshape(f(...xs), [-1]), tf.tensor1d(w))), xs, null, true);
  value.dispose();
  return grads.map((g, i) => (g ? read(g) : new Float32Array(xs[i]!.size)));
}

/** Calls `run` with x at `values`; a variable is back at its own when this ends. */
async function moved<T>(x: tf.Tensor, values: Float32Array, run: (x: tf.Tensor) => Promise<T>): Promise<T> {
  const [there, back] = [tf.tensor(values, x.shape), tf.clone(x)];
  const variable = x instanceof tf.Variable ? x : undefined;
  try {
    variable?.assign(there);
    return await run(variable ?? there);
  } finally {
    variable?.assign(back);
    tf.dispose([there, back]);
  }
}

/** The limit of `difference(h)`, which is even in h, for h to 0. `noise` / h is the error of a difference. */
async function ridders(difference: (h: number) => Promise<number>, h: number, noise: number): Promise<number> {
  let [best, error, previous] = [NaN, Infinity, [] as number[]];
  for (let level = 0; level < 5; level++, h /= 4) {
    const row = [await difference(h)];
    for (let k = 1; k <= level; k++) {
      const [coarse, fine] = [previous[k - 1]!, row[k - 1]!];
      const refined = fine + (fine - coarse) / (16 ** k - 1);
      const change = Math.max(Math.abs(refined - fine), Math.abs(refined - coarse)) + noise / h;
      if (change <= error) [best, error] = [refined, change];
      row.push(refined);
    }
    previous = row;
  }
  return best;
}

/** The values of t, which it disposes. */
async function read(t: tf.Tensor): Promise<Float32Array> {
  const data = await t.data<'float32'>();
  t.dispose();
  return data.slice();
}

const random = (n: number, seed: number) => read(tf.randomUniform([n], -1, 1, 'float32', seed));

function failure({ maxError, worst }: GradcheckReport, tolerance: number, inputs: readonly tf.Tensor[]): FinetuneError {
  const x = inputs[worst.input]!;
  const name = x instanceof tf.Variable ? ` ("${x.name}")` : '';
  const found = `the gradient of input ${worst.input}${name} at ${worst.index} is ${worst.analytic}; finite differences give ${worst.numeric}, ${maxError.toPrecision(2)} apart where ${tolerance} is allowed.`;
  return new FinetuneError(
    'no-gradient',
    'gradcheck',
    `${found} Correct the gradient, or, if f has kinks there, move the input off them or raise the tolerance.`,
  );
}
