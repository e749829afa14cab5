/** LaMDA on a model: an adapter per site, the steps that were made, and what a file holds of both. */
import type { Attachment, FrozenRows, Json, ModelView, SavedState } from '@leantune/core';
import { join, type LowRankSite, type Membership, svdOf } from '@leantune/core/low-rank';
import * as tf from '@tensorflow/tfjs-core';
import { frozenRows } from './freezing.ts';
import { initialFactors } from './initial-factors.ts';
import { LamdaAdapter } from './lamda-adapter.ts';
import type { LamdaOptions, Settled } from './options.ts';
import type { Ranked, SiteRanks } from './site-ranks.ts';

export function attachLamda(model: ModelView, who: string, { ranks, notes }: SiteRanks, options: Settled, given: LamdaOptions): Attachment {
  const state = new LamdaState(makeAdapters(ranks, options, given), options);
  const member = joined(model, who, options.adapter, state);
  const { steps, freezeFraction } = options;
  return {
    get variables() {
      return member.active ? state.variables : [];
    },
    options: { ...options, ranks: Object.fromEntries([...ranks].map(([site, r]) => [site.name, r])), svd: 'saved' } satisfies Json,
    notes: [
      ...notes,
      `${ranks.size} sites with ${describe([...ranks.values()])}; B freezes row by row over the first ${Math.ceil(freezeFraction * steps)} of ${steps} steps`,
    ],
    saved: state,
    step: { afterStep: () => state.made(), freezes: () => (member.active ? state.freeze() : []) },
    merge: () => member.merge(),
    detach() {
      member.leave();
      state.dispose();
    },
  };
}

function joined(model: ModelView, who: string, name: string, state: LamdaState): Membership {
  try {
    return join(model, name, state.adapters, who);
  } catch (error) {
    state.dispose();
    throw error;
  }
}

function makeAdapters(ranks: Ranked, { rank, alpha, init, dropout, adapter, ...freezing }: Settled, { svd }: LamdaOptions) {
  const prefix = adapter === 'default' ? '' : `${adapter}/`;
  const scale = alpha / rank; // the same at every rank, so that one learning rate suits all
  const adapters = new Map<LowRankSite, LamdaAdapter>();
  try {
    for (const [site, r] of ranks) {
      const factors = initialFactors(init, svdOf(site, r, svd), site, r, scale);
      adapters.set(site, new LamdaAdapter(site, factors, { scale, dropout }, frozenRows(0, r, freezing), prefix + site.name));
    }
    return adapters;
  } catch (error) {
    for (const one of adapters.values()) one.dispose();
    throw error;
  }
}

class LamdaState implements SavedState {
  readonly adapters: ReadonlyMap<LowRankSite, LamdaAdapter>;
  readonly #freezing: Settled;
  #steps = 0;

  constructor(adapters: ReadonlyMap<LowRankSite, LamdaAdapter>, freezing: Settled) {
    this.adapters = adapters;
    this.#freezing = freezing;
  }

  get variables(): readonly tf.Variable[] {
    return [...this.adapters.values()].flatMap(({ s, b }) => (b.trained ? [s, b.trained] : [s]));
  }

  made(): void {
    this.#steps++;
  }

  freeze(): readonly FrozenRows[] {
    return [...this.adapters.values()].flatMap(({ rank, b }) => {
      const more = frozenRows(this.#steps, rank, this.#freezing) - (b.frozen?.shape[0] ?? 0);
      return more > 0 ? [b.freeze(more)] : [];
    });
  }

  read(): tf.NamedTensorMap {
    const parts = [...this.adapters].flatMap(([site, one]) =>
      Object.entries(one.read()).map(([part, t]) => [`${site.name}/${part}`, t] as const),
    );
    return { steps: tf.scalar(this.#steps, 'int32'), ...Object.fromEntries(parts) };
  }

  write(tensors: tf.NamedTensorMap): void {
    this.#steps = tensors['steps']!.dataSync()[0]!;
    for (const [site, one] of this.adapters) {
      const prefix = `${site.name}/`;
      const own = Object.entries(tensors).filter(([name]) => name.startsWith(prefix) && !name.slice(prefix.length).includes('/'));
      one.write(
        Object.fromEntries(own.map(([name, t]) => [name.slice(prefix.length), t])),
        frozenRows(this.#steps, one.rank, this.#freezing),
      );
    }
  }

  dispose(): void {
    for (const one of this.adapters.values()) one.dispose();
  }
}

function describe(ranks: readonly number[]): string {
  const [low, high] = [Math.min(...ranks), Math.max(...ranks)];
  return low === high ? `rank ${low}` : `ranks ${low} to ${high}`;
}
