/**
 * `finetune` ties a model, techniques and the tape together, and gives back a handle to train, save and leave.
 */
import * as tf from '@tensorflow/tfjs-core';
import type { TensorSpec } from '../adapters/adapter-fit.ts';
import { differentiate, recording } from '../autograd/gradients.ts';
import type { Recording } from '../autograd/recorder.ts';
import { FinetuneError } from '../errors.ts';
import type { ModelReader } from '../models/model-reader.ts';
import { readModel, type TunableModel } from '../models/read-model.ts';
import type { Attachment, Technique } from '../technique.ts';
import { FinetuneOptimizer, type StepOptions } from './finetune-optimizer.ts';
import { FiniteLoss } from './finite-loss.ts';
import { type Pass, runPass } from './pass.ts';
import { nameIn, Saved } from './saved.ts';
import { Trained } from './trained.ts';
import type { FinetuneOptions, Summary, Tuned } from './tuned.ts';

const tuning = new WeakSet<object>();

/**
 * Readies a model for fine-tuning: a LayersModel, a GraphModel, or variables by name.
 *
 * Without a technique it trains what `trainable` selects, with exact gradients and only what backward reads in memory.
 *
 * @throws FinetuneError `already-tuned`, `busy` (inside a loss), `no-match`, `conflict` (two techniques own one variable), `bad-model`
 *
 * @example
 * const tuned = finetune(model, [], { trainable: ['block_16', 'predictions'] });
 * model.compile({ optimizer: tuned.optimizer(tf.train.adam(1e-3)), loss: 'categoricalCrossentropy' });
 * await model.fit(x, y, { epochs: 3 });
 */
export function finetune<M extends TunableModel>(
  model: M,
  techniques: Technique | readonly Technique[] = [],
  options: FinetuneOptions = {},
): Tuned<M> {
  if (recording()) throw new FinetuneError('busy', 'finetune', 'called while a loss is being recorded. Call it before training.');
  if (tuning.has(model))
    throw new FinetuneError(
      'already-tuned',
      'finetune',
      'this model is being fine-tuned already. Pass all techniques at once, or call merge(), detach() or dispose() first.',
    );
  return new Tuning(model, [techniques].flat() as Technique[], options);
}

class Tuning<M extends TunableModel> implements Tuned<M> {
  readonly model: M;
  readonly #techniques: readonly Technique[];
  readonly #reader: ModelReader;
  readonly #attachments: Attachment[] = [];
  readonly #trained: Trained;
  readonly #saved: Saved;
  readonly #uninstall: (keep?: boolean) => void;
  readonly #recording: Recording;
  readonly #optimizers: FinetuneOptimizer[] = [];
  readonly #finite = new FiniteLoss(() => {
    const undo = this.#optimizers.map((optimizer) => optimizer.bookmark());
    return () => undo.forEach((each) => each());
  });
  #stepping = false;
  #left = false;

  constructor(model: M, techniques: readonly Technique[], { trainable, checkpoint = false }: FinetuneOptions) {
    this.model = model;
    this.#techniques = techniques;
    this.#reader = readModel(model);
    try {
      for (const technique of techniques) this.#attachments.push(technique.attach(this.#reader));
      const added = this.#attachments.flatMap((a) => a.variables ?? []);
      const selected = trainable === undefined && added.length > 0 ? [] : this.#reader.trainable(trainable, 'finetune');
      this.#trained = new Trained(
        selected.filter((v) => !added.includes(v)),
        this.#attachments,
      );
      this.#trained.check(techniques);
      this.#saved = new Saved(
        techniques.map((technique, i) => ({ technique, attachment: this.#attachments[i]! })),
        { variables: () => [...this.#trained.own, ...this.#reader.state()], nameOf: (v) => this.#nameOf(v) },
      );
      this.#uninstall = this.#reader.install(new Set(this.variables), checkpoint);
    } catch (error) {
      for (const a of [...this.#attachments].reverse()) a.detach();
      this.#reader.install(new Set())(); // constants that became variables are constants again
      throw error;
    }
    const frozen = new Set<object>();
    const isWeight = (t: tf.Tensor) => frozen.has(t.dataId);
    this.#recording = {
      gradients: this.#attachments.flatMap((a) => (a.gradients ? [a.gradients] : [])),
      keep: this.#attachments.flatMap((a) => a.keep ?? []),
      fusions: this.#attachments.flatMap((a) => a.fusions ?? []),
      compute: this.#attachments.flatMap((a) => a.compute ?? []),
      fuses: (kernel) => this.#attachments.every((a) => a.gradients?.[kernel] || !(a.gradients || a.keep || a.fusions || a.compute)),
      isWeight,
    };
    for (const w of this.#reader.weights) if (!(w instanceof tf.Variable)) frozen.add(w.dataId);
    tuning.add(model);
  }

  get variables(): readonly tf.Variable[] {
    return this.#trained.variables;
  }

  optimizer(inner: tf.Optimizer, options: StepOptions = {}): tf.Optimizer {
    this.#alive();
    if (FinetuneOptimizer.is(inner))
      throw new FinetuneError(
        'bad-option',
        'optimizer',
        'got an optimizer that finetune made already; expected one of tf.train, or adamW.',
      );
    const trained = this.#trained;
    const stepper = {
      finite: this.#finite,
      get variables() {
        return trained.known;
      },
      pass: (loss: () => tf.Scalar) => this.#pass(loss),
      moved: (step: number) =>
        trained.moved(
          step,
          this.#optimizers.map((one) => one.inner),
        ),
      skipped: () => trained.skipped(),
    };
    const optimizer = new FinetuneOptimizer(inner, stepper, options);
    this.#optimizers.push(optimizer);
    return optimizer;
  }

  minimize(loss: () => tf.Scalar, optimizer: tf.Optimizer): tf.Scalar {
    const known = this.#optimizers.findLast((own) => own === optimizer || own.inner === optimizer);
    if (!known && FinetuneOptimizer.is(optimizer))
      throw new FinetuneError(
        'bad-option',
        'minimize',
        "got an optimizer of another tuning; expected one that this tuning's optimizer() made, one of tf.train, or adamW.",
      );
    return (known ?? this.optimizer(optimizer)).minimize(loss, true) as tf.Scalar;
  }

  valueAndGrads(loss: () => tf.Scalar): { value: tf.Scalar; grads: tf.NamedTensorMap } {
    this.#alive();
    return differentiate(loss, this.variables, this.#recording);
  }

  #pass(loss: () => tf.Scalar): Pass {
    if (this.#stepping)
      throw new FinetuneError('busy', 'minimize', 'called inside the loss of another step. Compute both losses in one function.');
    this.#stepping = true;
    try {
      return runPass(loss, {
        hooks: this.#attachments.flatMap((a) => a.step ?? []),
        state: this.#reader.state(),
        valueAndGrads: (scaled) => this.valueAndGrads(scaled),
        check: (value, grads) => this.#check(value, grads),
        condition: () => this.#finite.condition,
      });
    } finally {
      this.#stepping = false;
    }
  }

  #check(loss: tf.Scalar, grads: tf.NamedTensorMap): void {
    const unreached = this.variables.filter((v) => !grads[v.name]).map((v) => this.#nameOf(v));
    if (unreached.length > 0) {
      throw new FinetuneError(
        'not-reached',
        'minimize',
        `the loss does not depend on ${unreached.join(', ')}. Leave them out with { trainable }, or use them in the loss.`,
      );
    }
    this.#finite.check(loss);
  }

  #nameOf(v: tf.Variable): string {
    const own = this.#reader.nameOf(v);
    if (own !== undefined) return own;
    const i = this.#attachments.findIndex((a) => a.variables?.includes(v));
    return nameIn(this.#techniques[i]!, v);
  }

  summary(): Summary {
    this.#alive();
    const size = (tensors: readonly tf.Tensor[]) => tensors.reduce((n, t) => n + t.size, 0);
    const trainable = size(this.variables);
    // of the base by what files say of it: packed weights count as what they stand for
    const base = this.#reader.fingerprint().reduce((n, { shape }) => n + tf.util.sizeFromShape([...shape]), 0);
    const total = base + size(this.variables.filter((v) => !this.#reader.weights.includes(v)));
    const techniques = this.#techniques.map((t) => t.name);
    const share = ((100 * trainable) / total).toPrecision(3);
    const line = [`trainable ${trainable.toLocaleString('en')} of ${total.toLocaleString('en')} (${Number(share)} %)`, ...techniques].join(
      ' · ',
    );
    const notes = this.#attachments.flatMap((a) => a.notes ?? []);
    return { trainable, total, techniques, notes, toString: () => [line, ...notes].join('\n') };
  }

  #identity() {
    return {
      techniques: this.#techniques.map(({ name, options }, i) => ({ name, options: this.#attachments[i]!.options ?? options })),
      base: this.#reader.fingerprint(),
      trained: this.#trained.own.map((v) => this.#nameOf(v)),
    };
  }

  async save(to: string | tf.io.IOHandler, { optimizer }: { optimizer?: tf.Optimizer } = {}): Promise<tf.io.SaveResult> {
    this.#alive();
    await this.#finite.settled();
    const { writeAdapter } = await import('../adapters/adapter-file.ts');
    return this.#saved.with((tensors) => writeAdapter(to, this.#identity(), tensors, optimizer));
  }

  async load(from: string | tf.io.IOHandler, { optimizer }: { optimizer?: tf.Optimizer } = {}): Promise<void> {
    this.#alive();
    await this.#finite.settled();
    const { readAdapter, restoreOptimizer } = await import('../adapters/adapter-file.ts');
    const { checkAdapter } = await import('../adapters/adapter-fit.ts');
    const adapter = await readAdapter(from);
    try {
      await this.#saved.with((tensors) =>
        checkAdapter(adapter.header, adapter.tensors, { ...this.#identity(), variables: specs(tensors) }),
      );
      if (optimizer) await restoreOptimizer(optimizer, adapter);
      this.#saved.write(adapter.tensors);
    } finally {
      tf.dispose([adapter.tensors, adapter.optimizer.map(({ tensor }) => tensor)]);
    }
  }

  merge(): M {
    this.#alive();
    this.#finite.report();
    const cannot = this.#techniques
      .filter((_, i) => this.#attachments[i]!.variables?.length && !this.#attachments[i]!.merge)
      .map((t) => t.name);
    if (cannot.length > 0)
      throw new FinetuneError(
        'no-merge',
        'merge',
        `${cannot.join(', ')} cannot be folded into the base weights. Save the adapter instead, or leave with detach().`,
      );
    const end = this.#reader.backup();
    let merged = false;
    try {
      for (const a of this.#attachments) a.merge?.();
      merged = true;
    } finally {
      end(!merged);
    }
    return this.#leave(true);
  }

  detach(): M {
    return this.#leave(false);
  }

  dispose(): void {
    this.#leave(false);
  }

  [Symbol.dispose](): void {
    this.#leave(false);
  }

  #leave(keep: boolean): M {
    if (this.#left) return this.model;
    this.#left = true;
    const errors: unknown[] = [];
    for (const undo of [() => this.#uninstall(keep), ...this.#attachments.map((a) => () => a.detach())].reverse()) {
      try {
        undo();
      } catch (error) {
        errors.push(error); // the others still leave
      }
    }
    for (const optimizer of this.#optimizers) optimizer.reset();
    this.#finite.dispose();
    tuning.delete(this.model);
    if (errors.length > 0) throw errors[0];
    return this.model;
  }

  disabled<T>(f: () => T): T {
    this.#alive();
    return this.#reader.disabled(f);
  }

  #alive(): void {
    if (this.#left)
      throw new FinetuneError('disposed', 'finetune', 'this tuning has ended by merge(), detach() or dispose(). Call finetune again.');
  }
}

const specs = (tensors: tf.NamedTensorMap): TensorSpec[] =>
  Object.entries(tensors).map(([name, { shape, dtype }]) => ({ name, shape, dtype }));
