/** Reads a checkpoint's `config.json`, and says in one message all that it lacks. */
import { FinetuneError } from '@leantune/core';

export type RawConfig = { readonly [field: string]: unknown };

/** What a checkpoint is used for; the names of Hugging Face's heads. */
export type Task =
  | 'causal-lm'
  | 'sequence-classification'
  | 'token-classification'
  | 'image-classification'
  | 'sentence-embedding'
  | 'hidden-states';

export interface ConfigReader {
  readonly raw: RawConfig;
  readonly type: string;
  number(field: string, fallback?: number): number;
  flag(field: string, fallback: boolean): boolean;
  /** One of `choices`. */
  choice<T extends string>(field: string, choices: readonly T[], fallback?: T): T;
  /** @throws FinetuneError `bad-model` with every fault that the other methods met */
  check(): void;
}

export function readConfig(raw: RawConfig): ConfigReader {
  const type = String(raw['model_type']);
  const faults: string[] = [];
  const fault = (field: string, expected: string) => {
    faults.push(`${field} is ${JSON.stringify(raw[field]) ?? 'missing'}, expected ${expected}`);
  };
  return {
    raw,
    type,
    number(field, fallback) {
      const value = raw[field] ?? fallback;
      if (typeof value === 'number' && Number.isFinite(value) && value >= 0) return value;
      fault(field, 'a number');
      return 1;
    },
    flag(field, fallback) {
      const value = raw[field] ?? fallback;
      if (typeof value !== 'boolean') fault(field, 'true or false');
      return value === true;
    },
    choice(field, choices, fallback) {
      const value = (raw[field] ?? fallback) as (typeof choices)[number];
      if (!choices.includes(value)) fault(field, `one of ${choices.join(', ')}`);
      return value;
    },
    check() {
      if (faults.length === 0) return;
      throw new FinetuneError(
        'bad-model',
        'transformers',
        `config.json of "${type}": ${faults.join('; ')}. Use a checkpoint that says so.`,
      );
    },
  };
}

/** The labels of a classifier. */
export function labelsOf(raw: RawConfig): number | undefined {
  const names = raw['id2label'] as object | undefined;
  return typeof raw['num_labels'] === 'number' ? raw['num_labels'] : names ? Object.keys(names).length : undefined;
}
