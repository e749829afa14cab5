/**
 * LoRA: a frozen weight gets a narrow way past it, of which both ends train.
 *
 *   y = W∗x + (α/r) · (A∗x)·B        A [dIn, r], B [r, dOut]
 *
 * Hu et al. 2021, arXiv 2106.09685, in peft's terms and with peft's files; with rsLoRA (arXiv 2312.03732), DoRA (2402.09353) and PiSSA's
 * beginning (2404.02948). What differs from peft: neither A·B nor W + A·B is ever formed in a step, for DoRA neither; PiSSA leaves the base
 * as it is.
 */
import type { Json, Technique } from '@leantune/core';
import { attachLora } from './attach-lora.ts';
import { type LoraOptions, settled } from './config.ts';

/**
 * Trains A and B, with DoRA the magnitudes, and what `modules_to_save` names. `tuned.merge()` adds (α/r)·A·B to the base.
 *
 * @throws FinetuneError `bad-option` here; when attached `no-match`, `bad-option` (targets that do not fit), `conflict` (two adapters of one name)
 *
 * @example
 * const tuned = finetune(model, lora({ r: 16, lora_alpha: 32, target_modules: ['query', 'value'] }));
 */
export function lora(options: LoraOptions = {}): Technique {
  const config = settled(options);
  return { name: 'lora', options: config as Json, attach: (model) => attachLora(model, config, options) };
}
