/**
 * Values that wait for backward. One buffer waits once, however many kernels read it: as a handle on the same buffer, as what
 * a codec made of it, or as a recipe that forms it again from smaller values.
 */
import * as tf from '@tensorflow/tfjs-core';
import { probes } from '../memory/probe.ts';
import type { Codec, Kept, SavedValue } from '../technique.ts';

/** A value one gradient will read. `read` borrows, or makes a tensor in the active tidy; `drop` ends the waiting. */
export interface Held {
  read(): tf.Tensor;
  drop(): void;
}

/** What a value waits for. */
interface Reader {
  readonly kernel: string;
  readonly layer: string;
}

interface Waiting {
  /** In reports it waits for the first. */
  readonly readers: Reader[];
  readonly kept: Kept | undefined;
  /** 0 of what lives anyway. */
  readonly bytes: number;
}

/** How a buffer was made. A variable among the inputs may be assigned since: the buffers say. */
interface Source {
  readonly kernel: string;
  readonly inputs: { readonly [name: string]: tf.Tensor };
  readonly buffers: readonly object[];
  readonly attrs: tf.NamedAttrMap;
}

/** A second handle on t's buffer, not recorded. (On wasm, tfjs's clone copies the buffer.) */
export function view(t: tf.Tensor, shape: number[] = t.shape): tf.Tensor {
  const engine = tf.engine();
  const backend = engine.state.tensorInfo.get(t.dataId)!.backend;
  backend.incRef(t.dataId);
  return engine.makeTensorFromTensorInfo({ dataId: t.dataId, shape, dtype: t.dtype }, backend);
}

/** Gives a variable another value, which may have another shape. Borrows it. */
export function rebind(variable: tf.Variable, { dataId, shape, size, strides }: tf.Tensor): void {
  const engine = tf.engine();
  engine.disposeTensor(variable);
  Object.assign(variable, { dataId, shape, size, strides });
  engine.incRef(variable, null as never);
}

/** Runs `f` unrecorded. */
export function offRecord<T>(f: () => T): T {
  const { state } = tf.engine();
  state.kernelDepth++;
  try {
    return f();
  } finally {
    state.kernelDepth--;
  }
}

/** Kernels whose output repeats a small input: kept as the input. */
const repeats = new Set(['Tile', 'BroadcastTo']);
/** Kernels that only move values: of a weight, kept as the weight. A reshape copies on webgl, where textures are packed by shape. */
const moves = new Set(['Transpose', 'Reshape']);

export class Store {
  readonly #waiting = new Map<object, Waiting>();
  /** How buffers that cost no more to form again than to read were made. Weak: a recipe is used only while its inputs live. */
  readonly #sources = new WeakMap<object, Source>();
  /** Buffers of variables: a kernel may see one through a reshape. */
  readonly #variables = new Set<object>(Object.values(tf.engine().registeredVariables).map((v) => v.dataId));
  readonly #codecFor: (value: SavedValue) => Codec | undefined;
  readonly #frozen: (t: tf.Tensor) => boolean;

  constructor(codecFor: (value: SavedValue) => Codec | undefined, frozen: (t: tf.Tensor) => boolean) {
    this.#codecFor = codecFor;
    this.#frozen = frozen;
  }

  /** True for weights: they live anyway, and are never encoded. */
  #isFree(t: tf.Tensor): boolean {
    return t instanceof tf.Variable || this.#variables.has(t.dataId) || this.#frozen(t);
  }

  /** True for weights, and for what moves their values, as tfjs-layers does before it multiplies by them. */
  isWeight(t: tf.Tensor): boolean {
    const source = this.#sources.get(t.dataId);
    return this.#isFree(t) || (moves.has(source?.kernel ?? '') && this.isWeight(source!.inputs['x']!));
  }

  /** Notes that `y` came from a kernel whose output need not be stored. */
  note(y: tf.Tensor, kernel: string, inputs: Source['inputs'], attrs: tf.NamedAttrMap): void {
    const x = kernel === 'Sub' ? inputs['b'] : inputs['x'];
    if (x?.dataId === y.dataId) return;
    const small = () => 2 * x!.size <= y.size;
    const cheap = repeats.has(kernel) || kernel === 'Sub' ? small : moves.has(kernel) ? () => this.isWeight(x!) : undefined;
    if (cheap?.()) this.#sources.set(y.dataId, { kernel, inputs, buffers: Object.values(inputs).map((t) => t.dataId), attrs });
  }

  /** Lets `value` wait until `drop`. `alias` is told of every tensor that stands for it when it is read. */
  hold(value: SavedValue, alias: (copy: tf.Tensor) => void): Held {
    const { tensor, kernel, layer } = value;
    const { dataId, shape } = tensor;
    const free = this.#isFree(tensor);
    let waiting = this.#waiting.get(dataId);
    if (!waiting) {
      const encoded = free ? undefined : this.#encode(value);
      waiting = { readers: [], kept: encoded, bytes: free ? 0 : (encoded?.bytes ?? bytesOf(tensor)) };
      this.#waiting.set(dataId, waiting);
      if (!free) for (const probe of probes) probe.hold(encoded ?? dataId, waiting.bytes, kernel, layer);
    }
    const { kept, readers, bytes } = waiting;
    const reader = { kernel, layer };
    readers.push(reader);
    const handle = kept ? undefined : tf.keep(view(tensor));
    // Decoded in the tidy of the gradient that reads it. Where gradients nest, what is read is the value that was kept; not known
    // to outer tapes before this, if it is what a custom gradient returns.
    const read = () => {
      const same = handle ?? offRecord(() => tf.reshape(kept!.decode(), shape));
      alias(same);
      return same;
    };
    const drop = once(() => {
      handle?.dispose();
      const at = readers.indexOf(reader);
      readers.splice(at, 1);
      if (at === 0 && !free) for (const probe of probes) probe.drop(kept ?? dataId);
      const [next] = readers;
      if (at === 0 && !free && next) for (const probe of probes) probe.hold(kept ?? dataId, bytes, next.kernel, next.layer);
      if (next) return;
      this.#waiting.delete(dataId);
      kept?.dispose();
    });
    return { read, drop };
  }

  /** Lets a value that a rule encoded itself, or encodes now, wait until `drop`. */
  holdKept(given: Kept | (() => Kept), kernel: string, layer: string): Held {
    const kept = typeof given === 'function' ? offRecord(() => capture(given)) : given;
    this.#waiting.set(kept, { readers: [{ kernel, layer }], kept, bytes: kept.bytes });
    for (const probe of probes) probe.hold(kept, kept.bytes, kernel, layer);
    const drop = once(() => {
      this.#waiting.delete(kept);
      for (const probe of probes) probe.drop(kept);
      kept.dispose();
    });
    return { read: () => kept.decode(), drop };
  }

  /** Bytes that wait, by kernel. */
  bytes(): ReadonlyMap<string, number> {
    const sums = new Map<string, number>();
    for (const { readers, bytes } of this.#waiting.values()) {
      const { kernel } = readers[0]!;
      if (bytes > 0) sums.set(kernel, (sums.get(kernel) ?? 0) + bytes);
    }
    return sums;
  }

  #encode(value: SavedValue): Kept | undefined {
    const source = this.#sources.get(value.tensor.dataId);
    // (x − mean)² keeps x, which normalization keeps anyway, instead of x − mean.
    if (
      source &&
      (source.kernel !== 'Sub' || value.kernel === 'Square') &&
      Object.values(source.inputs).every((t, i) => !t.isDisposed && t.dataId === source.buffers[i])
    ) {
      return this.#recipe(source, value);
    }
    const codec = value.tensor.dtype === 'float32' && !this.isWeight(value.tensor) ? this.#codecFor(value) : undefined;
    return codec && offRecord(() => capture(() => codec.encode(value.tensor)));
  }

  #recipe({ kernel, inputs, attrs }: Source, value: SavedValue): Kept {
    const held = Object.entries(inputs).map(([name, tensor]) => [name, this.hold({ ...value, tensor }, () => {})] as const);
    return {
      bytes: 0,
      decode: () => {
        const values = Object.fromEntries(held.map(([name, h]) => [name, h.read()]));
        return tf.engine().runKernel(kernel, values, attrs) as tf.Tensor;
      },
      dispose: () => held.forEach(([, h]) => h.drop()),
    };
  }
}

function once(f: () => void): () => void {
  let done = false;
  return () => {
    if (!done) f();
    done = true;
  };
}

/** Runs an encoder while probes attribute what it allocates to kept values. */
function capture<T>(encode: () => T): T {
  return [...probes].reduce((run, probe) => () => probe.encoding(run), encode)();
}

const bytesOf = (t: tf.Tensor) => t.size * tf.util.bytesPerElement(t.dtype as 'float32');
