/** A checkpoint's tokenizer, through Hugging Face's own packages, which are loaded when first asked. */
import { FinetuneError } from '@leantune/core';
import { resolveSource } from '../sources/resolve.ts';
import { readJson, readText, type Source } from '../sources/source.ts';
import { type ChatMessage, chatTemplate } from './chat-template.ts';

/** Turns text into tokens and back. */
export interface TextTokenizer {
  /** Tokens of a text, with those that the model wants around it. */
  encode(text: string, options?: EncodeOptions): number[];
  /** The text of tokens, without special ones. */
  decode(tokens: readonly number[]): string;
  /**
   * A conversation as the model was taught to see it; with `reply`, up to where the model is to answer.
   *
   * @throws FinetuneError `bad-model` if the checkpoint has no chat template, `bad-option` if the template refuses the messages
   */
  chat(messages: readonly ChatMessage[], options?: { readonly reply?: boolean }): Promise<string>;
  /** The token that ends a text, if the checkpoint says which. */
  readonly end: number | undefined;
  /** The token that fills up rows; 0 if the checkpoint says none. */
  readonly padding: number;
}

/** What encoding a text can be told. */
export interface EncodeOptions {
  /** Adds what the model wants around a text, such as [CLS] and [SEP]. A chat has its own. @default true */
  readonly special?: boolean;
}

/**
 * Reads `tokenizer.json` and `tokenizer_config.json`.
 *
 * @param source as of `fromPretrained`
 * @throws FinetuneError `bad-file` without a `tokenizer.json`, `bad-option` without the package `@huggingface/tokenizers`
 */
export async function loadTokenizer(source: string | Source): Promise<TextTokenizer> {
  const files = resolveSource(source);
  const json = await readJson(files, 'tokenizer.json');
  if (!json) {
    const advice = 'Save it with AutoTokenizer.from_pretrained(…).save_pretrained(…), which writes one.';
    throw new FinetuneError('bad-file', 'transformers', `${files.name}: has no tokenizer.json; expected the tokenizer there. ${advice}`);
  }
  const config = (await readJson(files, 'tokenizer_config.json')) ?? {};
  const template = (await readText(files, 'chat_template.jinja')) ?? config['chat_template'];
  const { Tokenizer } = await import('@huggingface/tokenizers').catch(needs('@huggingface/tokenizers'));
  const tokenizer = new Tokenizer(json, config);
  const idOf = (field: string) => {
    const token = contentOf(config[field]);
    return token === undefined ? undefined : tokenizer.token_to_id(token);
  };
  return {
    encode: (text, { special = true } = {}) => tokenizer.encode(text, { add_special_tokens: special }).ids,
    decode: (tokens) => tokenizer.decode([...tokens], { skip_special_tokens: true }),
    async chat(messages, { reply = false } = {}) {
      const { Template } = await import('@huggingface/jinja').catch(needs('@huggingface/jinja'));
      const render = (text: string) => new Template(text);
      const specials = Object.fromEntries(Object.entries(config).map(([field, token]) => [field, contentOf(token)]));
      return chatTemplate(template, files.name, render, { ...specials, messages, add_generation_prompt: reply });
    },
    end: idOf('eos_token'),
    padding: idOf('pad_token') ?? 0,
  };
}

/** A special token is a string, or an object that holds one. */
function contentOf(token: unknown): string | undefined {
  const content = typeof token === 'object' && token !== null ? (token as { content?: unknown }).content : token;
  return typeof content === 'string' ? content : undefined;
}

/** Called right behind the import: a bundler then sees that the package may be missing, and leaves it out. */
const needs =
  (name: string) =>
  (cause: unknown): never => {
    throw new FinetuneError('bad-option', 'transformers', `a tokenizer needs ${name}. npm install ${name}`, { cause });
  };
