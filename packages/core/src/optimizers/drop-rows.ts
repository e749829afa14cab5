/**
 * Rows that train no more leave their variable, and what optimizers hold for it: gradient, moments and decay no longer reach them.
 *
 * Optimizers of tfjs hold a list of slots per kind, `{ variable }[]`, at the positions of the variables they train.
 */
import * as tf from '@tensorflow/tfjs-core';
import { rebind } from '../autograd/held.ts';

interface Shrinking {
  dropRows(variable: tf.Variable, rows: number): void;
}

const shrinks = (optimizer: object): optimizer is Shrinking => 'dropRows' in optimizer;

/** Takes the first `rows` rows of a variable away, in place. */
export function dropRows(variable: tf.Variable, rows: number): void {
  tf.tidy(() => rebind(variable, tf.slice(variable, [rows], [variable.shape[0]! - rows])));
}

/** The same for an optimizer's slots of `variable`, which it trains as the one at `index`; called before the variable itself shrinks. */
export function dropSlotRows(optimizer: tf.Optimizer, variable: tf.Variable, index: number, rows: number): void {
  if (shrinks(optimizer)) {
    optimizer.dropRows(variable, rows);
    return;
  }
  const lists = Object.values(optimizer).filter((field): field is { variable?: tf.Variable }[] => Array.isArray(field));
  for (const list of lists) {
    const slot = list[index]?.variable;
    if (!(slot instanceof tf.Variable)) continue;
    if (rows < variable.shape[0]!) dropRows(slot, rows);
    else for (const gone of list.splice(index, 1)) gone.variable!.dispose();
  }
}
