/**
 * Gradient checkpointing of a LayersModel: its layers run in segments between tensors that are the only way from what is before to
 * what is after (the outputs of residual blocks, say); each segment is one `checkpoint`.
 *
 * tfjs's executor calls layer by layer. The call of a segment's first layer runs the whole segment; the layers between get tensors
 * without values, and the last one gets the result. Where to cut minimizes cut tensors + the largest segment, by their shapes.
 */
import * as tf from '@tensorflow/tfjs-core';
import { checkpoint } from '../autograd/checkpoint.ts';
import { recording } from '../autograd/gradients.ts';
import { FinetuneError } from '../errors.ts';
import {
  type Container,
  isContainer,
  type Kwargs,
  type Layer,
  lastReads,
  orderOf,
  type Symbolic,
  type Tensors,
  toList,
} from './tfjs-layers.ts';

interface Segment {
  /** What each layer call of the segment computes, in the executor's order. */
  readonly steps: readonly Symbolic[];
  /** The tensor that leads in, and the one that leads out. */
  readonly from: Symbolic;
  readonly to: Symbolic;
}

const elements = (t: Symbolic) => t.shape.reduce<number>((n, d) => n * (d ?? 1), 1);
const sum = (tensors: readonly Symbolic[]) => tensors.reduce((n, t) => n + elements(t), 0);

/** The smallest segments: one ends at every tensor that alone is still to be read. */
function piecesOf({ inputs, outputs }: Container, order: readonly Symbolic[]): Segment[] {
  const last = lastReads(order);
  for (const y of outputs) last.set(y, order.length);
  const live = new Set<Symbolic>(inputs);
  const pieces: Segment[] = [];
  let [steps, from]: [Symbolic[], Symbolic] = [[], inputs[0]!];
  order.forEach((t, i) => {
    steps.push(t);
    live.add(t);
    for (const x of live) if ((last.get(x) ?? -1) <= i) live.delete(x);
    if (live.size > 1) return;
    pieces.push({ steps, from, to: t });
    [steps, from] = [[], t];
  });
  return pieces;
}

/** Joins neighbours as long as together they make no more than `most` elements. */
function joined(pieces: readonly Segment[], most: number): Segment[] {
  const segments: Segment[] = [];
  for (const piece of pieces) {
    const before = segments.at(-1);
    const steps = [...(before?.steps ?? []), ...piece.steps];
    if (before && sum(steps) <= most) segments[segments.length - 1] = { ...before, steps, to: piece.to };
    else segments.push(piece);
  }
  return segments;
}

function plan(container: Container): Segment[] {
  const order = orderOf(container);
  const { inputs, outputs } = container;
  const simple = ({ sourceLayer, nodeIndex }: Symbolic) =>
    !isContainer(sourceLayer) && sourceLayer.inboundNodes[nodeIndex]!.outputTensors.length === 1;
  if (inputs.length > 1 || outputs.length > 1 || !order.every(simple)) return [];
  // What is cut waits throughout; of one segment at a time there are the values and their gradients.
  const cost = (segments: readonly Segment[]) =>
    sum(segments.map(({ to }) => to)) + 2 * Math.max(...segments.map(({ steps }) => sum(steps)));
  const pieces = piecesOf(container, order);
  const options = order.map((_, k) => joined(pieces, sum(order) / (k + 1)));
  return options.reduce((a, b) => (cost(b) < cost(a) ? b : a));
}

const masks = (layer: Layer) => layer.getClassName() === 'Masking' || (layer as { maskZero?: boolean }).maskZero === true;

/** Where one run of a container is. */
interface Run {
  readonly kwargs: Kwargs;
  segment: number;
  step: number;
  made: Map<Symbolic, Tensors>;
  /** The result of the segment before, which the tape keeps from now on. */
  spent: tf.Tensor | undefined;
}

/** A container's segments, and where it is in them now. */
interface Course {
  readonly segments: readonly Segment[];
  run: Run | undefined;
}

export class Segments {
  readonly #byLayer = new Map<Layer, Course>();
  readonly #byContainer = new Map<Layer, Course>();
  #inside = false;

  /** @throws FinetuneError `bad-option` for models that cannot be cut */
  constructor(layers: Iterable<Layer>, containers: Iterable<Container>) {
    const refused = [...layers].filter((layer) => !isContainer(layer) && (masks(layer) || layer.stateful)).map((layer) => layer.name);
    if (refused.length > 0) {
      const advice = 'Leave it out, or write the loss with checkpoint(f).';
      throw new FinetuneError(
        'bad-option',
        'finetune',
        `checkpoint: true works with neither masks nor states, which ${refused.join(', ')} have. ${advice}`,
      );
    }
    for (const container of containers) {
      const segments = plan(container);
      if (segments.length < 2) continue;
      const state: Course = { segments, run: undefined };
      this.#byContainer.set(container, state);
      for (const { steps } of segments) for (const t of steps) this.#byLayer.set(t.sourceLayer, state);
    }
    if (this.#byLayer.size === 0)
      throw new FinetuneError(
        'bad-option',
        'finetune',
        'checkpoint: true found no place to cut this model in two. Leave it out, or write the loss with checkpoint(f).',
      );
  }

  /** A container is called: what it had begun and did not finish was ended by an error. */
  begin(container: Layer): void {
    const state = this.#byContainer.get(container);
    if (state) state.run = undefined;
  }

  /** Around one call of a layer; undefined if the layer is not in a segment now. */
  around(layer: Layer, kwargs: Kwargs, inputs: Tensors): { readonly made: Tensors } | undefined {
    const state = this.#byLayer.get(layer);
    if (!state || this.#inside || !recording() || !kwargs?.['training']) return undefined;
    if (state.run?.kwargs !== kwargs) state.run = { kwargs, segment: 0, step: 0, made: new Map(), spent: undefined };
    const { run } = state;
    const segment = state.segments[run.segment];
    if (segment?.steps[run.step]?.sourceLayer !== layer) {
      throw new FinetuneError(
        'bad-model',
        'checkpoint',
        `layer "${layer.name}" was called out of order. Use checkpoint: true with model.fit or model.apply of the whole model.`,
      );
    }
    if (run.step === 0) {
      state.run = undefined; // if it throws, the next run starts anew
      this.#compute(segment, run, toList(inputs)[0]!);
      state.run = run;
    }
    const made = run.made.get(segment.steps[run.step]!)!;
    if (++run.step === segment.steps.length) {
      run.step = 0;
      run.segment++;
      if (run.segment === state.segments.length) state.run = undefined;
    }
    return { made };
  }

  #compute({ steps, from, to }: Segment, run: Run, x: tf.Tensor): void {
    const last = lastReads(steps);
    const shapes = new Map<Symbolic, number[]>();
    const y = checkpoint((start: tf.Tensor) => {
      this.#inside = true; // also when backward runs this again
      try {
        const values = new Map([[from, start]]);
        const kwargs = { ...run.kwargs };
        steps.forEach((t, i) => {
          const value = toList(
            t.sourceLayer.apply(
              t.inputs.map((source) => values.get(source)!),
              kwargs,
            ) as Tensors,
          )[0]!;
          values.set(t, value);
          shapes.set(t, value.shape);
          for (const source of new Set(t.inputs))
            if (last.get(source) === i && source !== from && source !== to) values.get(source)!.dispose();
        });
        return values.get(to)!;
      } finally {
        this.#inside = false;
      }
    }, x);
    run.made = new Map(steps.map((t) => [t, t === to ? y : new tf.Tensor(shapes.get(t)!, y.dtype, {}, -1)]));
    run.spent?.dispose();
    run.spent = y;
  }
}
