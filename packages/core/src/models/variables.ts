/** Reads plain variables by name: each is a site, replaced where it is the weight of a kernel. */
import type * as tf from '@tensorflow/tfjs-core';
import type { SiteKind, SiteWeight } from '../technique.ts';
import { intercept, operands } from './intercept.ts';
import { type ModelReader, makeReader } from './model-reader.ts';
import { ReplaceableSite, type Switch } from './replaceable-site.ts';

export type Variables = { readonly [name: string]: tf.Variable };

/** A variable says nothing of its use: rank 2 is taken for a dense kernel, ranks 3 to 5 for kernels of convolutions. */
const kinds: readonly SiteKind[] = ['other', 'other', 'dense', 'conv1d', 'conv2d', 'conv3d'];

/** `next` is the kernel that reads the variable, as it is called: tf.matMul has no bias. */
class VariableSite extends ReplaceableSite {
  readonly weights: readonly SiteWeight[];
  readonly variable: tf.Variable;

  constructor(name: string, variable: tf.Variable, power: Switch) {
    super(name, kinds[variable.rank] ?? 'other', 'Variable', power);
    this.variable = variable;
    this.weights = variable.dtype === 'float32' ? [{ name, variable: () => variable }] : [];
  }

  get kernel(): tf.Variable | undefined {
    return this.replaceable ? this.variable : undefined;
  }

  protected get replaceable(): boolean {
    return this.kind !== 'other';
  }
}

export function readVariables(model: Variables): ModelReader {
  const power = { off: false };
  const base = Object.entries(model);
  const sites = base.map(([name, variable]) => new VariableSite(name, variable, power));
  return makeReader({
    kind: 'variables',
    model,
    sites,
    power,
    base: () => base,
    own: () => Object.values(model).filter((v) => v.trainable && v.dtype === 'float32'),
    state: () => [],
    install: () =>
      intercept({
        find(kernel, inputs) {
          const used = kernel === undefined ? Object.values(inputs) : [inputs[operands[kernel]?.[1] ?? '']];
          const site = sites.find(({ variable, replaced }) => replaced && used.some((t) => t?.dataId === variable.dataId));
          return site && ((x, next) => site.run(x, next));
        },
      }),
  });
}
