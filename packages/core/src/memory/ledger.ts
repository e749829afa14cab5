/**
 * The books of memory: one entry a buffer, however many tensors show it; in one category, whatever it is used for.
 *
 *   total = weights + optimizer + kept + gradients + transient
 *
 * A buffer counts the roles it plays (a variable on it, a gradient waiting for it, …) and is booked under the first that it has,
 * in that order. Every event is O(1).
 */
import * as tf from '@tensorflow/tfjs-core';
import type { KeptRow, MemoryData } from './data.ts';
import { type Probe, type Role, roles } from './probe.ts';
import { byCategory, Timeline } from './timeline.ts';

const WEIGHTS = 0;
const OPTIMIZER = 1;
const KEPT = 2;
const GRADIENTS = 3;
/** Not booked: not yet, or no more. */
const NOWHERE = -1;

interface Entry {
  readonly bytes: number;
  /** The category it is booked under. */
  at: number;
  /** How often it plays each role; 'transient' once. Empty when the buffer is gone. */
  roles: number[];
  /** The line of the kept table that holds it. */
  row?: Row;
}

interface Row {
  readonly layer: string;
  readonly kernel: string;
  bytes: number;
  count: number;
}

/** What a token (a variable, a saved handle, a dataId or a Kept) has hold of. */
interface Grip {
  readonly role: number;
  readonly entries: readonly Entry[];
  /** Bytes outside the engine's buffers, booked while this grip lasts. */
  readonly outside: Entry | undefined;
  times: number;
}

export class Ledger implements Probe {
  readonly #entries = new Map<object, Entry>();
  readonly #grips = new WeakMap<object, Grip>();
  /** The tensors that the encoding of a Kept left alive. */
  readonly #owned = new WeakMap<object, tf.Tensor[]>();
  readonly #rows = new Map<string, Row>();
  readonly #timeline = new Timeline();
  readonly #start = tf.util.now();
  readonly #totals = [0, 0, 0, 0, 0];
  #total = 0;
  #peak = 0;
  #lap = 0;
  #aboveWeights = 0;
  readonly #atPeak = [0, 0, 0, 0, 0];
  #keptPeak = 0;
  #keptRows: KeptRow[] = [];
  #keptRowsStale = false;
  #encoded: tf.Tensor[] | undefined;
  #gpu: { usedBytes: number; allocatedBytes: number } | undefined;

  /** A handle was made; `isNew` if its buffer was too, `stepping` if an optimizer is at work. */
  track(tensor: tf.Tensor, isNew: boolean, stepping: boolean): void {
    this.#encoded?.push(tensor);
    if (tensor instanceof tf.Variable) {
      this.label([tensor], roles.get(tensor) ?? (stepping ? 'optimizer' : 'weights'));
    } else if (isNew) {
      this.#settle(this.#entry(tensor));
    }
  }

  /** The buffer was freed. */
  close(dataId: object): void {
    const entry = this.#entries.get(dataId);
    this.#entries.delete(dataId);
    if (entry) this.#remove(entry);
  }

  /** `dataId`: the buffer meant, where the token is another name for it. */
  hold(token: object, bytes: number, kernel: string, layer: string, dataId: object = token): void {
    const owned = this.#owned.get(token);
    const known = owned ? owned.map((t) => t.dataId) : [dataId];
    const entries = known.flatMap((id) => this.#entries.get(id) ?? []);
    // A buffer older than this ledger stays unbooked; what is no buffer at all is booked by what it says of itself.
    const measured = owned
      ? sum(new Map(owned.map((t) => [t.dataId, bytesOf(t)])).values())
      : tf.engine().state.tensorInfo.has(dataId)
        ? bytes
        : 0;
    const outside = bytes > measured ? newEntry(bytes - measured) : undefined;
    this.#grip(token, KEPT, entries, outside, this.#row(layer, kernel));
  }

  drop(token: object): void {
    const grip = this.#grips.get(token);
    if (!grip || --grip.times > 0) return;
    this.#grips.delete(token);
    for (const entry of grip.entries) {
      if (entry.at === NOWHERE) continue;
      entry.roles[grip.role]!--;
      this.#settle(entry);
    }
    if (grip.outside) this.#remove(grip.outside);
  }

  gradient(dataId: object): void {
    const entry = this.#entries.get(dataId);
    if (!entry) return;
    entry.roles[GRADIENTS] = 1;
    this.#settle(entry);
  }

  encoding<T>(encode: () => T): T {
    const outer = this.#encoded;
    const mine: tf.Tensor[] = [];
    this.#encoded = mine;
    try {
      const kept = encode();
      const alive = mine.filter((t) => !t.isDisposed);
      if (kept && typeof kept === 'object') this.#owned.set(kept, alive);
      return kept;
    } finally {
      this.#encoded = outer;
      outer?.push(...mine);
    }
  }

  label(tensors: Iterable<tf.Tensor>, as: Role): void {
    const role = as === 'weights' ? WEIGHTS : OPTIMIZER;
    for (const tensor of tensors) {
      if (tensor.isDisposed || this.#grips.get(tensor)?.role === role) continue;
      this.drop(tensor);
      roles.set(tensor, as);
      this.#grip(tensor, role, [this.#entry(tensor)]);
    }
  }

  /** The largest total since the last call, in bytes. */
  lap(): number {
    const bytes = this.#lap;
    this.#lap = this.#total;
    return bytes;
  }

  data(): MemoryData {
    this.#sampleGpu();
    this.#freezeKept();
    return {
      backend: tf.engine().backendName,
      peakBytes: this.#peak,
      atPeak: byCategory(this.#atPeak),
      peakAboveWeights: this.#aboveWeights,
      keptBytes: this.#keptPeak,
      kept: this.#keptRows,
      timeline: this.#timeline.points(tf.util.now() - this.#start, this.#totals),
      ...(this.#gpu && { gpu: { ...this.#gpu } }),
    };
  }

  #entry(tensor: tf.Tensor): Entry {
    const entry = this.#entries.get(tensor.dataId) ?? newEntry(bytesOf(tensor));
    this.#entries.set(tensor.dataId, entry);
    return entry;
  }

  #grip(token: object, role: number, entries: readonly Entry[], outside?: Entry, row?: Row): void {
    const grip = this.#grips.get(token);
    if (grip) {
      grip.times++;
      return;
    }
    this.#grips.set(token, { role, entries, outside, times: 1 });
    for (const entry of outside ? [...entries, outside] : entries) {
      if (row && !entry.roles[KEPT]) entry.row = row;
      entry.roles[role]!++;
      this.#settle(entry);
    }
  }

  #remove(entry: Entry): void {
    entry.roles = [];
    this.#settle(entry);
  }

  #row(layer: string, kernel: string): Row {
    const key = `${layer}\n${kernel}`;
    const row = this.#rows.get(key) ?? { layer, kernel, bytes: 0, count: 0 };
    this.#rows.set(key, row);
    return row;
  }

  /** Books the entry under the first role it plays. */
  #settle(entry: Entry): void {
    const { at: from, bytes, row, roles } = entry;
    const to = roles.findIndex((times) => times > 0);
    if (from === to) return;
    entry.at = to;
    if (from >= 0) this.#add(from, -1, bytes, row);
    if (to >= 0) this.#add(to, 1, bytes, row);
    this.#record(to >= 0 && (from < 0 || to < from));
  }

  #add(category: number, sign: 1 | -1, bytes: number, row: Row | undefined): void {
    if (category === KEPT && row) {
      if (sign < 0) this.#freezeKept();
      row.bytes += sign * bytes;
      row.count += sign;
    }
    this.#totals[category]! += sign * bytes;
    this.#total += sign * bytes;
    if (this.#totals[KEPT]! > this.#keptPeak) {
      this.#keptPeak = this.#totals[KEPT]!;
      this.#keptRowsStale = true;
    }
  }

  /** Copies the kept table once per maximum: when the kept bytes are about to fall from it. */
  #freezeKept(): void {
    if (!this.#keptRowsStale) return;
    this.#keptRowsStale = false;
    const rows = [...this.#rows.values()].filter((row) => row.bytes > 0);
    this.#keptRows = rows.map((row) => ({ ...row })).sort((a, b) => b.bytes - a.bytes);
  }

  /** `booked`: a buffer was born, or found its purpose: then an equal total tells more than the one before it. */
  #record(booked: boolean): void {
    const total = this.#total;
    if (total > this.#peak || (booked && total === this.#peak)) {
      this.#peak = total;
      this.#totals.forEach((bytes, i) => (this.#atPeak[i] = bytes));
    }
    this.#lap = Math.max(this.#lap, total);
    this.#aboveWeights = Math.max(this.#aboveWeights, total - this.#totals[WEIGHTS]!);
    if (this.#timeline.add(tf.util.now() - this.#start, this.#totals, total, booked)) this.#sampleGpu();
  }

  #sampleGpu(): void {
    const { backendInstance } = tf.engine() as unknown as { backendInstance: tf.KernelBackend | null };
    const memory = backendInstance?.memory() as { [figure: string]: number } | undefined;
    const used = memory?.['numBytesInGPU'];
    if (used === undefined) return;
    const allocated = memory!['numBytesInGPUAllocated'] ?? memory!['numBytesAllocatedInGPU'] ?? used;
    const { usedBytes = 0, allocatedBytes = 0 } = this.#gpu ?? {};
    this.#gpu = { usedBytes: Math.max(usedBytes, used), allocatedBytes: Math.max(allocatedBytes, allocated) };
  }
}

const newEntry = (bytes: number): Entry => ({ bytes, at: NOWHERE, roles: [0, 0, 0, 0, 1] });

/** complex64 counts the two parts that it owns; strings count their bytes, as tfjs does. */
function bytesOf(tensor: tf.Tensor): number {
  if (tensor.dtype === 'string') return sum((tf.engine().readSync(tensor.dataId) as Uint8Array[]).map((s) => s.length));
  return tensor.size * tf.util.bytesPerElement(tensor.dtype);
}

function sum(values: Iterable<number>): number {
  let total = 0;
  for (const value of values) total += value;
  return total;
}
