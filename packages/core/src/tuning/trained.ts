/** What trains in a tuning: the model's own selected weights, and the variables of the techniques, which may come and go. */
import type * as tf from '@tensorflow/tfjs-core';
import { FinetuneError } from '../errors.ts';
import { dropRows, dropSlotRows } from '../optimizers/drop-rows.ts';
import type { Attachment, Technique } from '../technique.ts';

export class Trained {
  /** The model's own. */
  readonly own: readonly tf.Variable[];
  readonly #attachments: readonly Attachment[];
  #known: readonly tf.Variable[] = [];

  constructor(own: readonly tf.Variable[], attachments: readonly Attachment[]) {
    this.own = own;
    this.#attachments = attachments;
  }

  /** Now. */
  get variables(): readonly tf.Variable[] {
    return [...this.own, ...this.#attachments.flatMap((a) => a.variables ?? [])];
  }

  /** Now or before, each at the position it had first: stock optimizers find their slots by position. */
  get known(): readonly tf.Variable[] {
    this.#known = [...new Set([...this.#known, ...this.variables])].filter((v) => !v.isDisposed);
    return this.#known;
  }

  /** Tells the techniques that a step was made, and takes the rows out that they freeze. */
  moved(step: number, optimizers: readonly tf.Optimizer[]): void {
    for (const a of this.#attachments) a.step?.afterStep?.(step);
    for (const { variable, rows } of this.#attachments.flatMap((a) => a.step?.freezes?.() ?? [])) {
      for (const optimizer of optimizers) dropSlotRows(optimizer, variable, this.known.indexOf(variable), rows);
      if (rows < variable.shape[0]!) dropRows(variable, rows);
      else variable.dispose();
    }
  }

  /** Tells the techniques that a step was not made. */
  skipped(): void {
    for (const a of this.#attachments) a.step?.afterSkip?.();
  }

  /** @throws FinetuneError `conflict`, `no-match` */
  check(techniques: readonly Technique[]): void {
    const owners = new Map<tf.Variable, string[]>();
    this.#attachments.forEach((a, i) => {
      for (const v of a.variables ?? []) owners.set(v, [...(owners.get(v) ?? []), techniques[i]!.name]);
    });
    const faults = [...owners].filter(([, names]) => names.length > 1).map(([v, names]) => `${v.name} (${names.join(', ')})`);
    if (faults.length > 0)
      throw new FinetuneError(
        'conflict',
        'finetune',
        `variables that more than one technique trains: ${faults.join('; ')}. Give the techniques different targets.`,
      );
    if (this.variables.length === 0)
      throw new FinetuneError(
        'no-match',
        'finetune',
        'nothing trains: the model has no trainable weights. Select some with { trainable }, or add a technique that brings its own.',
      );
  }
}
