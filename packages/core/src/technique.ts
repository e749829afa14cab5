/**
 * The one concept: a technique is a plain object that says, once attached to a model, what trains, how kernels are
 * differentiated, how values wait for backward, and what happens around a step. Every answer is optional except how it leaves.
 */
import type * as tf from '@tensorflow/tfjs-core';

/** What options are made of, so that files can hold them. */
export type Json = string | number | boolean | null | readonly Json[] | { readonly [key: string]: Json | undefined };

/** A way to fine-tune with less memory: plain data and one function. */
export interface Technique {
  /** Used in adapter files and errors: `'lamda'`. */
  readonly name: string;
  /** What `save` writes and `restore` reads. */
  readonly options: Json;
  /** Called once per model, from left to right; undone by `detach`, from right to left. */
  attach(model: ModelView): Attachment;
}

/** What a technique answers once it is attached to a particular model. */
export interface Attachment {
  /** 1 What trains, beside what `trainable` selects. Owned by the technique; saved by `variable.name`. May be a getter: it is read at each step. */
  readonly variables?: readonly tf.Variable[];
  /** 2 How kernels are differentiated. First answer in array order wins over core's own rules. */
  readonly gradients?: GradientRules;
  /** 3 How any other value waits for backward. First answer wins; `undefined` keeps the value as it is. */
  readonly keep?: KeepRule;
  /** Runs of several kernels that are differentiated as one. First answer wins, before core's own for norms and activations. */
  readonly fusions?: readonly Fusion[];
  /** How kernels are computed while a loss is differentiated, forward and backward. Several nest like middleware: the first is outermost. */
  readonly compute?: ComputeRule;
  /** 4 What happens around an optimizer step. */
  readonly step?: StepHook;
  /** What attaching did and what it had to leave out, a line each: shown by `tuned.summary()`. */
  readonly notes?: readonly string[];
  /** The technique's options as they turned out on this model, for files. @default `technique.options` */
  readonly options?: Json;
  /** What files hold for the technique, where that is not `variables`: rows that are frozen, a projection that was computed. */
  readonly saved?: SavedState;
  /** 5 Folds the technique into the base weights. Absent: `tuned.merge()` drops a technique without variables, and throws for one with. */
  merge?(): void;
  /** Leaves the model bit for bit as it was, and disposes what the technique made. */
  detach(): void;
}

/** Names and shapes are the same in every run: a file is checked against them before anything is written. */
export interface SavedState {
  /** New tensors, owned by the caller. */
  read(): tf.NamedTensorMap;
  /** Borrows tensors of the names and shapes that `read` gives. */
  write(tensors: tf.NamedTensorMap): void;
}

/** Stores a value until backward reads it. `encode` borrows `x`, is not recorded, and should make no temporaries of x's size. */
export interface Codec {
  readonly name: string;
  encode(x: tf.Tensor): Kept;
}

/** A stored value, opaque to core: words, halves, or a recipe to recompute. `decode` returns a new tensor of x's shape and dtype, owned by the caller. */
export interface Kept {
  readonly bytes: number;
  decode(): tf.Tensor;
  dispose(): void;
}

/** A value that a kernel's gradient will read. Never a variable or a frozen weight: keeping those is free. */
export interface SavedValue {
  readonly tensor: tf.Tensor;
  /** The kernel whose gradient reads it: `'Relu'`. */
  readonly kernel: string;
  /** `'inputs.x'` or `'outputs.0'`. */
  readonly role: string;
  /** The layer or graph node that ran the kernel, `''` outside a model. */
  readonly layer: string;
  /** True if the kernel also reads a weight, whose gradient then is what this waits for. */
  readonly parametric?: boolean;
}

/** Says under which codec a value waits; `undefined` leaves it as it is. */
export type KeepRule = (value: SavedValue) => Codec | undefined;

/** By kernel name, e.g. `{ Relu: rule }`. */
export type GradientRules = { readonly [kernel: string]: GradientRule };

/** What a gradient rule sees of one run of a kernel in forward. */
export interface KernelRun {
  readonly kernel: string;
  readonly inputs: { readonly [name: string]: tf.Tensor };
  readonly outputs: readonly tf.Tensor[];
  readonly attrs: { readonly [name: string]: unknown };
  /** The inputs whose gradient is wanted. */
  readonly wanted: readonly string[];
  /** The layer or graph node that ran it, `''` outside a model. */
  readonly layer?: string;
}

/**
 * How a kernel is differentiated. `keep` names the values that the gradients of `wanted` inputs read: tensors wait under the
 * keep rules, a `Kept` waits as it is (its bytes are counted; it is disposed after its last use). A function that returns a `Kept` is
 * called at once, off the record, and the buffers that it leaves are counted as kept.
 * `backward` gets `dy` per output (undefined: not reached) and the kept values decoded, and returns a gradient per wanted input, or parts
 * of one, which are added one by one.
 * It borrows all of them; what it returns belongs to the tape. The whole call runs in a tidy.
 */
export interface GradientRule {
  keep(run: KernelRun): { readonly [name: string]: tf.Tensor | Kept | (() => Kept) };
  backward(
    dys: readonly (tf.Tensor | undefined)[],
    kept: { readonly [name: string]: tf.Tensor },
    run: BackwardRun,
  ): { readonly [input: string]: tf.Tensor | readonly tf.Tensor[] };
}

/** As {@link KernelRun}, after forward: shapes and dtypes only. */
export interface BackwardRun {
  readonly kernel: string;
  readonly inputs: { readonly [name: string]: tf.TensorInfo | { readonly shape: number[]; readonly dtype: tf.DataType } };
  readonly attrs: { readonly [name: string]: unknown };
  readonly wanted: readonly string[];
}

/** A run of a kernel that is asked for. */
export interface KernelCall {
  readonly kernel: string;
  readonly inputs: { readonly [name: string]: tf.Tensor };
  readonly attrs: { readonly [name: string]: unknown };
  /** The layer or graph node that asks, `''` outside a model, as losses are; undefined in backward. */
  readonly layer: string | undefined;
}

/**
 * Computes a kernel in another way: in half precision, say. Asked of every kernel that runs while a loss is recorded or walked back, also of
 * those inside of another. What is kept for backward, and the gradient, are those of the kernel that was asked for.
 *
 * @param run runs a kernel without asking this rule
 * @returns new tensors of the shapes and dtypes that `run(call)` gives
 */
export type ComputeRule = (
  call: KernelCall,
  run: (call: Pick<KernelCall, 'kernel' | 'inputs' | 'attrs'>) => tf.Tensor | tf.Tensor[],
) => tf.Tensor | tf.Tensor[];

/** One run of a kernel that is on the tape, and what made its inputs: what a pattern of kernels is found in. */
export interface TapeOp {
  readonly kernel: string;
  /** Runs that came before it have lower places. */
  readonly place: number;
  /** The layer or graph node that ran it, `''` outside a model. */
  readonly layer: string;
  readonly attrs: { readonly [name: string]: unknown };
  readonly inputs: { readonly [name: string]: TapeValue };
}

/** A value on the tape, as a pattern of kernels sees it. */
export interface TapeValue {
  readonly shape: readonly number[];
  /** Equal for two handles on one value. */
  readonly id: object;
  /** What made it; undefined for constants, and for variables that train. */
  readonly from?: TapeOp | undefined;
  /** The number, for a constant of one element. */
  readonly number?: number | undefined;
  /** True if no gradient is wanted of it. */
  readonly constant: boolean;
  /** Borrows the value, while its tensor lives or the tape keeps it as it is. */
  read(): tf.Tensor | undefined;
}

/** Several runs of kernels that are differentiated as one: from `inputs` to the output of the last one. */
export interface Fused {
  /** In reports: `'Gelu'`. */
  readonly kernel: string;
  readonly inputs: { readonly [name: string]: TapeValue };
  /** The runs in between. What they keep goes as soon as nothing else can read what they made. */
  readonly through: readonly TapeOp[];
  readonly rule: GradientRule;
}

/** Asked of each run that is recorded, as the last of its pattern. */
export type Fusion = (last: TapeOp) => Fused | undefined;

/** Gradients by the name of their variable. */
export type NamedGradients = { [name: string]: tf.Tensor };

/** Hooks may run in a tidy: `tf.keep` a tensor that outlives the call, such as a norm that is stored. */
export interface StepHook {
  /** Returns the loss to differentiate instead (a new tensor). */
  scaleLoss?(loss: tf.Scalar): tf.Scalar;
  /** Takes the gradients by variable name; returns those to apply (it disposes what it replaces), or `'skip'` to leave weights and optimizer as they are. */
  onGradients?(gradients: NamedGradients): NamedGradients | 'skip';
  /** After weights and optimizer have moved; `step` counts from 1. */
  afterStep?(step: number): void;
  /** In place of `afterStep`, where a step was skipped: with accumulation once for all its batches, of which one said 'skip'. */
  afterSkip?(): void;
  /** Asked after `afterStep`: what trains no more. */
  freezes?(): readonly FrozenRows[];
}

/**
 * The first `rows` rows of one of the technique's own variables train no more. Core takes them out of the variable, which keeps its name and
 * loses them in its shape, and out of the state that optimizers hold for it; take a copy before. With all rows it disposes the variable,
 * which then must not be among `variables`.
 */
export interface FrozenRows {
  readonly variable: tf.Variable;
  readonly rows: number;
}

/** What a site computes; `other` has no linear map to hold on to. */
export type SiteKind =
  | 'dense'
  | 'conv1d'
  | 'conv2d'
  | 'conv3d'
  | 'conv2dTranspose'
  | 'depthwiseConv2d'
  | 'separableConv2d'
  | 'embedding'
  | 'batchNorm'
  | 'layerNorm'
  | 'activation'
  | 'other';

/** The linear map of a site with its bias and without its activation. */
export type Forward = (x: tf.Tensor) => tf.Tensor;
/** The linear map of a site with another kernel, which may have another last dimension, and without its bias: same strides, padding, batching. */
export type Linear = (x: tf.Tensor, kernel: tf.Tensor) => tf.Tensor;
/** What runs in place of a site. */
export type Replacement = (x: tf.Tensor, next: Forward, linear: Linear) => tf.Tensor;
/** Takes back what it was returned for. */
export type Undo = () => void;

/** A place a technique can hold on to, the same for the three kinds of model. */
export interface Site {
  /** `'block_3/attention/query'`: the layer's path in nested models, the graph node, or the variable's name. */
  readonly name: string;
  readonly kind: SiteKind;
  /** Class name or op, e.g. `'Dense'`, `'_FusedConv2D'`. */
  readonly type: string;
  /** [dIn, dOut], [h, w, cIn, cOut] or [vocabulary, d]; undefined where there is none, or where it is held packed. */
  readonly kernel?: tf.Tensor | undefined;
  /** The kernel's shape, however it is held; undefined where there is none. */
  readonly kernelShape?: readonly number[] | undefined;
  /** The kernel's values, unpacked where it is held packed: a new tensor. */
  readKernel(): tf.Tensor;
  readonly bias?: tf.Tensor | undefined;
  /** The weights that `trainable` may select here, by name. Non-trainable state (moving statistics) is not among them. */
  readonly weights: readonly SiteWeight[];
  /** The tfjs layer, for a LayersModel. */
  readonly layer?: unknown;
  /** True if something else runs in place of the site now. */
  readonly replaced: boolean;
  /** Runs `forward` instead. Two on one site nest like middleware: the last one is outermost. */
  replace(forward: Replacement): Undo;
  /** Adds `delta`, of the kernel's shape, into the kernel (borrows it). One that is held packed is not added to. */
  addToKernel(delta: tf.Tensor): void;
}

/** One weight of a site. */
export interface SiteWeight {
  readonly name: string;
  /** The variable that holds it. A GraphModel's constant becomes one when first asked for. */
  variable(): tf.Variable;
}

/** Which sites are meant: a name, a RegExp, a list of them, of which each must match, or a function. */
export type SiteFilter = string | RegExp | readonly (string | RegExp)[] | ((site: Site) => boolean);

/** What a technique sees of a model. */
export interface ModelView {
  readonly kind: 'layers' | 'graph' | 'variables';
  readonly model: unknown;
  /** All sites, in forward order, or those that `filter` selects. No match, or a list matched in part, is an error naming the nearest. */
  sites(filter?: SiteFilter, who?: string): readonly Site[];
}
