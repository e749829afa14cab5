/** The architectures there are, and what a config says that it is for. */
import { FinetuneError } from '@leantune/core';
import type { Architecture } from './architecture.ts';
import { bert, roberta } from './bert.ts';
import type { RawConfig, Task } from './config.ts';
import { distilbert } from './distilbert.ts';
import { gpt2 } from './gpt2.ts';
import { llama } from './llama.ts';
import { deit, vit } from './vit.ts';

const table: readonly Architecture[] = [llama, gpt2, bert, roberta, distilbert, vit, deit];

/** @throws FinetuneError `bad-model` for a `model_type` that is not in the table */
export function architectureOf(config: RawConfig): Architecture {
  const found = table.find(({ types }) => types.includes(String(config['model_type'])));
  if (found) return found;
  const known = table.flatMap(({ types }) => types).join(', ');
  throw new FinetuneError(
    'bad-model',
    'transformers',
    `config.json has model_type ${JSON.stringify(config['model_type']) ?? 'missing'}; expected one of ${known}. Use a checkpoint of one of these.`,
  );
}

const heads: readonly (readonly [class_: RegExp, task: Task])[] = [
  [/ForCausalLM$|LMHeadModel$/, 'causal-lm'],
  [/ForSequenceClassification$/, 'sequence-classification'],
  [/ForTokenClassification$/, 'token-classification'],
  [/ForImageClassification(WithTeacher)?$/, 'image-classification'],
];

/** What the config's own class is for. */
export function taskOf(config: RawConfig): Task {
  const [name = ''] = (config['architectures'] ?? []) as string[];
  return heads.find(([pattern]) => pattern.test(name))?.[1] ?? 'hidden-states';
}
