/** What `finetune` needs to know of a model and to do to it, the same for the three kinds. */
import * as tf from '@tensorflow/tfjs-core';
import { view } from '../autograd/held.ts';
import { selectSites, selectWeights } from '../sites.ts';
import type { ModelView, Site, SiteFilter } from '../technique.ts';
import type { Switch } from './replaceable-site.ts';

/** A weight of the base, as adapter files name it. */
export interface WeightSpec {
  readonly name: string;
  readonly shape: readonly number[];
  readonly dtype: tf.DataType;
}

export interface ModelReader extends ModelView {
  /** All tensors of the base, frozen or not: keeping them for backward is free. */
  readonly weights: readonly tf.Tensor[];
  /**
   * What trains. A filter selects sites, with all their weights, or single weights by full name, whatever the flags of layers say.
   * Without a filter: what the model itself says is trainable.
   *
   * @throws FinetuneError 'no-match' for a filter, or an entry of one, that selects nothing
   */
  trainable(filter?: SiteFilter, who?: string): readonly tf.Variable[];
  /** The name of a base variable in this model, the same in every process: `'block_3/conv/kernel'`. */
  nameOf(variable: tf.Variable): string | undefined;
  /** Hooks the model while it is tuned; replacements of sites work only meanwhile. */
  install(selected: ReadonlySet<tf.Variable>, checkpoint?: boolean): Uninstall;
  /** Holds on to the values of the base; the result ends that, and puts them back if asked to. */
  backup(): (putBack: boolean) => void;
  /** Runs without the replacements of sites: what the base model computes. */
  disabled<T>(run: () => T): T;
  /** Names, shapes and dtypes of the base, for adapter files. */
  fingerprint(): readonly WeightSpec[];
  /** Variables that do not train but that a training forward moves (moving statistics), for the rollback of a failed step. */
  state(): readonly tf.Variable[];
}

/**
 * Leaves the model as it was. Trained LayersModel weights and plain variables keep their values, as they are the user's own. The
 * constants of a GraphModel that became variables are constants again: as they first were, or with their trained values if `keep`.
 */
export type Uninstall = (keep?: boolean) => void;

interface Parts extends Pick<ModelReader, 'kind' | 'model' | 'install' | 'state'> {
  readonly sites: readonly Site[];
  readonly power: Switch;
  /** The tensors of the base by name. */
  base(): readonly (readonly [name: string, tensor: tf.Tensor])[];
  /** What files say of the base. @default its names, shapes and dtypes */
  fingerprint?(): readonly WeightSpec[];
  /** A new value for a tensor of the base. Borrows it. */
  assign(name: string, value: tf.Tensor): void;
  /** What trains without a filter. */
  own(): readonly tf.Variable[];
}

export function makeReader({ kind, model, install, state, sites, power, base, fingerprint, own, assign }: Parts): ModelReader {
  return {
    kind,
    model,
    install,
    state,
    get weights() {
      return base().map(([, tensor]) => tensor);
    },
    sites: (filter, who = 'sites') => selectSites(sites, filter, who),
    trainable: (filter, who = 'finetune') => [
      ...new Set(filter === undefined ? own() : selectWeights(sites, filter, who).map((w) => w.variable())),
    ],
    nameOf: (variable) => base().find(([, tensor]) => tensor === variable)?.[0],
    fingerprint: fingerprint ?? (() => base().map(([name, { shape, dtype }]) => ({ name, shape, dtype }))),
    backup() {
      const before = base().map(([name, tensor]) => [name, tf.keep(view(tensor))] as const);
      return (putBack) => {
        const now = new Map(base());
        for (const [name, value] of before) {
          if (putBack && now.get(name)!.dataId !== value.dataId) assign(name, value);
          value.dispose();
        }
      };
    },
    disabled(run) {
      const before = power.off;
      power.off = true;
      const restore = () => {
        power.off = before;
      };
      try {
        const result = run();
        if (result instanceof Promise) return result.finally(restore) as typeof result;
        restore();
        return result;
      } catch (error) {
        restore();
        throw error;
      }
    },
  };
}
