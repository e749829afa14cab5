/**
 * Frees the outputs of layers after their last use in a training forward.
 *
 * tfjs frees them as it goes in `predict`, but keeps every one of them until the end of forward when training. What backward reads
 * is kept by the tape under handles of its own, so the rest can go. The order in which tfjs's executor calls the layers of a
 * container is fixed, so a plan made once says after which call each symbolic tensor is dead; shared layers, branches and layers
 * with several outputs need no special case. A run of the executor is known by the `kwargs` object that all its calls share.
 *
 * A dead tensor goes when the next layer of its container is called, since `computeMask` still reads the inputs after `call`.
 */
import * as tf from '@tensorflow/tfjs-core';
import { recording } from '../autograd/gradients.ts';
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

interface Step {
  readonly layer: Layer;
  /** Ids of the symbolic tensors it makes; undefined for those that must not be freed. */
  readonly makes: readonly (number | undefined)[];
  /** Ids of the symbolic tensors that nobody reads after this step. */
  readonly dies: number[];
}

function planOf(container: Container): readonly Step[] {
  const order = orderOf(container);
  // Stateful layers may hold on to what they return.
  const free = (t: Symbolic) => !container.outputs.includes(t) && !t.sourceLayer.stateful;
  const last = lastReads(order);
  const steps = order.map((t, i): Step => {
    const outputs = t.sourceLayer.inboundNodes[t.nodeIndex]!.outputTensors;
    for (const y of outputs) if (!last.has(y)) last.set(y, i);
    return { layer: t.sourceLayer, makes: outputs.map((y) => (free(y) ? y.id : undefined)), dies: [] };
  });
  for (const [t, i] of last) if (free(t)) steps[i]!.dies.push(t.id);
  return steps;
}

/** One run of a container: where it is in the plan, and the tensors that it may free. */
class Run {
  /** By symbolic id; null once dead. */
  readonly live = new Map<number, tf.Tensor | null>();
  readonly container: Container;
  readonly kwargs: Kwargs;
  readonly #plan: readonly Step[];
  #at = 0;
  #dead: tf.Tensor[] = [];

  constructor(container: Container, plan: readonly Step[], kwargs: Kwargs) {
    this.container = container;
    this.#plan = plan;
    this.kwargs = kwargs;
  }

  /** The step that this call is, or undefined if someone else than the executor calls. */
  step(layer: Layer, inputs: Tensors, kwargs: Kwargs): Step | undefined {
    const step = this.#plan[this.#at];
    const ours = kwargs === this.kwargs && layer === step?.layer && (Array.isArray(inputs) || layer.returnState !== undefined);
    this.#at = ours ? this.#at + 1 : Number.POSITIVE_INFINITY;
    return ours ? step : undefined;
  }

  /** Frees what died before. */
  sweep(): void {
    for (const t of this.#dead) if (!t.kept && !(t instanceof tf.Variable)) t.dispose();
    this.#dead = [];
  }

  /** Notes what a step made and what dies with it. A tensor that is not new gets a handle of its own. */
  finish(step: Step, inputs: readonly tf.Tensor[], made: Tensors): Tensors {
    const known = new Set<tf.Tensor | null>([...inputs, ...this.live.values()]);
    const own = toList(made).map((t) => {
      if (known.has(t)) return t.clone();
      known.add(t);
      return t;
    });
    step.makes.forEach((id, i) => {
      if (id === undefined || !own[i]) return;
      // A layer with several outputs is called for each of them; the executor uses what the first call made.
      if (this.live.has(id)) this.#dead.push(own[i]);
      else this.live.set(id, own[i]);
    });
    for (const id of step.dies) {
      const t = this.live.get(id);
      if (t) this.#dead.push(t);
      this.live.set(id, null);
    }
    return Array.isArray(made) ? own : own[0]!;
  }
}

export class Release {
  readonly #root: Container;
  readonly #plans = new Map<Container, readonly Step[]>();
  /** The container that runs in each hooked call that is under way; undefined inside ordinary layers. */
  readonly #stack: (Run | undefined)[] = [];
  /** `fit` runs the root without calling it: once per batch, before anything else that its loss may run. */
  #fitting: { run: Run | undefined } | undefined;

  constructor(root: Container) {
    this.#root = root;
  }

  /** Around what `fit` does with one batch. */
  fitting<T>(step: () => T): T {
    this.#fitting = { run: undefined };
    try {
      return step();
    } finally {
      this.#fitting = undefined;
    }
  }

  /** The container of the tuned model of whose run a call with these `kwargs` is part. */
  caller(kwargs: Kwargs): Container | undefined {
    const run = this.#current(kwargs);
    return run?.kwargs === kwargs ? run?.container : undefined;
  }

  /** Around one call of a layer, or of a container. `call` is told whose executor makes it, if any does. */
  around(layer: Layer, inputs: Tensors, kwargs: Kwargs, call: (by?: Container) => Tensors): Tensors {
    if (!recording()) return call();
    const given = toList(inputs);
    const run = kwargs?.training && layer !== this.#root ? this.#current(kwargs) : undefined;
    const step = run?.step(layer, inputs, kwargs);
    if (step) run!.sweep();
    const dying = step?.dies.map((id) => run!.live.get(id));
    this.#stack.push(kwargs?.training && isContainer(layer) ? this.#enter(layer, given, kwargs, dying) : undefined);
    try {
      const made = call(step && run!.container);
      return step ? run!.finish(step, given, made) : made;
    } finally {
      this.#stack.pop();
    }
  }

  #current(kwargs: Kwargs): Run | undefined {
    if (this.#stack.length > 0) return this.#stack.at(-1);
    if (!this.#fitting) return undefined;
    this.#fitting.run ??= this.#run(this.#root, kwargs);
    return this.#fitting.run.kwargs === kwargs ? this.#fitting.run : undefined;
  }

  #run(container: Container, kwargs: Kwargs): Run {
    const plan = this.#plans.get(container) ?? planOf(container);
    this.#plans.set(container, plan);
    return new Run(container, plan, kwargs);
  }

  /** A container may free those of its inputs that die with it. */
  #enter(container: Container, given: readonly tf.Tensor[], kwargs: Kwargs, dying: readonly (tf.Tensor | null | undefined)[] = []): Run {
    const run = this.#run(container, kwargs);
    container.inputs.forEach(({ id }, i) => {
      const x = given[i]!;
      if (!container.supportsMasking && dying.includes(x) && given.indexOf(x) === given.lastIndexOf(x)) run.live.set(id, x);
    });
    return run;
  }
}
