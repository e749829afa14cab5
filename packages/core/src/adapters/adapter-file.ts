/**
 * Adapter files: the trained tensors, the techniques' options and a fingerprint of the base; never the base itself.
 *
 * They travel through tfjs's own IO handlers as artifacts with weights only, the header in `userDefinedMetadata`, so a URL or handler
 * that serves `model.save` serves them too. An optimizer's state travels as weights of tfjs's group 'optimizer'. A checksum over
 * everything is verified before the first tensor is made.
 */
import * as tf from '@tensorflow/tfjs-core';
import { FinetuneError } from '../errors.ts';
import { type AdapterHeader, canonical, headerFaults } from './adapter-fit.ts';
import { crc32 } from './checksum.ts';
import { fileHandler, nodeFileSystem, toArrayBuffer } from './file-handler.ts';

type NamedTensor = Parameters<tf.Optimizer['setWeights']>[0][number]; // tfjs does not export it

/** An adapter in memory. The caller owns its tensors. */
export interface Adapter {
  readonly header: AdapterHeader;
  readonly tensors: tf.NamedTensorMap;
  /** The optimizer's own tensors in its order; empty when it was not saved. */
  readonly optimizer: readonly NamedTensor[];
}

const format = '@leantune/adapter';
const prefix = 'optimizer:';
const bytesOf: { readonly [dtype: string]: number } = { float32: 4, int32: 4, bool: 1, complex64: 8 };
const nameOf = (where: string | tf.io.IOHandler): string => (typeof where === 'string' ? `"${where}"` : 'the IO handler');
const bad = (who: string, message: string, cause?: unknown): FinetuneError => new FinetuneError('bad-file', who, message, { cause });

/** Any error as ours, with it as the cause. */
function wrap(who: string, what: string, error: unknown): FinetuneError {
  return FinetuneError.is(error) ? error : bad(who, `${what}: ${error instanceof Error ? error.message : error}`, error);
}

/** @throws FinetuneError `bad-file` for a place that cannot do it */
export function handlerFor(who: 'save' | 'load', where: string | tf.io.IOHandler): tf.io.IOHandler {
  const find = (url: string): tf.io.IOHandler | undefined => {
    const fs = url.startsWith('file://') && nodeFileSystem();
    return fs ? fileHandler(url.slice('file://'.length), fs) : tf.io[who === 'save' ? 'getSaveHandlers' : 'getLoadHandlers'](url)[0];
  };
  const handler = typeof where === 'string' ? find(where) : where;
  if (handler?.[who]) return handler;
  throw bad(
    who,
    `${nameOf(where)} cannot ${who} here; expected file:// (Node), indexeddb:// (browser), http:// or a tf.io handler that can.`,
  );
}

function checksum(header: object, specs: unknown, data: ArrayBuffer): string {
  return crc32(new TextEncoder().encode(canonical([{ ...header, checksum: 0 }, specs])), new Uint8Array(data));
}

/**
 * Writes an adapter to a URL or any tf.io handler; borrows `tensors`. With `optimizer`, training can go on from the file.
 * A failed save to file://, localstorage:// or indexeddb:// leaves what was there before.
 *
 * @throws FinetuneError `not-finite` naming tensors with NaN or Inf, before anything is written; `bad-file` with the handler's error as cause.
 */
export async function writeAdapter(
  to: string | tf.io.IOHandler,
  { techniques, base, trained }: Pick<AdapterHeader, 'techniques' | 'base' | 'trained'>,
  tensors: tf.NamedTensorMap,
  optimizer?: tf.Optimizer,
): Promise<tf.io.SaveResult> {
  const handler = handlerFor('save', to);
  try {
    const { data, specs, state } = await encode(tensors, optimizer);
    const header: object = JSON.parse(JSON.stringify({ format, version: 1, techniques, base, trained, optimizer: state }));
    const artifacts: tf.io.ModelArtifacts = {
      modelTopology: {}, // not null: localstorage and browserFiles would refuse to load that
      format,
      generatedBy: 'LeanTune',
      userDefinedMetadata: { ...header, checksum: checksum(header, specs, data) },
      weightSpecs: specs,
      weightData: data,
    };
    // tfjs's localstorage handler removes the old item when the new one exceeds the quota.
    const previous = typeof to === 'string' && to.startsWith('localstorage:') && (await handler.load!().catch(() => undefined));
    try {
      return await handler.save!(artifacts);
    } catch (error) {
      if (previous) await handler.save!(previous);
      throw error;
    }
  } catch (error) {
    throw wrap('save', `${nameOf(to)} could not be written`, error);
  }
}

async function encode(
  tensors: tf.NamedTensorMap,
  optimizer: tf.Optimizer | undefined,
): Promise<{ data: ArrayBuffer; specs: tf.io.WeightsManifestEntry[]; state: AdapterHeader['optimizer'] }> {
  const weights = (await optimizer?.getWeights()) ?? [];
  try {
    const trained = Object.entries(tensors).map(([name, tensor]) => ({ name, tensor }));
    const named = [...trained, ...weights.map(({ name, tensor }) => ({ name: prefix + name, tensor }))];
    // Both read the tensors at once: a step during the save changes neither.
    const [{ data, specs }, values] = await Promise.all([
      tf.io.encodeWeights(named),
      Promise.all(trained.map(({ tensor }) => tensor.data())),
    ]);
    const broken = trained.filter((_, i) => values[i]!.some((x) => !Number.isFinite(x))).map(({ name }) => name);
    if (broken.length > 0) throw new FinetuneError('not-finite', 'save', `NaN or Inf in ${broken.join(', ')}. Nothing was written.`);
    for (const spec of specs.slice(trained.length)) spec.group = 'optimizer';
    const { iterations = 0 } = optimizer ?? {};
    const state = optimizer && { className: optimizer.getClassName(), config: optimizer.getConfig() as never, iterations };
    return { data, specs, state };
  } finally {
    weights[0]?.tensor.dispose(); // the step count is made for the caller; the others are the optimizer's variables
  }
}

/**
 * Reads an adapter from a URL or any tf.io handler. Dispose `tensors` and `optimizer`, or hand the latter to {@link restoreOptimizer}.
 *
 * @throws FinetuneError `bad-file`: unreadable, not an adapter, of another version, truncated or altered. No tensor is made then.
 */
export async function readAdapter(from: string | tf.io.IOHandler): Promise<Adapter> {
  const where = nameOf(from);
  const handler = handlerFor('load', from);
  try {
    const { userDefinedMetadata, weightSpecs = [], weightData } = await handler.load!();
    const header = userDefinedMetadata as unknown as AdapterHeader | undefined;
    if (header?.format !== format) throw bad('load', `${where} holds no adapter; expected one that tuned.save() wrote.`);
    const version: unknown = header.version;
    if (version !== 1) throw bad('load', `${where} has version ${canonical(version)}; expected 1. Read it with the release that wrote it.`);
    const data = join(weightData);
    const bytes = weightSpecs.reduce((sum, { shape, dtype }) => sum + shape.reduce((size, n) => size * n, bytesOf[dtype]!), 0);
    if (bytes !== data.byteLength)
      throw bad('load', `${where} has ${data.byteLength} bytes of weights; expected ${bytes}. Save or copy it again.`);
    const sum = checksum(header, weightSpecs, data);
    if (sum !== header.checksum)
      throw bad('load', `${where} was altered: checksum ${sum}; expected ${header.checksum}. Save or copy it again.`);
    const faults = headerFaults(header, weightSpecs);
    if (faults.length > 0) throw bad('load', `${where} has no legible ${faults.join(', ')} in its header. Save it again.`);
    return { header, ...decode(weightSpecs, data) };
  } catch (error) {
    throw wrap('load', `${where} could not be read`, error);
  }
}

/** The shards of a handler as one buffer; tfjs's own join mistakes a view for its whole buffer. */
function join(weightData: unknown): ArrayBuffer {
  const shards = [weightData ?? []].flat().map((shard) => (ArrayBuffer.isView(shard) ? toArrayBuffer(shard) : (shard as ArrayBuffer)));
  return shards.length === 1 ? shards[0]! : tf.io.CompositeArrayBuffer.join(shards);
}

function decode(specs: readonly tf.io.WeightsManifestEntry[], data: ArrayBuffer): Pick<Adapter, 'tensors' | 'optimizer'> {
  return tf.tidy(() => {
    const numbered = specs.map((spec, i) => ({ ...spec, name: `${i}` })); // "__proto__" would not survive as a name
    const tensors = Object.values(tf.io.decodeWeights(data, numbered));
    const named = (ofState: boolean): NamedTensor[] =>
      specs.flatMap(({ name, group }, i) => ((group === 'optimizer') === ofState ? [{ name, tensor: tensors[i]! }] : []));
    const state = named(true).map(({ name, tensor }) => ({ name: name.slice(prefix.length), tensor }));
    return { tensors: Object.fromEntries(named(false).map(({ name, tensor }) => [name, tensor])), optimizer: state as never };
  });
}

/**
 * Puts saved training state into `optimizer`; takes `adapter.optimizer`.
 *
 * @throws FinetuneError `bad-file` when the file holds no state or that of another class. Then `optimizer` is as it was.
 */
export async function restoreOptimizer(optimizer: tf.Optimizer, { header, optimizer: state }: Adapter): Promise<void> {
  const [saved, className] = [header.optimizer?.className, optimizer.getClassName()];
  if (saved !== className)
    throw bad('load', `the file holds the state of ${saved ?? 'no optimizer'}; expected ${className}, as it was saved.`);
  const old = await optimizer.getWeights();
  const backup = old.map(({ name, tensor }) => ({ name, tensor: tensor.clone() }));
  try {
    await optimizer.setWeights([...state]);
  } catch (error) {
    await optimizer.setWeights(backup);
    throw wrap('load', `the state of ${className} could not be read`, error);
  } finally {
    // tfjs's optimizers copy what they are given, and forget what they had.
    for (const { tensor } of [...old, ...backup, ...state]) if (!tensor.isDisposed) tensor.dispose();
  }
}
