/** The constants of a graph: each becomes a variable when first asked for, and a constant again in the end. */
import * as tf from '@tensorflow/tfjs-core';
import { view } from '../autograd/held.ts';
import type { Executor } from './tfjs-converter.ts';

export interface Constants {
  tensor(name: string): tf.Tensor;
  variable(name: string): tf.Variable;
  /** A new value for good. Borrows it. */
  assign(name: string, value: tf.Tensor): void;
  /** Ends the variables; `keep` leaves their values behind. */
  restore(keep: boolean): void;
}

export function constantsOf(executor: Executor): Constants {
  const first = new Map<string, tf.Tensor>();
  const tensor = (name: string) => executor.weightMap[name]![0]!;
  const put = (name: string, value: tf.Tensor) => {
    executor.weightMap[name]![0] = value; // the graph's initializer shares the list
    executor.weightMap = { ...executor.weightMap }; // its setter notes the ids that executeAsync must not dispose
  };
  return {
    tensor,
    variable(name) {
      const before = tensor(name);
      if (before instanceof tf.Variable) return before;
      const variable = tf.variable(before, true, name in tf.engine().registeredVariables ? undefined : name);
      first.set(name, before);
      put(name, variable);
      return variable;
    },
    assign(name, value) {
      const before = tensor(name);
      if (before instanceof tf.Variable) return before.assign(value);
      put(name, tf.keep(view(value)));
      before.dispose();
    },
    restore(keep) {
      for (const [name, constant] of first) {
        const variable = tensor(name);
        put(name, keep ? tf.keep(view(variable)) : constant);
        variable.dispose();
        if (keep) constant.dispose();
      }
      first.clear();
    },
  };
}
