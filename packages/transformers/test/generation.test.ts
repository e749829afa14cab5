/** Generation against the whole text run at once, sampling against its definition, tokenizers and chat against known texts. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { useBackend } from '@leantune/backends';
import * as tf from '@tensorflow/tfjs';
import { beforeAll, describe, expect, test } from 'vitest';
import { sample, seededRandom } from '../src/generation/sampling.ts';
import { fromPretrained, generate, loadTokenizer, lossModel, type Source } from '../src/index.ts';
import { fixtures } from './fixture.ts';

beforeAll(() => useBackend('cpu'));

describe('generate', () => {
  test.each(['llama3', 'gpt2', 'mistral', 'qwen3'])(
    '%s: with remembered keys and values, as if all tokens were run anew each time',
    async (name) => {
      const model = await fromPretrained(join(fixtures, name));
      const before = tf.memory().numTensors;
      const prompt = [5, 9, 3];
      const fast = await generate(model, prompt, { maxTokens: 8 });
      const slow = [...prompt];
      for (let i = 0; i < 8; i++) {
        const next = tf.tidy(() => {
          const logits = model.predict(tf.tensor2d([slow], undefined, 'int32')) as tf.Tensor;
          return tf.argMax(tf.reshape(tf.slice(logits, [0, slow.length - 1, 0], [1, 1, -1]), [-1])).dataSync()[0]!;
        });
        slow.push(next);
      }
      expect(fast).toEqual(slow.slice(prompt.length));
      expect(tf.memory().numTensors).toBe(before);
      model.dispose();
    },
  );

  test('a seed draws the same text again; tokens come one by one; a stop token and a signal end it; nothing is left behind', async () => {
    const model = await fromPretrained(join(fixtures, 'llama'));
    const before = tf.memory().numTensors;
    const draw = (seed: number) => generate(model, [4], { temperature: 1.5, topP: 0.95, topK: 12, seed, maxTokens: 12 });
    const [a, b, c] = [await draw(1), await draw(1), await draw(2)];
    expect(a).toEqual(b);
    expect(a).not.toEqual(c);
    expect(await generate(model, [4], { temperature: 1.5, topP: 0.95, topK: 12, seed: 1, maxTokens: 12, stop: [a[3]!] })).toEqual(
      a.slice(0, a.indexOf(a[3]!) + 1),
    );
    const controller = new AbortController();
    const heard: number[] = [];
    const onToken = (token: number) => {
      heard.push(token);
      if (heard.length === 3) controller.abort(new Error('enough'));
    };
    await expect(generate(model, [4], { onToken, signal: controller.signal })).rejects.toThrow('enough');
    expect(heard.length).toBe(3);
    await expect(generate(model, [4], { onToken: () => Promise.reject(new Error('ear')) })).rejects.toThrow('ear');
    expect(await draw(1)).toEqual(a);
    expect(tf.memory().numTensors).toBe(before);
    model.dispose();
  });

  test('what cannot be is said', async () => {
    const [model, bert] = [await fromPretrained(join(fixtures, 'gpt2')), await fromPretrained(join(fixtures, 'bert'))];
    await expect(generate(model, [], { topP: 0, temperature: -1 })).rejects.toThrow(
      /an empty prompt; .*temperature -1; expected 0 or more, and topP 0; expected above 0/,
    );
    const trainer = lossModel(model);
    await expect(generate(trainer, [1])).rejects.toThrow(/got a model of input_ids, labels; expected a language model/);
    expect(() => lossModel(bert)).toThrow(/got a model that ends in .* expected a language model/);
    await expect(generate(model, [1], { maxTokens: 20 })).rejects.toThrow(/got 17 tokens; expected at most 16/);
    const first = generate(model, [1], { maxTokens: 2 });
    await expect(generate(model, [1])).rejects.toThrow(/generates another text/);
    await first;
    for (const m of [trainer, model, bert]) m.dispose();
  });
});

describe('sampling', () => {
  const logits = [0, 2, 1, -1];
  const shares = (options: Parameters<typeof sample>[1]): number[] => {
    const [random, counts] = [seededRandom(3), [0, 0, 0, 0]];
    for (let i = 0; i < 20_000; i++) counts[sample(logits, options, random)]!++;
    return counts.map((count) => count / 20_000);
  };
  const softmax = (kept: number[], temperature = 1) => {
    const weights = logits.map((x, i) => (kept.includes(i) ? Math.exp(x / temperature) : 0));
    return weights.map((w) => w / weights.reduce((a, b) => a + b));
  };
  test.each([
    [{ temperature: 1 }, softmax([0, 1, 2, 3])],
    [{ temperature: 2 }, softmax([0, 1, 2, 3], 2)],
    [{ temperature: 1, topK: 2 }, softmax([1, 2])],
    // 0.64, 0.24, 0.09, 0.03: two reach 0.7, one does not
    [{ temperature: 1, topP: 0.7 }, softmax([1, 2])],
    [{ temperature: 1, topP: 0.5 }, softmax([1])],
    [{ temperature: 0 }, softmax([1])],
  ])('%o draws from its distribution', (options, expected) => {
    // three standard deviations of a share over 20,000 draws
    for (const [i, share] of shares(options).entries()) expect(Math.abs(share - expected[i]!)).toBeLessThan(3 * 0.0036);
  });
});

describe('tokenizer', () => {
  const json = readFileSync(join(import.meta.dirname, 'fixtures/tokenizer.json'), 'utf8');
  const inMemory = (files: { [path: string]: string }): Source => ({
    name: 'memory',
    open: async (path) =>
      files[path] === undefined
        ? undefined
        : {
            chunks: (async function* () {
              yield new TextEncoder().encode(files[path]);
            })(),
          },
  });
  const config = { eos_token: { content: '</s>' }, pad_token: '<pad>', bos_token: '<s>' };
  const template =
    "{{ bos_token }}{% for m in messages %}{% if m.role == 'robot' %}{{ raise_exception('no robots') }}{% endif %}[{{ m.role }}] {{ m.content }}\n{% endfor %}{% if add_generation_prompt %}[assistant]{% endif %}";

  test('encodes, decodes, knows its special tokens, and writes a chat by the template', async () => {
    const source = inMemory({ 'tokenizer.json': json, 'tokenizer_config.json': JSON.stringify({ ...config, chat_template: template }) });
    const tokenizer = await loadTokenizer(source);
    expect(tokenizer.encode('hello world')).toEqual([1, 4, 5, 2]);
    expect(tokenizer.encode('hello world', { special: false })).toEqual([4, 5]);
    expect(tokenizer.decode([1, 4, 5, 2])).toBe('hello world');
    expect([tokenizer.end, tokenizer.padding]).toEqual([2, 0]);
    const messages = [{ role: 'user', content: 'hello' }];
    expect(await tokenizer.chat(messages)).toBe('<s>[user] hello\n');
    expect(await tokenizer.chat(messages, { reply: true })).toBe('<s>[user] hello\n[assistant]');
    await expect(tokenizer.chat([{ role: 'robot', content: '' }])).rejects.toThrow(/refuses the messages: no robots/);
  });

  test('a template in a file of its own, or by the name default; and none is said', async () => {
    const named = [
      { name: 'tools', template: 'x' },
      { name: 'default', template: '{{ messages[0].content }}' },
    ];
    const messages = [{ role: 'user', content: 'hello' }];
    const chat = async (files: object) => (await loadTokenizer(inMemory({ 'tokenizer.json': json, ...files }))).chat(messages);
    expect(await chat({ 'tokenizer_config.json': JSON.stringify({ chat_template: named }) })).toBe('hello');
    expect(await chat({ 'chat_template.jinja': '!{{ messages[0].content }}' })).toBe('!hello');
    await expect(chat({})).rejects.toThrow(/has no chat template/);
    await expect(loadTokenizer(inMemory({}))).rejects.toThrow(/has no tokenizer.json; expected the tokenizer there/);
  });
});
