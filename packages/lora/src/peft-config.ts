/** Reads `adapter_config.json`. It comes from somebody else: every field is of its kind, and every pattern is one, before anything is made of it. */
import { FinetuneError } from '@leantune/core';
import type { PeftConfig } from './config.ts';

const isString = (x: unknown): boolean => typeof x === 'string';
const isNumber = (x: unknown): boolean => typeof x === 'number';
const isBoolean = (x: unknown): boolean => typeof x === 'boolean';
const isObject = (x: unknown): x is object => typeof x === 'object' && x !== null && !Array.isArray(x);
const oneOrMore = (of: (x: unknown) => boolean) => (x: unknown) => [x].flat().every(of);
const names = ['a name or a list of names', oneOrMore(isString)] as const;
const numbers = ['numbers by pattern', (x: unknown) => isObject(x) && Object.values(x).every(isNumber)] as const;

/** What peft writes in a field, beside null. */
const kinds: { readonly [field in keyof PeftConfig]-?: readonly [expected: string, holds: (x: unknown) => boolean] } = {
  r: ['a number', isNumber],
  lora_alpha: ['a number', isNumber],
  lora_dropout: ['a number', isNumber],
  target_modules: names,
  exclude_modules: names,
  layers_to_transform: ['a number or a list of numbers', oneOrMore(isNumber)],
  layers_pattern: names,
  rank_pattern: numbers,
  alpha_pattern: numbers,
  use_rslora: ['true or false', isBoolean],
  use_dora: ['true or false', isBoolean],
  init_lora_weights: ['true, false or a name', (x) => isBoolean(x) || isString(x)],
  modules_to_save: ['a list of names', (x) => Array.isArray(x) && x.every(isString)],
};

/** Fields whose strings, or keys, are regular expressions; a list in the first two holds plain names. */
function patternsOf({
  target_modules,
  exclude_modules,
  layers_pattern,
  rank_pattern,
  alpha_pattern,
  modules_to_save,
}: PeftConfig): string[] {
  const whole = [target_modules, exclude_modules].filter((x) => typeof x === 'string');
  return [...whole, ...[layers_pattern ?? [], modules_to_save ?? []].flat(), ...Object.keys({ ...rank_pattern, ...alpha_pattern })];
}

/**
 * The fields of peft; those that are null are left out.
 *
 * @throws FinetuneError `bad-file` with every field that is not what peft writes
 */
export function parseConfig(text: string): PeftConfig {
  const bad = (problem: string, cause?: unknown): FinetuneError =>
    new FinetuneError('bad-file', 'importPeft', `adapter_config.json ${problem}. Save the adapter again with peft.`, { cause });
  let parsed: unknown;
  try {
    parsed = JSON.parse(text);
  } catch (cause) {
    throw bad(`is not JSON (${(cause as Error).message})`, cause);
  }
  if (!isObject(parsed)) throw bad('is no JSON object');
  const { peft_type: type } = parsed as { peft_type?: unknown };
  if (type !== 'LORA')
    throw new FinetuneError(
      'bad-file',
      'importPeft',
      `got an adapter of type ${isString(type) ? type : JSON.stringify(type)}; expected LORA. Convert it in Python.`,
    );
  const fields = Object.fromEntries(Object.entries(parsed).filter(([, value]) => value !== null));
  const faults = Object.entries(kinds).flatMap(([field, [expected, holds]]) => {
    const value = Object.hasOwn(fields, field) ? fields[field] : undefined;
    return value === undefined || holds(value) ? [] : [`${field} = ${JSON.stringify(value)} (expected ${expected})`];
  });
  if (faults.length === 0)
    for (const pattern of patternsOf(fields)) if (!compiles(pattern)) faults.push(`the pattern ${JSON.stringify(pattern)} is none`);
  if (faults.length > 0) throw bad(`has ${faults.join(', ')}`);
  return fields;
}

function compiles(pattern: string): boolean {
  try {
    return Boolean(new RegExp(`(${pattern})`));
  } catch {
    return false;
  }
}
