/**
 * Holds gradients against finite differences.
 *
 *   d/dt f(x + t v) = ⟨∇f, v⟩        central differences, Σ w (f(x + h v) − f(x − h v)) / 2h, summed in float64
 *
 * float32 rounds f, so no single h is right: Ridders' tableau (Richardson extrapolation over shrinking steps) takes the entry
 * that moved least. v is each element in turn for small inputs, and random signs for large ones (as torch's fast mode).
 * Ridders 1982, Advances in Engineering Software 4(2); Numerical Recipes 5.7.
 */
import * as tf from '@tensorflow/tfjs-core';
import { FinetuneError } from './errors.ts';
import { gradients } from './gradients.ts';

export interface GradcheckOptions {
  /** First and largest step, relative to the root mean square of an input. @default 0.125 */
  readonly epsilon?: number;
  /** Largest error allowed, relative to the largest derivative with respect to that input. @default 1e-3 */
  readonly tolerance?: number;
  /** Every element, or along random directions. @default 'full' for inputs of up to 64 elements */
  readonly mode?: 'full' | 'directions';
  /** Directions per input. @default 4 */
  readonly directions?: number;
  /** For directions, and for the weights that make a scalar of f's result. @default 1 */
  readonly seed?: number;
  /** Throws unless the report is ok. @default false */
  readonly assert?: boolean;
}

export interface GradcheckReport {
  readonly ok: boolean;
  readonly maxError: number;
  /** `index` is that of the element in the flat input, or of the direction. */
  readonly worst: { readonly input: number; readonly index: number; readonly analytic: number; readonly numeric: number };
}

const LEVELS = 5;
const SHRINK = 4;

/**
 * Compares the gradients of `f` with finite differences. `f` gets `inputs` and returns a tensor of any shape, the same for the
 * same inputs; it may close over variables given as inputs, which are moved by `assign` and put back bit for bit.
 *
 * @param inputs float32 tensors or variables.
 * @throws FinetuneError `'no-gradient'` if `assert` is set and the gradients differ; `'bad-loss'` if f is not deterministic.
 *
 * @example
 * const { ok, maxError } = await gradcheck((x) => tf.gelu(x), [tf.tensor1d([-1, 0.5, 2])]);
 */
export async function gradcheck(f: (...inputs: tf.Tensor[]) => tf.Tensor, inputs: readonly tf.Tensor[], options: GradcheckOptions = {}): Promise<GradcheckReport> {
  const { epsilon = 0.125, tolerance = 1e-3, directions = 4, seed = 1, assert = false } = options;
  const wrong = inputs.flatMap((x, i) => (x.dtype === 'float32' ? [] : [`input ${i} is ${x.dtype}`]));
  if (inputs.length === 0 || wrong.length > 0) {
    throw new FinetuneError('bad-option', 'gradcheck', `got ${wrong.join(', ') || 'no inputs'}; expected float32 tensors. Close over the others inside f.`);
  }
  const evaluate = (xs: readonly tf.Tensor[]) => tf.tidy(() => tf.clone(f(...xs)));
  const run = (xs: readonly tf.Tensor[]) => read(evaluate(xs));
  const y = evaluate(inputs);
  const [base, again] = [await read(y), await run(inputs)];
  if (base.some((value, i) => value !== again[i])) throw new FinetuneError('bad-loss', 'gradcheck', 'f gave two results for the same inputs; expected one. Seed or leave out what is random in it (dropout).');

  const weights = base.length === 1 ? Float32Array.of(1) : await random(base.length, seed);
  const analytic = await slopes(f, inputs, tf.tensor(weights, y.shape));
  const size = base.reduce((sum, value, i) => sum + Math.abs(weights[i]! * value), 0);
  let report: GradcheckReport = { ok: true, maxError: 0, worst: { input: 0, index: 0, analytic: NaN, numeric: NaN } };
  for (const [input, x] of inputs.entries()) {
    const start = await read(tf.clone(x));
    const rms = Math.sqrt(start.reduce((sum, v) => sum + v * v, 0) / start.length) || 1;
    const full = (options.mode ?? (x.size <= 64 ? 'full' : 'directions')) === 'full';
    const checks: GradcheckReport['worst'][] = [];
    for (let index = 0; index < (full ? x.size : directions); index++) {
      const v = full ? unit(x.size, index) : (await random(x.size, seed + 1 + index)).map(Math.sign);
      const shifted = (h: number) => moved(x, start.map((value, i) => value + h * v[i]!), (moving) => run(inputs.with(input, moving)));
      const numeric = await ridders(async (h) => {
        const [up, down] = [await shifted(h), await shifted(-h)];
        return up.reduce((sum, value, i) => sum + weights[i]! * (value - down[i]!), 0) / (2 * h);
      }, epsilon * rms);
      checks.push({ input, index, numeric, analytic: v.reduce((sum, vi, i) => sum + vi * analytic[input]![i]!, 0) });
    }
    // Below a hundredth of f / x, a derivative drowns in the rounding of f.
    const scale = Math.max((0.01 * size) / rms, ...checks.flatMap((c) => [Math.abs(c.analytic), Math.abs(c.numeric)]));
    for (const worst of checks) {
      const error = worst.analytic === worst.numeric ? 0 : Math.abs(worst.analytic - worst.numeric) / scale;
      if (!(error <= report.maxError)) report = { ok: error <= tolerance, maxError: error, worst };
    }
  }
  if (assert && !report.ok) throw failure(report, tolerance, inputs);
  return report;
}

/** Gradients of Σ dy f with respect to xs; disposes dy. */
async function slopes(f: (...xs: tf.Tensor[]) => tf.Tensor, xs: readonly tf.Tensor[], dy: tf.Tensor): Promise<Float32Array[]> {
  const { value, grads } = gradients(() => tf.clone(f(...xs)), xs, dy, true);
  tf.dispose([value, dy]);
  return Promise.all(grads.map((g, i) => (g ? read(g) : new Float32Array(xs[i]!.size))));
}

/** Calls `run` with x at `values`; a variable is back at its own when this ends. */
async function moved<T>(x: tf.Tensor, values: Float32Array, run: (x: tf.Tensor) => Promise<T>): Promise<T> {
  const [there, back] = [tf.tensor(values, x.shape), tf.clone(x)];
  try {
    if (!(x instanceof tf.Variable)) return await run(there);
    x.assign(there);
    return await run(x);
  } finally {
    if (x instanceof tf.Variable) x.assign(back);
    tf.dispose([there, back]);
  }
}

/** The limit of `difference(h)`, even in h, for h to 0. */
async function ridders(difference: (h: number) => Promise<number>, h: number): Promise<number> {
  let [best, error, previous] = [NaN, Infinity, [] as number[]];
  for (let level = 0; level < LEVELS; level++, h /= SHRINK) {
    const row = [await difference(h)];
    for (let k = 1; k <= level; k++) {
      const [coarse, fine] = [previous[k - 1]!, row[k - 1]!];
      const refined = fine + (fine - coarse) / (SHRINK ** (2 * k) - 1);
      const change = Math.max(Math.abs(refined - fine), Math.abs(refined - coarse));
      if (change <= error) [best, error] = [refined, change];
      row.push(refined);
    }
    previous = row;
  }
  return best;
}

async function read(t: tf.Tensor): Promise<Float32Array> {
  const data = await t.data<'float32'>();
  t.dispose();
  return data.slice();
}

const random = (n: number, seed: number) => read(tf.randomUniform([n], -1, 1, 'float32', seed));
const unit = (n: number, at: number) => new Float32Array(n).fill(1, at, at + 1);

function failure({ maxError, worst }: GradcheckReport, tolerance: number, inputs: readonly tf.Tensor[]): FinetuneError {
  const x = inputs[worst.input]!;
  const name = x instanceof tf.Variable ? ` ("${x.name}")` : '';
  return new FinetuneError(
    'no-gradient',
    'gradcheck',
    `the gradient of input ${worst.input}${name} at ${worst.index} is ${worst.analytic}; finite differences give ${worst.numeric}, ${maxError.toPrecision(2)} apart where ${tolerance} is allowed. ` +
      `Correct the gradient, or, if f has kinks there, move the input off them or raise the tolerance.`,
  );
}
