import { describe, expect, it } from 'vitest';
import { FinetuneError } from '../src/errors.ts';
import { selectSites, selectWeights } from '../src/sites.ts';
import type { Site } from '../src/technique.ts';

const site = (name: string, ...weights: string[]) =>
  ({ name, kind: 'dense', type: 'Dense', weights: weights.map((w) => ({ name: `${name}/${w}` })) }) as unknown as Site;
const sites = [
  site('enc/0/query', 'kernel', 'bias'),
  site('enc/0/key', 'kernel'),
  site('enc/0/relu'),
  site('enc/1/query', 'kernel', 'bias'),
  site('head', 'kernel', 'bias'),
];
const names = (filter: Parameters<typeof selectSites>[1]) => selectSites(sites, filter, 'lora').map((s) => s.name);
const weights = (filter: Parameters<typeof selectWeights>[1]) => selectWeights(sites, filter, 'finetune').map((w) => w.name);

const fault = (run: () => unknown): FinetuneError => {
  try {
    run();
  } catch (error) {
    return error as FinetuneError;
  }
  throw new Error('expected an error');
};

describe('selectSites', () => {
  it('takes a whole name, last segments, a RegExp, a list in model order, a function, or nothing for all', () => {
    expect(names('head')).toEqual(['head']);
    expect(names('query')).toEqual(['enc/0/query', 'enc/1/query']);
    expect(names('1/query')).toEqual(['enc/1/query']);
    expect(names(/key|head/g)).toEqual(['enc/0/key', 'head']);
    expect(names(['head', 'key'])).toEqual(['enc/0/key', 'head']);
    expect(names((s) => s.name.startsWith('enc/1'))).toEqual(['enc/1/query']);
    expect(names(undefined)).toEqual(sites.map((s) => s.name));
  });

  it('takes the last segments of names with dots, as PyTorch writes them', () => {
    const dotted = [site('model.layers.0.self_attn.q_proj', 'kernel'), site('model.layers.0.mlp.up_proj', 'kernel')];
    const found = (filter: string) => selectSites(dotted, filter, 'lora').map((s) => s.name);
    expect(found('q_proj')).toEqual(['model.layers.0.self_attn.q_proj']);
    expect(found('mlp.up_proj')).toEqual(['model.layers.0.mlp.up_proj']);
    expect(() => found('proj')).toThrow(FinetuneError);
  });

  it('does not take part of a segment for a name', () => {
    expect(() => names('uery')).toThrow(FinetuneError);
  });

  it('names the nearest sites first when nothing matches', () => {
    const error = fault(() => names('enc/1/qery'));
    expect(error.code).toBe('no-match');
    expect(error.message).toMatch(
      /^\[lora\] got "enc\/1\/qery", which matches nothing in this model; expected names such as "enc\/1\/query", "enc\/0\/query"/,
    );
  });

  it('lists every entry of a list that matches nothing in one error', () => {
    expect(fault(() => names(['head', 'tail', /foo/])).message).toContain('got "tail", /foo/, which');
    expect(() => names([])).toThrow(FinetuneError);
    expect(fault(() => names(() => false)).message).toContain('got a filter');
  });

  it('lists at most eight names of a large model', () => {
    const many = Array.from({ length: 50 }, (_, i) => site(`layer_${i}`, 'kernel'));
    const { message } = fault(() => selectSites(many, 'layer_7x', 'lora'));
    expect(message.match(/"layer_\d+"/g)).toHaveLength(8);
    expect(message).toContain('such as "layer_7"');
    expect(message).toContain('nearest of 50');
  });
});

describe('selectWeights', () => {
  it('takes all weights of matching sites', () => {
    expect(weights('query')).toEqual(['enc/0/query/kernel', 'enc/0/query/bias', 'enc/1/query/kernel', 'enc/1/query/bias']);
    expect(weights((s) => s.name === 'head')).toEqual(['head/kernel', 'head/bias']);
  });

  it('takes single weights by full name where no site matches', () => {
    expect(weights('head/bias')).toEqual(['head/bias']);
    expect(weights(/bias$/)).toEqual(['enc/0/query/bias', 'enc/1/query/bias', 'head/bias']);
    expect(weights(['key', /^head.*bias/])).toEqual(['enc/0/key/kernel', 'head/bias']);
  });

  it('refuses a site without weights, a list matched in part and a filter that selects none', () => {
    expect(fault(() => weights('relu')).message).not.toContain('"enc/0/relu",');
    expect(fault(() => weights(['head', 'heat'])).code).toBe('no-match');
    expect(fault(() => weights((s) => s.name === 'enc/0/relu')).code).toBe('no-match');
  });
});
