/**
 * Where to cut a LayersModel into segments for gradient checkpointing, by the shapes of its layers.
 *
 * A segment is a stretch of the executor's order that makes one tensor for what comes after. Where the model can be cut at tensors
 * that are the only way from what is before to what is after (the outputs of residual blocks; every tensor of a chain), it is: such a
 * tensor is read by one segment, and gradients are bit for bit those without. Else (skip connections, several outputs) what is cut is
 * read by several segments, whose gradients are the same up to rounding, for they add up in another order; so are those of weights that
 * several segments use. Inputs, and what layers
 * without weights make of inputs alone (a mask for all layers, say), are no part of this: every segment may read them.
 */
import { type Container, isContainer, lastReads, orderOf, type Symbolic } from './tfjs-layers.ts';

export interface Segment {
  /** What each layer call of the segment computes, in the executor's order. The last one leads out. */
  readonly steps: readonly Symbolic[];
  /** The tensors that lead in. */
  readonly from: readonly Symbolic[];
  /** Those of them that other segments made and that nobody reads any more. */
  readonly spent: readonly Symbolic[];
}

/** The layer calls of a container that are to be cut, in order. */
interface Calls {
  /** Elements of what each makes. */
  readonly sizes: readonly number[];
  /** The call that reads it last; one behind all for outputs. */
  readonly last: readonly number[];
  /** Whether no later call reads what was made before this one. */
  readonly sole: readonly boolean[];
}

const elements = (t: Symbolic) => t.shape.reduce<number>((n, d) => n * (d ?? 1), 1);
const sum = (sizes: readonly number[]) => sizes.reduce((a, b) => a + b, 0);
const parts = <T>(list: readonly T[], ends: readonly number[]) => ends.map((end, i) => list.slice(ends[i - 1] ?? 0, end));

/** The segments of a container, or none if it cannot be cut in two or is better not. */
export function segmentsOf(container: Container): readonly Segment[] {
  const all = orderOf(container);
  const simple = ({ sourceLayer, nodeIndex }: Symbolic) =>
    !isContainer(sourceLayer) && sourceLayer.inboundNodes[nodeIndex]!.outputTensors.length === 1;
  if (!all.every(simple)) return [];
  const free = weightless(container, all);
  const order = all.filter((t) => !free.has(t));
  const calls = callsOf(container, order);
  const exact = leastOf(calls, true);
  const ends = exact.length > 1 ? exact : leastOf(calls, false);
  const made = new Set(order);
  return parts(order, ends).map((steps, i) => {
    const from = [...new Set(steps.flatMap((t) => t.inputs))].filter((t) => !steps.includes(t));
    return { steps, from, spent: from.filter((t) => made.has(t) && calls.last[order.indexOf(t)]! < ends[i]!) };
  });
}

/** What layers without weights make of inputs alone. */
function weightless(container: Container, order: readonly Symbolic[]): ReadonlySet<Symbolic> {
  const free = new Set<Symbolic>(container.inputs);
  for (const t of order) if (t.sourceLayer.weights.length === 0 && t.inputs.every((source) => free.has(source))) free.add(t);
  return free;
}

function callsOf({ outputs }: Container, order: readonly Symbolic[]): Calls {
  const reads = lastReads(order);
  let reach = 0;
  const sole = order.map((t, i) => {
    const alone = reach <= i;
    reach = Math.max(reach, reads.get(t) ?? 0);
    return alone;
  });
  return { sizes: order.map(elements), last: order.map((t) => (outputs.includes(t) ? order.length : reads.get(t)!)), sole };
}

/** The ends of the segments with which the least is held: what is cut throughout, and of one segment at a time values and gradients. */
function leastOf(calls: Calls, exact: boolean): readonly number[] {
  const { sizes } = calls;
  const cost = (ends: readonly number[]) => sum(ends.map((end) => sizes[end - 1]!)) + 2 * Math.max(...parts(sizes, ends).map(sum));
  const options = sizes.map((_, k) => cut(calls, sum(sizes) / (k + 1), exact)).filter((ends) => ends.length > 0);
  return options.reduce((a, b) => (cost(b) < cost(a) ? b : a), options[0] ?? []);
}

/** The ends of segments of at most `most` elements, where there are so small ones, between which the least waits; none if there is no way. */
function cut({ sizes, last, sole }: Calls, most: number, exact: boolean): readonly number[] {
  const ways: ({ readonly waits: number; readonly start: number } | undefined)[] = [{ waits: 0, start: 0 }];
  for (let start = 0; start < sizes.length; start++) {
    const way = ways[start];
    if (!way) continue;
    let [size, reach, found] = [0, 0, false];
    for (let end = start; end < sizes.length; end++) {
      size += sizes[end]!;
      if (found && size > most) break;
      if (reach <= end && (sole[end] || !exact)) {
        const waits = way.waits + sizes[end]!;
        if (waits < (ways[end + 1]?.waits ?? Number.POSITIVE_INFINITY)) ways[end + 1] = { waits, start };
        found = true;
      }
      reach = Math.max(reach, last[end]!);
    }
  }
  const ends: number[] = [];
  for (let end = sizes.length; end > 0 && ways[end]; end = ways[end]!.start) ends.unshift(end);
  return ends;
}
