/**
 * Says in an error that memory has run out what was held then, and what would make the largest parts smaller. Inside `measure` the tracker's
 * report says it, to the byte.
 */
import * as tf from '@tensorflow/tfjs-core';
import { probes, roles } from './probe.ts';

/** What a tape holds: bytes that wait for backward, by kernel, and the bytes of gradients that are there. */
export interface Held {
  readonly kept: ReadonlyMap<string, number>;
  readonly gradients: number;
}

const levers = {
  weights: 'weights in fewer bits, or a smaller model',
  optimizer: 'train fewer weights, or use an optimizer with less state',
  'kept for backward': 'a smaller batch with { accumulate }, checkpoint, or a technique; explain(model, x) says what each layer keeps',
  gradients: 'train fewer weights',
} as const;
type Category = keyof typeof levers;

const told = new WeakSet<object>();
const sum = (values: Iterable<number>): number => [...values].reduce((total, value) => total + value, 0);
const megabytes = (bytes: number): string => `${(bytes / 1e6).toFixed(2)} MB`;

/** What several tapes, one inside the other, hold together. */
export function heldTogether(tapes: readonly { held(): Held }[]): Held {
  const all = tapes.map((tape) => tape.held());
  const kept = new Map<string, number>();
  for (const [kernel, bytes] of all.flatMap((held) => [...held.kept])) kept.set(kernel, (kept.get(kernel) ?? 0) + bytes);
  return { kept, gradients: sum(all.map(({ gradients }) => gradients)) };
}

/** Of the last pass that went through: what waited at the end of its forward, and its gradients. */
let last: Held | undefined;

/** Notes what a pass held, for errors that are reported after it. */
export function noteWhatWasHeld(held: Held): void {
  last = held;
}

/**
 * Adds to the message of an error with the code 'out-of-memory', once: what is held now, as `ask` says, or, if the error came late, what the last pass held.
 * Without `ask` only to those that came late.
 */
export function sayWhatIsHeld(error: unknown, ask?: () => Held): void {
  if (!(error instanceof Error) || (error as { code?: unknown }).code !== 'out-of-memory' || told.has(error) || probes.size > 0) return;
  const held = ask?.();
  const { late = false } = error as { late?: boolean };
  const then = late && last && sum(last.kept.values()) > sum(held?.kept.values() ?? []) ? last : held;
  if (!then || !(late || held)) return;
  told.add(error);
  const when = then === held ? 'Held then' : 'Held by the last step before this was reported';
  error.message += `\n\n${when}: ${breakdown(then)}${late ? '' : ' No weight has moved.'}\nTo need less:${advice(then)}`;
}

function heldBy({ kept, gradients }: Held): { [category in Category]: number } {
  const variables = new Map(Object.values(tf.engine().registeredVariables).map((v) => [v.dataId, v]));
  const bytesOf = (optimizer: boolean): number =>
    sum(
      [...variables.values()].flatMap((v) =>
        (roles.get(v) === 'optimizer') === optimizer ? [v.size * tf.util.bytesPerElement(v.dtype)] : [],
      ),
    );
  return { weights: bytesOf(false), optimizer: bytesOf(true), 'kept for backward': sum(kept.values()), gradients };
}

function breakdown(held: Held): string {
  const kernels = [...held.kept].sort(([, a], [, b]) => b - a).slice(0, 3);
  const largest = kernels.length > 0 ? ` (most for ${kernels.map(([kernel, bytes]) => `${kernel} ${megabytes(bytes)}`).join(', ')})` : '';
  const parts = Object.entries(heldBy(held)).map(
    ([name, bytes]) => `${name} ${megabytes(bytes)}${name === 'kept for backward' ? largest : ''}`,
  );
  return `${parts.join(', ')}; what kernels were computing comes on top.`;
}

function advice(of: Held): string {
  const held = heldBy(of);
  const first = (Object.keys(held) as Category[]).sort((a, b) => held[b] - held[a]).slice(0, 2);
  return first.map((name) => `\n- ${name}: ${levers[name]}`).join('');
}
