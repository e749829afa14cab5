/**
 * AdamW: Adam with weight decay applied to the weights themselves, not through the gradient.
 *
 *   m ← β₁ m + (1 - β₁) g        v ← β₂ v + (1 - β₂) g²        η = learning rate, t = 1, 2, …
 *   w ← (1 - η λ) w - η / (1 - β₁ᵗ) · m / (√v / √(1 - β₂ᵗ) + ε)
 *
 * Loshchilov & Hutter 2017, arXiv 1711.05101, in the form and with the defaults of torch.optim.AdamW. Different from tf.train.adam:
 * the corrections come from the step count in double precision, so a resumed run repeats an uninterrupted one bit for bit, and
 * temporaries are freed per variable, at most four of its size at a time, where tf.train.adam holds those of all variables at once. On
 * a backend with a kernel `AdamWUpdateAll` or `AdamWUpdate` the step is made in place.
 */
import * as tf from '@tensorflow/tfjs-core';
import { type Update, updateAllInPlace, updatedInPlace } from '../autograd/fused.ts';
import { FinetuneError } from '../errors.ts';
import { markState } from '../memory/probe.ts';
import { dropRows } from './drop-rows.ts';
import { checkRanges, fraction, positive, rate } from './ranges.ts';
import type { Schedule } from './schedules.ts';

/** Options of {@link adamW}. */
export interface AdamWOptions {
  /** A rate, or a function from the number of finished steps to a rate. @default 1e-3 */
  readonly learningRate?: number | Schedule;
  /** How much of the mean of gradients is kept, [0, 1). @default 0.9 */
  readonly beta1?: number;
  /** How much of the mean of squared gradients is kept, [0, 1). @default 0.999 */
  readonly beta2?: number;
  /** Added to the denominator. @default 1e-8, on backends that compute in half precision 1e-4 */
  readonly epsilon?: number;
  /** λ: each step shrinks the weights by the factor 1 - rate · λ. @default 0.01 */
  readonly weightDecay?: number;
  /** Which variables decay, by name: `(name) => !/bias|gamma|beta/.test(name)` spares biases and norms. @default all, as torch and Keras do */
  readonly decay?: (name: string) => boolean;
}

type NamedTensor = Parameters<tf.Optimizer['setWeights']>[0][number]; // tfjs does not export it

interface Moments {
  readonly m: tf.Variable;
  readonly v: tf.Variable;
}

/** What moves one variable. */
interface Move extends Update {
  readonly changed: Moments & { readonly variable: tf.Variable; readonly [name: string]: tf.Variable };
  readonly read: { readonly gradient: tf.Tensor; readonly [name: string]: tf.Tensor };
  /** 1 - rate · decay */
  readonly shrink: number;
}

/**
 * AdamW as a tfjs optimizer, for `model.compile`, `minimize` and `applyGradients`. Keeps two floats a trained weight.
 *
 * @example
 * model.compile({ optimizer: tuned.optimizer(adamW({ learningRate: warmupCosine({ peak: 1e-3, warmupSteps: 100, steps: 2000 }) })), loss });
 */
export function adamW(options: AdamWOptions = {}): AdamW {
  tf.serialization.registerClass(AdamW);
  return new AdamW(options);
}

/** A variable of the optimizer's own. Borrows `value`. */
function slot(value: tf.Tensor): tf.Variable {
  const variable = tf.variable(value, false);
  markState([variable]);
  return variable;
}

type Rates = { readonly [name in 'beta1' | 'beta2' | 'correction' | 'epsilon' | 'rate' | 'shrink']: number };

function moveByOps({ changed: { variable, m, v }, read: { gradient } }: Move, rates: Rates): void {
  const { beta1, beta2, correction, epsilon, rate, shrink } = rates;
  const assign = (target: tf.Variable, value: () => tf.Tensor): void => tf.tidy(() => target.assign(tf.tidy(value)));
  assign(m, () => tf.add(tf.mul(m, beta1), tf.mul(gradient, 1 - beta1)));
  assign(v, () => tf.add(tf.mul(v, beta2), tf.mul(tf.square(gradient), 1 - beta2)));
  assign(variable, () => {
    const denominator = tf.tidy(() => tf.add(tf.div(tf.sqrt(v), correction), epsilon));
    const step = tf.tidy(() => tf.mul(tf.div(m, denominator), rate));
    denominator.dispose();
    return tf.sub(tf.mul(variable, shrink), step);
  });
}

/** See {@link adamW}. `getConfig` writes a schedule as its present rate and leaves the `decay` filter out: functions have no JSON. */
export class AdamW extends tf.Optimizer {
  /** May be set between steps. */
  learningRate: number | Schedule;
  readonly #options: Required<Pick<AdamWOptions, 'beta1' | 'beta2' | 'weightDecay' | 'decay'>> & AdamWOptions;
  #moments = new Map<string, Moments>();
  #restored = false;

  static get className(): string {
    return 'AdamW';
  }

  constructor(options: AdamWOptions = {}) {
    super();
    const { learningRate = 1e-3, beta1 = 0.9, beta2 = 0.999, weightDecay = 0.01, decay = () => true } = options;
    this.learningRate = learningRate;
    this.#options = { ...options, beta1, beta2, weightDecay, decay };
    const { epsilon = 1 } = options;
    checkRanges('adamW', [rate, { learningRate: this.#rate(), weightDecay }], [fraction, { beta1, beta2 }], [positive, { epsilon }]);
  }

  /** Moves every named variable by its gradient; borrows the gradients. Throws before anything moves. */
  applyGradients(gradients: tf.NamedTensorMap | NamedTensor[]): void {
    const list = Array.isArray(gradients) ? gradients : Object.entries(gradients).map(([name, tensor]) => ({ name, tensor }));
    const given = list.filter(({ tensor }) => tensor != null); // a variable that the loss does not reach has none
    const variables = tf.engine().registeredVariables;
    const gone = given.filter(({ name }) => !variables[name]).map(({ name }) => name);
    if (gone.length > 0)
      throw new FinetuneError('disposed', 'adamW', `got gradients for ${gone.join(', ')}; expected names of variables that are alive.`);
    if (this.#restored) this.#bind(given.map(({ name }) => variables[name]!));
    const [eta, t] = [this.#rate(), this.iterations + 1];
    const { beta1, beta2, weightDecay, decay } = this.#options;
    const { epsilon = tf.backend().floatPrecision() === 16 ? 1e-4 : 1e-8 } = this.#options; // 1e-8 is 0 in half precision
    const common = { beta1, beta2, correction: Math.sqrt(1 - beta2 ** t), epsilon, rate: eta / (1 - beta1 ** t) };
    const moves = given.map(({ name, tensor: gradient }): Move => {
      const variable = variables[name]!;
      return {
        changed: { variable, ...this.#momentsOf(variable) },
        read: { gradient },
        shrink: decay(name) ? 1 - eta * weightDecay : 1,
      };
    });
    const left = updateAllInPlace('AdamWUpdateAll', moves, (made) => ({ ...common, shrink: made.map(({ shrink }) => shrink) }));
    for (const move of left) {
      const attrs = { ...common, shrink: move.shrink };
      if (!updatedInPlace('AdamWUpdate', move, attrs)) moveByOps(move, attrs);
    }
    this.incrementIterations();
  }

  #rate(): number {
    return typeof this.learningRate === 'function' ? this.learningRate(this.iterations) : this.learningRate;
  }

  /** Forgets the first `rows` rows of what is held for a variable; with all of them, the variable. */
  dropRows(variable: tf.Variable, rows: number): void {
    const moments = this.#moments.get(variable.name);
    if (!moments) return;
    const { m, v } = moments;
    if (rows < m.shape[0]!) for (const slot of [m, v]) dropRows(slot, rows);
    else {
      tf.dispose([m, v]);
      this.#moments.delete(variable.name);
    }
  }

  #momentsOf(variable: tf.Variable): Moments {
    const known = this.#moments.get(variable.name);
    if (known) return known;
    const zeros = (): tf.Variable => tf.tidy(() => slot(tf.zerosLike(variable)));
    const moments = { m: zeros(), v: zeros() };
    this.#moments.set(variable.name, moments);
    return moments;
  }

  /** Restored moments belong to the gradients of the next step by position, as in tfjs: names differ between two builds of one model. */
  #bind(variables: tf.Variable[]): void {
    const saved = [...this.#moments];
    const shape = (x: tf.Tensor | undefined): string => (x ? `[${x.shape}]` : 'none');
    const pairs = Array.from({ length: Math.max(saved.length, variables.length) }, (_, i) => {
      const [name, moments] = saved[i] ?? [];
      return { name: variables[i]?.name ?? name, is: shape(variables[i]), was: shape(moments?.m) };
    });
    const faults = pairs.flatMap(({ name, is, was }) => (is === was ? [] : `${name} ${is} (saved: ${was})`));
    if (faults.length > 0) {
      const message = `the restored state does not fit: ${faults.join(', ')}. Train what was trained when it was saved.`;
      throw new FinetuneError('bad-file', 'adamW', message);
    }
    this.#moments = new Map(variables.map(({ name }, i) => [name, saved[i]![1]]));
    this.#restored = false;
  }

  /** Step count, then all m, then all v: the order of tf.train.adam. The first tensor is the caller's, the others stay the optimizer's. */
  override async getWeights(): Promise<NamedTensor[]> {
    const all = (key: 'm' | 'v'): NamedTensor[] =>
      [...this.#moments].map(([name, moments]) => ({ name: `${name}/${key}`, tensor: moments[key] }));
    return [await this.saveIterations(), ...all('m'), ...all('v')];
  }

  /** Borrows `weights`, in the order of {@link AdamW.getWeights}; replaces the state there was. */
  override async setWeights(weights: NamedTensor[]): Promise<void> {
    const state = await this.extractIterations(weights);
    this.dispose();
    const half = state.length / 2;
    const moments = (i: number): Moments => ({ m: slot(state[i]!.tensor), v: slot(state[half + i]!.tensor) });
    this.#moments = new Map(state.slice(0, half).map(({ name }, i) => [name.replace(/\/m$/, ''), moments(i)]));
    this.#restored = half > 0;
  }

  override dispose(): void {
    for (const { m, v } of this.#moments.values()) tf.dispose([m, v]);
    this.#moments.clear();
  }

  override getConfig(): tf.serialization.ConfigDict {
    const { beta1, beta2, weightDecay, epsilon } = this.#options;
    return { learningRate: this.#rate(), beta1, beta2, weightDecay, ...(epsilon === undefined ? {} : { epsilon }) };
  }
}
