/**
 * Recording. While a function is recorded, four methods of tfjs's engine are replaced on the instance: `runKernelFunc` sees every op of
 * LayersModels, GraphModels and plain code, `gradients` nests, `isTapeOn` says no, so that tfjs saves nothing itself, and `makeTensor`
 * sees the numbers that ops are given. `gradientDepth` is raised as in tfjs: ops then take the same, unfused path, and results are bit
 * for bit the same. They are put back in a `finally`. All coupling to tfjs's engine is in this file and `held.ts`.
 */
import * as tf from '@tensorflow/tfjs-core';
import { FinetuneError } from '../errors.ts';
import { heldTogether, noteWhatWasHeld, sayWhatIsHeld } from '../memory/out-of-memory.ts';
import { override } from '../override.ts';
import type { Undo } from '../technique.ts';
import { compute } from './computing.ts';
import type { Held } from './held.ts';
import { noteNumber } from './numbers.ts';
import type { CustomGradient, Recorder, Recording, Tensors } from './recorder.ts';
import type { Attrs } from './rules.ts';
import { currentLayer, Tape } from './tape.ts';

let tapes: Recorder[] = [];
let restore = () => {};

/** True while a forward pass is being recorded. */
export function recording(): boolean {
  return tapes.length > 0;
}

/** True if a gradient with respect to any of `tensors` is wanted. */
export function wanted(tensors: readonly tf.Tensor[]): boolean {
  return tapes.some((tape) => tape.wants(tensors));
}

/** True while one pass is recorded for first derivatives, and no technique asks to see the kernels that `kernel` stands for. */
export function recordedAs(kernel: string): boolean {
  const [tape, ...inner] = tapes;
  if (!tape || inner.length > 0 || tf.engine().state.gradientDepth > 1) return false;
  const { fuses, gradients = [], keep = [], fusions = [], compute = [] } = tape.extra;
  return fuses?.(kernel) ?? [gradients, keep, fusions, compute].every((of) => of.length === 0);
}

/** Runs ops that no gradient flows through as outside of a recording: tfjs then fuses activations, which it does not under a gradient. */
export function fusing<T>(run: () => T): T {
  const { state } = tf.engine();
  const depth = state.gradientDepth;
  state.gradientDepth = 0;
  try {
    return run();
  } finally {
    state.gradientDepth = depth;
  }
}

type Original = (this: unknown, call: object) => tf.Tensor | tf.Tensor[];
type Forward = (backend: unknown, save: (tensors: tf.Tensor[]) => void) => tf.Tensor;
type Invocation =
  | { readonly kernelName: string; readonly inputs: Tensors; readonly attrs?: Attrs }
  | { readonly kernelName?: never; readonly forwardFunc: Forward; readonly backwardsFunc: CustomGradient; readonly inputs: Tensors };

/** Puts the recording methods on the engine instance; returns what takes them off again. */
function patch(): Undo {
  const engine = tf.engine() as any;
  const { makeTensor, runKernelFunc, state } = engine;
  // tfjs's fused ops have custom gradients that save everything. Their one inner kernel is recorded instead.
  let fused: Extract<Invocation, { kernelName: string }> | undefined;

  const runKernel = (call: Extract<Invocation, { kernelName: string }>) => {
    const { kernelName, inputs, attrs = {} } = call;
    const out = computed(tapes.at(-1)?.extra, call, runKernelFunc);
    if (state.kernelDepth === 0) for (const tape of tapes) tape.record(kernelName, inputs, [out].flat(), attrs);
    else if (state.kernelDepth === 1 && /^_?Fused(Conv2D|DepthwiseConv2D|MatMul)$/.test(kernelName)) fused = call;
    return out;
  };
  const runCustom = (call: Extract<Invocation, { forwardFunc: Forward }>) => {
    const wanting = state.kernelDepth === 0 ? tapes.filter((tape) => tape.wants(Object.values(call.inputs))) : [];
    if (wanting.length === 0) return runKernelFunc.call(engine, call);
    let held: Held[][] = [];
    // By the scope that tfjs's ops run in; a user's own may run the same kernels.
    const own = /^fused.*__op$/.test(state.activeScope?.name);
    fused = undefined;
    const save = (tensors: tf.Tensor[]) => {
      if (!own) held = wanting.map((tape) => tensors.map((t, i) => tape.hold('customGrad', `saved.${i}`, t)));
    };
    try {
      const y: tf.Tensor = runKernelFunc.call(engine, { ...call, forwardFunc: (backend: unknown) => call.forwardFunc(backend, save) });
      wanting.forEach((tape, i) => {
        if (own && fused) tape.record(fused.kernelName, fused.inputs, [y], fused.attrs ?? {});
        else tape.recordCustom(call.inputs, y, held[i] ?? [], call.backwardsFunc);
      });
      return y;
    } catch (error) {
      for (const h of held.flat()) h.drop();
      throw error;
    }
  };

  return override(engine, {
    gradients,
    isTapeOn: () => false,
    makeTensor: (values: ArrayLike<unknown> | undefined, ...of: unknown[]) => {
      const t = makeTensor.call(engine, values, ...of);
      noteNumber(t, values);
      return t;
    },
    runKernelFunc: (call: Invocation) => (call.kernelName === undefined ? runCustom(call) : runKernel(call)),
  });
}

/** Runs a kernel as the techniques of a recording compute it. `runKernelFunc`: the engine's own. */
function computed(extra: Recording | undefined, call: Extract<Invocation, { kernelName: string }>, runKernelFunc: Original) {
  const { kernelName, inputs, attrs = {} } = call;
  return compute(extra?.compute, { kernel: kernelName, inputs, attrs, layer: recording() ? currentLayer() : undefined }, (given) =>
    runKernelFunc.call(tf.engine(), { ...given, kernelName: given.kernel }),
  );
}

/** Walks back: kernels are computed as in forward, and not recorded. */
function backward<T>(extra: Recording, walk: () => T): T {
  if (!extra.compute?.length || recording()) return walk();
  const engine = tf.engine() as any;
  const { runKernelFunc } = engine;
  const undo = override(engine, {
    // A recording that is opened inside computes for itself.
    runKernelFunc: (call: Invocation) =>
      call.kernelName === undefined || recording() ? runKernelFunc.call(engine, call) : computed(extra, call, runKernelFunc),
  });
  try {
    return walk();
  } finally {
    undo();
  }
}

/** On every open tape, `copy` is the same value as `t`: nested gradients flow through saved values. */
const alias = (copy: tf.Tensor, t: tf.Tensor) => {
  for (const tape of tapes) tape.link(copy, t);
};

/** Runs `f` with `recorder` in place of the open tapes, which it returns to after. */
export function divert<T>(recorder: (outer: readonly Recorder[]) => Recorder, f: () => T): T {
  const outer = tapes;
  tapes = [recorder(outer)];
  try {
    return f();
  } finally {
    tapes = outer;
  }
}

/** Runs `f` in a tidy on `tape`. */
function record(tape: Tape, f: () => unknown): tf.Tensor {
  const { state } = tf.engine();
  if (tapes.length === 0) {
    if (state.gradientDepth > 0)
      throw new FinetuneError(
        'busy',
        'tape',
        "called inside tfjs's own tf.grad or variableGrads. Use gradients or valueAndGrads of this package there too.",
      );
    restore = patch();
  }
  tapes.push(tape);
  state.gradientDepth++;
  try {
    return tf.tidy('forward', () => checked(f()));
  } finally {
    state.gradientDepth--;
    tapes.pop();
    if (tapes.length === 0) restore();
  }
}

const nextId = () => tf.tidy(() => tf.scalar(0).id); // ids rise

/** Tapes of `gradients` inside each other: a checkpoint's runs while the one outside goes back. */
const open: Tape[] = [];

/** Disposes a result that is not the user's: it was not there at `start`, and nobody keeps it. */
function discard(value: tf.Tensor | undefined, start: number): void {
  if (value && value.id > start && !value.kept) value.dispose();
}

/** What a function to be differentiated returned, if it is a tensor. */
export function checked(y: any): tf.Tensor {
  if (y instanceof tf.Tensor) return y;
  if (typeof y?.then !== 'function')
    throw new FinetuneError(
      'bad-loss',
      'tape',
      `The result y returned by f() must be a tensor, but it is ${y === null ? 'null' : typeof y}.`,
    );
  y.then(undefined, () => {});
  throw new FinetuneError(
    'bad-loss',
    'tape',
    'f returned a Promise; expected a tensor. Await before, and pass a function that returns the loss at once.',
  );
}

/**
 * `y = f()` and the gradients of `y` with respect to `xs`, as tfjs's `engine.gradients`; may be nested.
 *
 * @param dy float32, y's shape: the gradient to start from. @default ones
 * @param allowNoGradients y need not depend on any of xs. @default false
 * @returns y, and per x a float32 tensor of its shape, or null where y does not depend on it. The caller owns them.
 */
export function gradients<T extends tf.Tensor>(
  f: () => T,
  xs: readonly tf.Tensor[],
  dy?: tf.Tensor | null,
  allowNoGradients = false,
  extra: Recording = tapes.at(-1)?.extra ?? {},
): { value: T; grads: (tf.Tensor | null)[] } {
  tf.util.assert(xs.length > 0, () => 'gradients() received an empty list of xs.');
  if (dy && dy.dtype !== 'float32') throw new Error(`dy must have 'float32' dtype, but has '${dy.dtype}'`);
  const tape: Tape = new Tape(xs, extra, { alias, wants: (t) => wanted([t]), innermost: () => open.at(-1) === tape });
  const start = nextId();
  let value: T | undefined;
  open.push(tape);
  try {
    value = record(tape, f) as T;
    const y = value;
    const { kept } = tape.held();
    if (dy) tf.util.assertShapesMatch(y.shape, dy.shape, 'The shape of dy must match the shape returned by f: ');
    const grads = backward(extra, () => tf.tidy('backward', () => tape.backward(y, dy) as tf.Tensor[])) as (tf.Tensor | null)[] | undefined;
    if (!grads && !allowNoGradients) {
      const advice = 'Make sure that the f you passed encloses all operations that lead from x to y.';
      throw new FinetuneError('not-reached', 'tape', `Cannot compute gradient of y=f(x) with respect to x. ${advice}`);
    }
    if (open.length === 1) noteWhatWasHeld({ kept, gradients: tape.held().gradients });
    return { value, grads: grads ?? xs.map(() => null) };
  } catch (error) {
    sayWhatIsHeld(error, () => heldTogether(open));
    discard(value, start);
    throw error;
  } finally {
    open.pop();
    tape.dispose();
  }
}

/**
 * The loss and its gradients: a drop-in for `tf.variableGrads` that keeps only what backward reads.
 *
 * @param f returns a scalar, synchronously.
 * @param variables those to differentiate with respect to. @default all trainable variables of the engine
 * @returns value, and gradients by variable name; variables that f does not reach have none. The caller owns all.
 * @throws FinetuneError `bad-loss` (async, not a scalar), `disposed`, `not-reached` (f reaches none), `no-gradient`
 *
 * @example
 * const { value, grads } = valueAndGrads(() => tf.losses.meanSquaredError(y, model.predict(x)), variables);
 */
export function valueAndGrads(
  f: () => tf.Scalar,
  variables?: readonly tf.Variable[],
  extra?: Recording,
): { value: tf.Scalar; grads: tf.NamedTensorMap } {
  const all = variables ?? Object.values(tf.engine().registeredVariables);
  const trainable = all.filter((v) => v.trainable);
  if (trainable.length > 0) return differentiate(f, trainable, extra);
  throw new FinetuneError(
    'not-reached',
    'tape',
    `expects at least one of the input variables to be trainable, but none of the ${all.length} variables is trainable.`,
  );
}

/** {@link valueAndGrads} for exactly these variables, whatever their flags. */
export function differentiate(
  f: () => tf.Scalar,
  wanted: readonly tf.Variable[],
  extra?: Recording,
): { value: tf.Scalar; grads: tf.NamedTensorMap } {
  const gone = wanted.filter((v) => v.isDisposed).map((v) => v.name);
  if (gone.length > 0)
    throw new FinetuneError('disposed', 'tape', `variables that are disposed: ${gone.join(', ')}. Pass variables that are alive.`);
  const start = nextId();
  const { value, grads } = gradients(() => scalar(f()), wanted, null, true, extra);
  if (grads.every((g) => !g)) {
    discard(value, start);
    const advice = 'Please make sure the operations that use variables are inside the function f.';
    throw new FinetuneError(
      'not-reached',
      'tape',
      `Cannot find a connection between any variable and the result of the loss function y=f(x). ${advice}`,
    );
  }
  return { value, grads: Object.fromEntries(wanted.flatMap((v, i) => (grads[i] ? [[v.name, grads[i]]] : []))) };
}

function scalar(value: unknown): tf.Scalar {
  const { rank } = checked(value);
  if (rank !== 0)
    throw new FinetuneError(
      'bad-loss',
      'tape',
      `f must return a scalar, but it returned a rank-${rank} tensor. Reduce it, for example with tf.mean.`,
    );
  return value as tf.Scalar;
}
