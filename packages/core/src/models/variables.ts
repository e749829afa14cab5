/** Reads plain variables by name: each is a site, replaced where it is the weight of a kernel. */
import type * as tf from '@tensorflow/tfjs-core';
import type { SiteKind } from '../technique.ts';
import { intercept, operands } from './intercept.ts';
import { type ModelReader, makeReader } from './model-reader.ts';
import { makeSite } from './replaceable-site.ts';

export type Variables = { readonly [name: string]: tf.Variable };

/** A variable says nothing of its use: rank 2 is taken for a dense kernel, ranks 3 to 5 for kernels of convolutions. */
const kinds: readonly SiteKind[] = ['other', 'other', 'dense', 'conv1d', 'conv2d', 'conv3d'];

export function readVariables(model: Variables): ModelReader {
  const power = { off: false };
  const base = Object.entries(model);
  const places = base.map(([name, variable]) => {
    const kind = kinds[variable.rank] ?? 'other';
    const replaceable = () => kind !== 'other';
    /** `next` is the kernel that reads the variable, as it is called: tf.matMul has no bias. */
    const site = makeSite({
      name,
      kind,
      type: 'Variable',
      power,
      weights: variable.dtype === 'float32' ? [{ name, variable: () => variable }] : [],
      replaceable,
      kernel: () => (replaceable() ? variable : undefined),
      assign: (value) => variable.assign(value),
    });
    return { site, variable };
  });
  return makeReader({
    kind: 'variables',
    model,
    sites: places.map(({ site }) => site),
    power,
    base: () => base,
    assign: (name, value) => model[name]!.assign(value),
    own: () => Object.values(model).filter((v) => v.trainable && v.dtype === 'float32'),
    state: () => [],
    install: () =>
      intercept({
        find(kernel, inputs) {
          const used = kernel === undefined ? Object.values(inputs) : [inputs[operands[kernel]?.[1] ?? '']];
          return places.find(({ site, variable }) => site.replaced && used.some((t) => t?.dataId === variable.dataId))?.site.run;
        },
      }),
  });
}
