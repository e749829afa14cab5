/** What a file holds, by name: what trains, the moving statistics that follow it, and what techniques hold beside. */
import * as tf from '@tensorflow/tfjs-core';
import type { Attachment, Technique } from '../technique.ts';

interface Held {
  readonly technique: Technique;
  readonly attachment: Attachment;
}

interface Base {
  /** The model's own variables that files hold, whatever the techniques do. */
  variables(): readonly tf.Variable[];
  /** The same in every process. */
  nameOf(v: tf.Variable): string;
}

export class Saved {
  readonly #held: readonly Held[];
  readonly #base: Base;

  constructor(held: readonly Held[], base: Base) {
    this.#held = held;
    this.#base = base;
  }

  /** Runs `use` on what a file holds now. */
  async with<T>(use: (tensors: tf.NamedTensorMap) => T | Promise<T>): Promise<T> {
    const state = this.#state();
    try {
      return await use({ ...this.#variables(), ...state });
    } finally {
      tf.dispose(Object.values(state));
    }
  }

  /** Borrows. */
  write(tensors: tf.NamedTensorMap): void {
    for (const [name, v] of Object.entries(this.#variables())) v.assign(tensors[name]!);
    for (const { technique, attachment } of this.#held) {
      const prefix = fileName(technique, '');
      const own = Object.entries(tensors).filter(([name]) => name.startsWith(prefix));
      attachment.saved?.write(Object.fromEntries(own.map(([name, t]) => [name.slice(prefix.length), t])));
    }
  }

  #variables(): { readonly [name: string]: tf.Variable } {
    const plain = this.#held.flatMap(({ attachment }) => (attachment.saved ? [] : (attachment.variables ?? [])));
    return Object.fromEntries([...plain, ...this.#base.variables()].map((v) => [this.#base.nameOf(v), v]));
  }

  #state(): tf.NamedTensorMap {
    const named = this.#held.flatMap(({ technique, attachment }) =>
      Object.entries(attachment.saved?.read() ?? {}).map(([name, t]) => [fileName(technique, name), t] as const),
    );
    return Object.fromEntries(named);
  }
}

const fileName = ({ name }: Technique, own: string): string => `${name}:${own}`;

/** A technique's variable in files and errors. Engine-wide names are unique by a number, which goes. */
export const nameIn = (technique: Technique, v: tf.Variable): string => fileName(technique, v.name.replace(/#\d+$/, ''));
