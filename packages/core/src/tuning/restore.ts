/** Puts a saved adapter back on its base. */
import * as tf from '@tensorflow/tfjs-core';
import { FinetuneError } from '../errors.ts';
import type { TunableModel } from '../models/read-model.ts';
import type { Technique } from '../technique.ts';
import { finetune } from './finetune.ts';
import type { Tuned } from './tuned.ts';

/**
 * Attaches the techniques that a saved adapter names, with the options it holds, and loads its tensors.
 *
 * @param factories the techniques the file may name: `{ lamda, fourBit }`
 * @throws FinetuneError `bad-file` if it names one that is not given, or does not fit the model
 */
export async function restore<M extends TunableModel>(
  model: M,
  from: string | tf.io.IOHandler,
  factories: { readonly [name: string]: (options: never) => Technique } = {},
): Promise<Tuned<M>> {
  const { readAdapter } = await import('../adapters/adapter-file.ts');
  const { header, tensors, optimizer } = await readAdapter(from);
  tf.dispose([tensors, optimizer.map(({ tensor }) => tensor)]);
  const missing = header.techniques.filter(({ name }) => !Object.hasOwn(factories, name)).map(({ name }) => name);
  if (missing.length > 0)
    throw new FinetuneError(
      'bad-file',
      'restore',
      `the adapter uses ${missing.join(', ')}, which was not given. Pass restore(model, from, { ${missing.join(', ')} }).`,
    );
  const { trained = [] } = header;
  const exactly = trained.map((name) => new RegExp(`^${name.replace(/[$()*+.?[\\\]^{|}]/g, '\\$&')}$`));
  const attach = (): Tuned<M> => {
    const techniques = header.techniques.map(({ name, options }) => factories[name]!(options as never));
    return finetune(model, techniques, exactly.length > 0 ? { trainable: exactly } : {});
  };
  const tuned = legible(attach);
  try {
    await tuned.load(from);
    return tuned;
  } catch (error) {
    tuned.dispose();
    throw error;
  }
}

/** Techniques check the values of options, not their kinds, which TypeScript has checked where no file brings them. */
function legible<T>(attach: () => T): T {
  try {
    return attach();
  } catch (cause) {
    if (FinetuneError.is(cause)) throw cause;
    const problem = `the options in the file are not what its techniques take (${cause instanceof Error ? cause.message : cause})`;
    throw new FinetuneError('bad-file', 'restore', `${problem}. Save the adapter again.`, { cause });
  }
}
