/**
 * Gradient checkpointing of a LayersModel: its layers run in segments (`cuts.ts`), each of which is one `checkpoint`.
 *
 * tfjs's executor calls layer by layer. The layers of a segment are answered with tensors that have a shape and no values, until
 * the call of the last one runs them all.
 */
import * as tf from '@tensorflow/tfjs-core';
import { checkpoint } from '../autograd/checkpoint.ts';
import { recording } from '../autograd/gradients.ts';
import { FinetuneError } from '../errors.ts';
import { type Segment, segmentsOf } from './cuts.ts';
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

const masks = (layer: Layer) => layer.getClassName() === 'Masking' || (layer as { maskZero?: boolean }).maskZero === true;

/** Where one run of a container is. */
interface Run {
  readonly kwargs: Kwargs;
  /** The next call, and the segment that it belongs to, if any. */
  at: number;
  segment: number;
  /** The kwargs as they were at the first call of the segment: recurrent layers write theirs into them. */
  first: Kwargs;
  /** What the executor gave the segment's layers. */
  given: Map<Symbolic, tf.Tensor>;
  /** What segments made that is read later. */
  readonly made: Map<Symbolic, tf.Tensor>;
}

/** A container's calls and segments, and where it is in them now. */
interface Course {
  readonly order: readonly Symbolic[];
  readonly segments: readonly Segment[];
  /** The calls that are part of segments. */
  readonly cut: ReadonlySet<Symbolic>;
  run: Run | undefined;
}

export class Segments {
  readonly #courses = new Map<Layer, Course>();
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
      const segments = segmentsOf(container);
      const course = { order: orderOf(container), segments, cut: new Set(segments.flatMap(({ steps }) => steps)), run: undefined };
      if (segments.length > 1) this.#courses.set(container, course);
    }
    if (this.#courses.size === 0)
      throw new FinetuneError(
        'bad-option',
        'finetune',
        'checkpoint: true found no place to cut this model in two. Leave it out, or write the loss with checkpoint(f).',
      );
  }

  /** A container is called: what it had begun and did not finish was ended by an error. */
  begin(container: Layer): void {
    const course = this.#courses.get(container);
    if (course) course.run = undefined;
  }

  /** Around one call of a layer by `container`; undefined if its layers run as they are called. */
  around(container: Container, layer: Layer, kwargs: Kwargs, inputs: Tensors): { readonly made: tf.Tensor } | undefined {
    const course = this.#courses.get(container);
    if (!course || this.#inside || !recording() || !kwargs?.['training']) return undefined;
    if (course.run?.kwargs !== kwargs) course.run = { kwargs, at: 0, segment: 0, first: kwargs, given: new Map(), made: new Map() };
    const { run } = course;
    const t = course.order[run.at++];
    if (t?.sourceLayer !== layer) {
      throw new FinetuneError(
        'bad-model',
        'checkpoint',
        `layer "${layer.name}" was called out of order. Use checkpoint: true with model.fit or model.apply of the whole model.`,
      );
    }
    course.run = undefined; // if it throws, the next run starts anew
    const made = course.cut.has(t) ? this.#answer(course.segments[run.segment]!, t, run, inputs) : undefined;
    if (run.at < course.order.length) course.run = run;
    return made && { made };
  }

  /** What the executor gets for a call that is part of `segment`. */
  #answer(segment: Segment, t: Symbolic, run: Run, inputs: Tensors): tf.Tensor {
    if (t === segment.steps[0]) run.first = { ...run.kwargs };
    // tfjs hands a recurrent layer all but its first input through the kwargs.
    const given = [...toList(inputs), ...((run.kwargs?.['initialState'] as tf.Tensor[] | undefined) ?? [])];
    t.inputs.forEach((source, i) => void run.given.set(source, given[i]!));
    if (t !== segment.steps.at(-1)) return placeholder(t, given);
    const made = this.#compute(segment, run);
    for (const source of segment.spent) run.made.get(source)!.dispose();
    run.made.set(t, made);
    run.segment++;
    run.given = new Map();
    return made;
  }

  #compute({ steps, from }: Segment, { first, given }: Run): tf.Tensor {
    const last = lastReads(steps);
    const end = steps.at(-1)!;
    const f = (...starts: tf.Tensor[]) => {
      this.#inside = true; // also when backward runs this again
      try {
        const values = new Map(from.map((source, i) => [source, starts[i]!]));
        const kwargs = { ...first };
        steps.forEach((t, i) => {
          const inputs = t.inputs.map((source) => values.get(source)!);
          values.set(t, toList(t.sourceLayer.apply(inputs, kwargs) as Tensors)[0]!);
          for (const source of new Set(t.inputs)) if (last.get(source) === i && !from.includes(source)) values.get(source)!.dispose();
        });
        return values.get(end)!;
      } finally {
        this.#inside = false;
      }
    };
    return checkpoint(f, ...from.map((source) => given.get(source)!));
  }
}

/** What a layer's output looks like to the executor. */
function placeholder(t: Symbolic, inputs: readonly tf.Tensor[]): tf.Tensor {
  const shapes = t.inputs.map((_, i) => inputs[i]!.shape);
  const shape = t.sourceLayer.computeOutputShape(shapes.length === 1 ? shapes[0]! : shapes);
  return new tf.Tensor((Array.isArray(shape[0]) ? shape[0] : shape) as number[], t.dtype, {}, -1);
}
