/** The set of adapters of one model: who is in it, what runs at a site, and what the kernels were before a merge. */
import * as tf from '@tensorflow/tfjs-core';
import { FinetuneError } from '../errors.ts';
import type { Linear, ModelView, Undo } from '../technique.ts';
import type { Adapters, Membership, SiteAdapter, Weights } from './adapters.ts';
import { FactorAdapter, type Factors } from './factor-adapter.ts';
import { type LowRankSite, lowRankSites } from './low-rank-sites.ts';

interface Member {
  readonly adapters: ReadonlyMap<LowRankSite, SiteAdapter>;
  /** Of a technique, which disposes it. */
  readonly foreign: boolean;
}

export class AdapterSet implements Adapters {
  readonly #model: ModelView;
  readonly #end: () => void;
  readonly #members = new Map<string, Member>();
  readonly #undos = new Map<LowRankSite, Undo>();
  #active = new Map<string, number>();
  /** The kernels before they were merged. */
  #before: Map<tf.Variable, tf.Tensor> | undefined;

  /** @param end called when the last technique has left */
  constructor(model: ModelView, end: () => void) {
    this.#model = model;
    this.#end = end;
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
      adapters: new Map(sites.map((site) => [site, new FactorAdapter(factors[site.name]!, site)])),
      foreign: false,
    });
  }

  sites(name: string): readonly LowRankSite[] {
    this.#refuseUnknown('sites', [name]);
    return [...this.#members.get(name)!.adapters.keys()];
  }

  factors(name: string): { readonly [site: string]: Factors } {
    this.#refuseUnknown('factors', [name]);
    const { adapters } = this.#members.get(name)!;
    this.#refuseMore('factors', [name]);
    return Object.fromEntries([...adapters].map(([site, one]) => [site.name, one.factors!()]));
  }

  combine(name: string, weights: Weights): void {
    this.#refuseTaken('combine', name);
    this.#refuseUnknown('combine', Object.keys(weights));
    const members = Object.entries(weights).map(([of, weight]) => ({ weight, ...this.#members.get(of)! }));
    this.#refuseMore('combine', Object.keys(weights));
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
    this.#refusePacked([...this.#active.keys()]);
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
        if (isActive()) {
          this.#refusePacked([name]);
          this.#fold(name);
        } else for (const value of this.#before?.values() ?? []) value.dispose(); // what was folded in stays
        if (this.#before) this.#before = new Map();
      },
      leave: () => {
        this.unmerge();
        this.#remove(name);
        if ([...this.#members.values()].some(({ foreign }) => foreign)) return;
        for (const rest of this.names) this.#remove(rest);
        this.#end();
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

  #refuseMore(who: string, names: readonly string[]): void {
    const more = names.filter((name) => [...this.#members.get(name)!.adapters.values()].some((one) => !one.factors));
    if (more.length > 0)
      throw new FinetuneError(
        'bad-option',
        who,
        `${more.join(', ')} changes more than a product of two factors adds. Weigh it with use({ … }).`,
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

  #refusePacked(names: readonly string[]): void {
    const sites = new Set(names.flatMap((name) => [...this.#members.get(name)!.adapters.keys()]));
    const packed = [...sites].filter(({ kernel }) => !kernel).map(({ name }) => `"${name}"`);
    if (packed.length > 0) {
      const some = packed.slice(0, 5).join(', ') + (packed.length > 5 ? ` and ${packed.length - 5} more` : '');
      const advice = 'Save the adapter, load it on the same base in float32, and merge there.';
      throw new FinetuneError(
        'no-merge',
        'merge',
        `the kernels of ${some} are packed, and what is added to them would be rounded. ${advice}`,
      );
    }
  }

  #refuseMerged(who: string): void {
    if (this.#before) throw new FinetuneError('busy', who, 'called while adapters are merged. Call unmerge() first.');
  }
}
