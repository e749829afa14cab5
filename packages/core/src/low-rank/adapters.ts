/**
 * Named adapters on one base: which of them run, with what weight, and whether they are folded into the kernels meanwhile.
 *
 * All low-rank techniques that are attached to a model share one set. A site is replaced once, and runs the active adapters in turn:
 *
 *   y = W∗x + Σ weight · (what the adapter adds)
 */
import * as tf from '@tensorflow/tfjs-core';
import { FinetuneError } from '../errors.ts';
import type { Linear, ModelView, Undo } from '../technique.ts';
import { FactorAdapter, type Factors } from './factor-adapter.ts';
import { type LowRankSite, lowRankSites } from './low-rank-sites.ts';

/** One adapter at one site. */
export interface SiteAdapter {
  /** What it makes of y = W∗x + bias. */
  apply(x: tf.Tensor, y: tf.Tensor, linear: Linear): tf.Tensor;
  /** What merging adds to the kernel, in its shape. A new tensor. */
  delta(): tf.Tensor;
  /** delta = down·up, where there are such; new tensors, down [dIn, r], up [r, dOut]. */
  factors?(): Factors;
  dispose(): void;
}

/** What is told of an adapter in the set, and what it is weighed by. */
export type Weights = { readonly [adapter: string]: number };

/** The named adapters of a model that is being tuned. */
export interface Adapters {
  readonly names: readonly string[];
  /** Those that run, with their weights. */
  readonly active: Weights;
  /** Runs these alone, each with weight 1 or its own; `[]` is the base. What is not active does not train. */
  use(which: string | readonly string[] | Weights): void;
  /** Adds a frozen adapter, by site name. Takes its tensors over. Not active at first. */
  add(name: string, factors: { readonly [site: string]: Factors }): void;
  /** Adds Σ weight · adapter as one frozen adapter, exactly: its ranks are the sums of theirs. */
  combine(name: string, weights: Weights): void;
  /** Deletes one that was added here. Those of techniques leave with them. */
  delete(name: string): void;
  /** Folds the active ones into the kernels, for speed, until `unmerge` puts back what was there, bit for bit. Nothing trains meanwhile. */
  merge(): void;
  unmerge(): void;
}

const sets = new WeakMap<object, AdapterSet>();

/**
 * The adapters of a model to which a low-rank technique is attached.
 *
 * @throws FinetuneError `bad-model` if there is none
 *
 * @example
 * const tuned = finetune(model, [lora({ r: 8, adapter: 'melville' }), lora({ r: 8, adapter: 'austen' })]);
 * adaptersOf(model).use({ melville: 0.5, austen: 0.5 });
 */
export function adaptersOf(model: object): Adapters {
  const set = sets.get(model);
  if (set) return set;
  throw new FinetuneError(
    'bad-model',
    'adaptersOf',
    'got a model without low-rank adapters; expected one that finetune gave some. Call it after finetune.',
  );
}

/** What a technique gets for an adapter of its own. */
export interface Membership {
  /** Runs now, and is not folded into the kernels. */
  readonly active: boolean;
  /** Folds it into the kernels for good, with its weight. */
  merge(): void;
  leave(): void;
}

/** Adds a technique's adapter, active, to the set of a model. @throws FinetuneError `conflict` if the name is taken */
export function join(model: ModelView, name: string, adapters: ReadonlyMap<LowRankSite, SiteAdapter>, who: string): Membership {
  const set = sets.get(model.model as object) ?? new AdapterSet(model);
  sets.set(model.model as object, set);
  return set.join(name, adapters, who);
}

interface Member {
  readonly adapters: ReadonlyMap<LowRankSite, SiteAdapter>;
  /** Of a technique, which disposes it. */
  readonly foreign: boolean;
}

class AdapterSet implements Adapters {
  readonly #model: ModelView;
  readonly #members = new Map<string, Member>();
  readonly #undos = new Map<LowRankSite, Undo>();
  #active = new Map<string, number>();
  /** The kernels before they were merged. */
  #before: Map<tf.Variable, tf.Tensor> | undefined;

  constructor(model: ModelView) {
    this.#model = model;
  }

  get names(): readonly string[] {
    return [...this.#members.keys()];
  }

  get active(): Weights {
    return Object.fromEntries(this.#active);
  }

  use(which: string | readonly string[] | Weights): void {
    const weights =
      typeof which === 'string' ? { [which]: 1 } : Array.isArray(which) ? Object.fromEntries(which.map((name) => [name, 1])) : which;
    this.#refuseUnknown('use', Object.keys(weights));
    this.#refuseMerged('use');
    this.#active = new Map(Object.entries(weights as Weights));
  }

  add(name: string, factors: { readonly [site: string]: Factors }): void {
    this.#refuseTaken('add', name);
    const exactly = Object.keys(factors).map((site) => new RegExp(`^${site.replace(/[$()*+.?[\\\]^{|}]/g, '\\$&')}$`));
    const sites = lowRankSites(this.#model, exactly, 'add');
    this.#enter(name, {
      adapters: new Map(sites.map((site) => [site, new FactorAdapter(factors[site.name]!, site.kernel)])),
      foreign: false,
    });
  }

  combine(name: string, weights: Weights): void {
    this.#refuseTaken('combine', name);
    this.#refuseUnknown('combine', Object.keys(weights));
    const members = Object.entries(weights).map(([of, weight]) => ({ of, weight, ...this.#members.get(of)! }));
    const plain = members.filter(({ adapters }) => [...adapters.values()].some((one) => !one.factors)).map(({ of }) => of);
    if (plain.length > 0)
      throw new FinetuneError(
        'bad-option',
        'combine',
        `${plain.join(', ')} changes more than a product of two factors adds. Use weights: use({ … }).`,
      );
    const sites = new Set(members.flatMap(({ adapters }) => [...adapters.keys()]));
    const sum = (site: LowRankSite): Factors =>
      tf.tidy(() => {
        const parts = members.flatMap(({ adapters, weight }) => {
          const factors = adapters.get(site)?.factors?.();
          return factors ? [{ down: factors.down, up: tf.mul(factors.up, weight) }] : [];
        });
        return {
          down: tf.concat(
            parts.map(({ down }) => down),
            1,
          ),
          up: tf.concat(
            parts.map(({ up }) => up),
            0,
          ),
        };
      });
    this.add(name, Object.fromEntries([...sites].map((site) => [site.name, sum(site)])));
  }

  delete(name: string): void {
    this.#refuseUnknown('delete', [name]);
    this.#refuseMerged('delete');
    if (this.#members.get(name)!.foreign)
      throw new FinetuneError('bad-option', 'delete', `"${name}" belongs to a technique, and leaves with it. Switch it off with use().`);
    this.#remove(name);
  }

  merge(): void {
    this.#refuseMerged('merge');
    this.#before = new Map();
    for (const name of this.#active.keys()) this.#fold(name, this.#before);
  }

  unmerge(): void {
    for (const [kernel, value] of this.#before ?? []) {
      kernel.assign(value);
      value.dispose();
    }
    this.#before = undefined;
  }

  join(name: string, adapters: ReadonlyMap<LowRankSite, SiteAdapter>, who: string): Membership {
    this.#refuseTaken(who, name);
    this.#enter(name, { adapters, foreign: true });
    this.#active.set(name, 1);
    const isActive = () => this.#active.has(name) && !this.#before;
    return {
      get active() {
        return isActive();
      },
      merge: () => {
        if (isActive()) this.#fold(name);
        else for (const value of this.#before?.values() ?? []) value.dispose(); // what was folded in stays
        if (this.#before) this.#before = new Map();
      },
      leave: () => {
        this.unmerge();
        this.#remove(name);
        if ([...this.#members.values()].some(({ foreign }) => foreign)) return;
        for (const rest of this.names) this.#remove(rest);
        sets.delete(this.#model.model as object);
      },
    };
  }

  #enter(name: string, member: Member): void {
    this.#members.set(name, member);
    for (const site of member.adapters.keys()) {
      if (!this.#undos.has(site))
        this.#undos.set(
          site,
          site.replace((x, next, linear) => this.#run(site, x, next(x), linear)),
        );
    }
  }

  #remove(name: string): void {
    const { adapters, foreign } = this.#members.get(name)!;
    this.#members.delete(name);
    this.#active.delete(name);
    if (!foreign) for (const adapter of adapters.values()) adapter.dispose();
    const used = new Set([...this.#members.values()].flatMap((member) => [...member.adapters.keys()]));
    for (const [site, undo] of this.#undos) {
      if (used.has(site)) continue;
      undo();
      this.#undos.delete(site);
    }
  }

  #run(site: LowRankSite, x: tf.Tensor, base: tf.Tensor, linear: Linear): tf.Tensor {
    let y = base;
    if (this.#before) return y;
    for (const [name, weight] of this.#active) {
      const adapter = this.#members.get(name)!.adapters.get(site);
      if (!adapter) continue;
      const before = y;
      y = tf.tidy(() => {
        const next = adapter.apply(x, before, linear);
        return weight === 1 ? next : tf.add(before, tf.mul(tf.sub(next, before), weight));
      });
      if (before !== x && !before.kept) before.dispose(); // as wide as the output, and read by no gradient
    }
    return y;
  }

  /** Adds an adapter to the kernels, and notes in `before` what they were. */
  #fold(name: string, before?: Map<tf.Variable, tf.Tensor>): void {
    const weight = this.#active.get(name)!;
    for (const [site, adapter] of this.#members.get(name)!.adapters) {
      tf.tidy(() => {
        if (before) {
          const kernel = site.weights[0]!.variable();
          if (!before.has(kernel)) before.set(kernel, tf.keep(tf.clone(kernel)));
        }
        site.addToKernel(tf.mul(adapter.delta(), weight));
      });
    }
  }

  #refuseUnknown(who: string, names: readonly string[]): void {
    const unknown = names.filter((name) => !this.#members.has(name)).map((name) => `"${name}"`);
    if (unknown.length > 0)
      throw new FinetuneError(
        'no-match',
        who,
        `got ${unknown.join(', ')}; expected adapters among ${this.names.map((name) => `"${name}"`).join(', ')}.`,
      );
  }

  #refuseTaken(who: string, name: string): void {
    if (this.#members.has(name))
      throw new FinetuneError(
        'conflict',
        who,
        `this model has an adapter "${name}" already. Give this one another name: { adapter: 'other' }.`,
      );
  }

  #refuseMerged(who: string): void {
    if (this.#before) throw new FinetuneError('busy', who, 'called while adapters are merged. Call unmerge() first.');
  }
}
