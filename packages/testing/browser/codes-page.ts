/** What the page of browser-codes.test.ts can do: kernels that code values, on webgl and on cpu, from the same inputs. */
import { useBackend } from '@leantune/backends';
import * as tf from '@tensorflow/tfjs-core';
import '@tensorflow/tfjs-backend-cpu';
import '@tensorflow/tfjs-backend-webgl';

export interface Run {
  readonly kernel: string;
  readonly inputs: { readonly [name: string]: { readonly shape: number[]; readonly data: number[] } };
  readonly attrs: object;
}

export interface Outcome {
  readonly words: number;
  /** Whether every word is a finite number: a GPU may change others. */
  readonly plain: boolean;
  readonly data: readonly number[];
  /** Data that the backend holds on to, beyond results. */
  readonly leaked: number;
}

/** Packs `x` by `encode`, and hands the words to `decode`, as `codes`. */
async function roundTrip(backend: 'cpu' | 'webgl', encode: Run, decode: Run): Promise<Outcome> {
  await useBackend(backend);
  const tensors = ({ inputs }: Run) =>
    Object.fromEntries(Object.entries(inputs).map(([name, { shape, data }]) => [name, tf.tensor(data, shape)]));
  const [given, beside] = [tensors(encode), tensors(decode)];
  const run = (kernel: string, inputs: tf.NamedTensorMap, attrs: object): tf.Tensor =>
    tf.engine().runKernel(kernel, inputs, attrs as tf.NamedAttrMap);
  const before = tf.backend().numDataIds();
  const codes = run(encode.kernel, given, encode.attrs);
  const y = run(decode.kernel, { ...beside, codes }, decode.attrs);
  const leaked = tf.backend().numDataIds() - before - 2;
  const data = [...(await y.data())];
  const [words, plain] = [codes.size, (await codes.data()).every(Number.isFinite)];
  tf.dispose([given, beside, codes, y]);
  return { words, plain, data, leaked };
}

export interface CodeCalls {
  readonly roundTrip: typeof roundTrip;
}
const calls: CodeCalls = { roundTrip };
Object.assign(globalThis, { leantune: calls });
