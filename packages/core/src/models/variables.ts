/** Reads plain variables by name: each is a site, replaced where it is the weight of a kernel. */
import * as tf from '@tensorflow/tfjs-core';
import { FinetuneError } from '../errors.ts';
import { Replacements, selectSites, selectWeights, type Switch, switchedOff } from '../sites.ts';
import type { Forward, Site, SiteKind, SiteWeight, Undo } from '../technique.ts';
import { intercept, operands } from './intercept.ts';
import type { ModelReader } from './model-reader.ts';

export type Variables = { readonly [name: string]: tf.Variable };

/** A variable says nothing of its use: rank 2 is taken for a dense kernel, ranks 3 to 5 for kernels of convolutions. */
const kinds: readonly SiteKind[] = ['other', 'other', 'dense', 'conv1d', 'conv2d', 'conv3d'];

class VariableSite implements Site {
  readonly name: string;
  readonly type: string = 'Variable';
  readonly kind: SiteKind;
  readonly weights: readonly SiteWeight[];
  readonly variable: tf.Variable;
  readonly replacements: Replacements;

  constructor(name: string, variable: tf.Variable, power: Switch) {
    this.name = name;
    this.variable = variable;
    this.kind = kinds[variable.rank] ?? 'other';
    this.weights = variable.dtype === 'float32' ? [{ name, variable: () => variable }] : [];
    this.replacements = new Replacements(power);
  }

  get kernel(): tf.Variable | undefined {
    return this.kind === 'other' ? undefined : this.variable;
  }

  /** `next` is the kernel that reads the variable, as it is called: tf.matMul has no bias. */
  replace(forward: (x: tf.Tensor, next: Forward) => tf.Tensor): Undo {
    if (!this.kernel) throw new FinetuneError('bad-option', 'replace', `got variable "${this.name}" of shape [${this.variable.shape}]; expected a kernel, of rank 2 or more. Leave it out of the targets.`);
    return this.replacements.add(forward);
  }

  addToKernel(delta: tf.Tensor): void {
    tf.tidy(() => this.variable.assign(tf.add(this.variable, delta)));
  }
}

export function readVariables(model: Variables): ModelReader {
  const power = { off: false };
  const sites = Object.entries(model).map(([name, variable]) => new VariableSite(name, variable, power));
  return {
    kind: 'variables',
    model,
    weights: sites.map((site) => site.variable),
    sites: (filter, who = 'sites') => selectSites(sites, filter, who),
    trainable: (filter, who = 'finetune') => {
      const all = filter === undefined ? sites.map((site) => site.variable) : selectWeights(sites, filter, who).map((w) => w.variable());
      return [...new Set(all.filter((v) => filter !== undefined || (v.trainable && v.dtype === 'float32')))];
    },
    nameOf: (variable) => sites.find((site) => site.variable === variable)?.name,
    fingerprint: () => sites.map(({ name, variable: { shape, dtype } }) => ({ name, shape, dtype })),
    state: () => [],
    disabled: (run) => switchedOff(power, run),
    install: () =>
      intercept({
        find(kernel, inputs) {
          const weight = kernel === undefined ? undefined : operands[kernel]?.[1];
          const used = kernel === undefined ? Object.values(inputs) : weight ? [inputs[weight]] : [];
          const site = sites.find(({ variable, replacements }) => replacements.active && used.some((t) => t?.dataId === variable.dataId));
          return site && ((x, next) => site.replacements.run(x, next));
        },
      }),
  };
}
