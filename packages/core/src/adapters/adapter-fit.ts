/**
 * What an adapter file says about itself, and whether it fits a model. All that does not fit comes in one error.
 */
import type * as tf from '@tensorflow/tfjs-core';
import { FinetuneError } from '../errors.ts';
import type { Json } from '../technique.ts';

/** Name, shape and dtype of a tensor. */
export interface TensorSpec {
  readonly name: string;
  readonly shape: readonly number[];
  readonly dtype: string;
}

/** A technique as a file names it. */
export interface SavedTechnique {
  readonly name: string;
  readonly options: Json;
}

export interface AdapterHeader {
  readonly format: '@leantune/adapter';
  readonly version: 1;
  readonly techniques: readonly SavedTechnique[];
  /** The weights of the base model: its fingerprint. */
  readonly base: readonly TensorSpec[];
  /** The weights of the base that train beside the techniques' own variables. */
  readonly trained?: readonly string[];
  /** Whose state the file holds, for going on with training. `config` is for people; it is not restored. */
  readonly optimizer?: { readonly className: string; readonly config: Json; readonly iterations: number };
  /** CRC-32 of header, specs and weights. */
  readonly checksum: string;
}

/** What {@link checkAdapter} compares a file with. */
export interface Expected {
  readonly techniques: readonly SavedTechnique[];
  readonly base: readonly TensorSpec[];
  readonly variables: readonly TensorSpec[];
}

const isObject = (x: unknown): x is { readonly [field: string]: unknown } => typeof x === 'object' && x !== null && !Array.isArray(x);
const isString = (x: unknown): x is string => typeof x === 'string';
const isSpec = (x: unknown): boolean =>
  isObject(x) && isString(x['name']) && isString(x['dtype']) && Array.isArray(x['shape']) && x['shape'].every(Number.isSafeInteger);

/** What in a file is not of its kind: a checksum that fits does not make it so. */
export function headerFaults(header: object, weights: readonly unknown[]): string[] {
  const { techniques, base, trained, optimizer } = header as { readonly [field: string]: unknown };
  const holds = {
    techniques: Array.isArray(techniques) && techniques.every((x) => isObject(x) && isString(x['name'])),
    base: Array.isArray(base) && base.every(isSpec),
    trained: trained === undefined || (Array.isArray(trained) && trained.every(isString)),
    weights: weights.every(isSpec),
    optimizer: optimizer === undefined || (isObject(optimizer) && isString(optimizer['className'])),
  };
  return Object.entries(holds).flatMap(([field, good]) => (good ? [] : [field]));
}

const describe = ({ name, shape, dtype }: TensorSpec): string => `"${name}" [${shape}] ${dtype}`;

/** JSON with sorted keys: what lies between save and load may reorder them. */
export function canonical(value: unknown): string {
  const sort = (x: object): object => Object.fromEntries(Object.entries(x).sort(([a], [b]) => (a < b ? -1 : 1)));
  return JSON.stringify(value ?? null, (_, x) => (x && typeof x === 'object' && !Array.isArray(x) ? sort(x) : x));
}

/**
 * Whether an adapter fits a model: the same techniques with the same options in the same order, a base with the same weights, and a
 * tensor of the right shape and dtype for every variable. The order of weights and tensors does not matter.
 *
 * @throws FinetuneError `bad-file` with every fault; of the base's, the first five of a kind and their number.
 */
export function checkAdapter(header: AdapterHeader, tensors: tf.NamedTensorMap, expected: Expected): void {
  const list = (techniques: readonly SavedTechnique[]): string =>
    techniques.map(({ name, options }) => `${name}(${canonical(options)})`).join(', ') || 'none';
  const [saved, wanted] = [list(header.techniques), list(expected.techniques)];
  const file = Object.entries(tensors).map(([name, { shape, dtype }]) => ({ name, shape, dtype }));
  const faults = [
    ...(saved === wanted ? [] : [`techniques ${saved} (expected ${wanted})`]),
    ...differences('weights of the base', header.base, expected.base, 5),
    ...differences('tensors', file, expected.variables, Infinity),
  ];
  if (faults.length === 0) return;
  const advice = 'Load it on the base it was trained on, with the techniques it was trained with.';
  throw new FinetuneError('bad-file', 'load', `the adapter does not fit this model:\n- ${faults.join('\n- ')}\n${advice}`);
}

function differences(what: string, file: readonly TensorSpec[], model: readonly TensorSpec[], limit: number): string[] {
  const find = (specs: readonly TensorSpec[]): Map<string, string> => new Map(specs.map((spec) => [spec.name, describe(spec)]));
  const [inFile, inModel] = [find(file), find(model)];
  const kinds = {
    missing: [...inModel].flatMap(([name, text]) => (inFile.has(name) ? [] : [text])),
    unexpected: [...inFile].flatMap(([name, text]) => (inModel.has(name) ? [] : [text])),
    misshapen: [...inModel].flatMap(([name, text]) =>
      [text, undefined].includes(inFile.get(name)) ? [] : [`${inFile.get(name)} (expected ${text})`],
    ),
  };
  return Object.entries(kinds).flatMap(([kind, items]) => {
    const more = items.length > limit ? ` and ${items.length - limit} more` : '';
    return items.length > 0 ? [`${items.length} ${kind} ${what}: ${items.slice(0, limit).join(', ')}${more}`] : [];
  });
}
