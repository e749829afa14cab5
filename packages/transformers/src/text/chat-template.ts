/** A conversation as text, by the template that a checkpoint brings. */
import { FinetuneError } from '@leantune/core';

/** One turn of a conversation. */
export interface ChatMessage {
  readonly role: 'system' | 'user' | 'assistant' | (string & {});
  readonly content: string;
}

interface Template {
  render(values: { [name: string]: unknown }): string;
}

/** @param template a string, or a list of named ones of which that called `default` is taken */
export function chatTemplate(
  template: unknown,
  source: string,
  parse: (text: string) => Template,
  values: { readonly [name: string]: unknown },
): string {
  const named = Array.isArray(template) ? template.find(({ name }) => name === 'default')?.template : template;
  if (typeof named !== 'string') {
    const advice = 'Use a checkpoint that was taught to chat, or write the prompt as text.';
    throw new FinetuneError('bad-model', 'transformers', `${source}: has no chat template. ${advice}`);
  }
  try {
    return parse(named).render({ ...values });
  } catch (cause) {
    throw new FinetuneError(
      'bad-option',
      'transformers',
      `${source}: the chat template refuses the messages: ${(cause as Error).message}`,
      { cause },
    );
  }
}
