/** The transformers of the comparison in jax-js, whose package has no models: a BERT, a ViT and a Llama, with weights and a batch. */
import { generator, integers, oneHotRows, uniform } from '../../models/random.ts';
import type { ModelSpec } from '../../models/subject.ts';

/** Of jax-js, whose types are not installed beside these sources. What an op takes it frees; `ref` keeps it for another. */
export type Value = any;
export type Parameters = { [name: string]: Value };
type Loss = (parameters: Parameters, ...batch: Value[]) => Value;

export interface JaxModel {
  readonly parameters: Parameters;
  /** What the loss takes beside the parameters, and how many elements that has. */
  readonly batch: readonly Value[];
  readonly batchElements: number;
  /** Frees what it is given. */
  readonly loss: Loss;
}

type Spec<Name extends ModelSpec['name']> = Extract<ModelSpec, { name: Name }>;
type Sizes = Pick<Spec<'encoder'>, 'layers' | 'width' | 'heads' | 'inner'>;

export function modelOf(jax: Value, spec: ModelSpec, batch: number, seed: number): JaxModel {
  const made = new Transformers(jax, batch, seed);
  if (spec.name === 'encoder') return made.encoder(spec);
  if (spec.name === 'vit') return made.vit(spec);
  if (spec.name === 'decoder') return made.decoder(spec);
  throw new Error(`NotWritten: ${spec.name} is not written for jax-js; its package has no models`);
}

class Transformers {
  readonly #jax: Value;
  readonly #np: Value;
  readonly #batch: number;
  readonly #seed: number;
  readonly #next: () => number;
  readonly #p: Parameters = {};

  constructor(jax: Value, batch: number, seed: number) {
    this.#jax = jax;
    this.#np = jax.numpy;
    this.#batch = batch;
    this.#seed = seed;
    this.#next = generator(seed);
  }

  encoder({ vocabulary, tokens, classes, ...sizes }: Spec<'encoder'>): JaxModel {
    const [np, batch] = [this.#np, this.#batch];
    this.#matrix('words', vocabulary, sizes.width);
    this.#matrix('positions', tokens, sizes.width);
    this.#layerNorm('norm', sizes.width);
    this.#blocks(sizes);
    this.#dense('classifier', sizes.width, classes);
    const ids = np.array(integers(batch * tokens, vocabulary, this.#next), { dtype: np.int32 }).reshape([batch, tokens]);
    return this.#model([ids, this.#labels(classes)], batch * (tokens + classes), (p, given, labels) => {
      let x = this.#norm(p, 'norm', np.take(p['words'].ref, given, 0).add(p['positions'].ref));
      for (let i = 0; i < sizes.layers; i++) {
        x = this.#norm(p, `${i}.norm1`, x.ref.add(this.#attention(p, `${i}`, x, tokens, sizes)));
        x = this.#norm(p, `${i}.norm2`, x.ref.add(this.#perceptron(p, `${i}`, x)));
      }
      return this.#crossEntropy(this.#linear(p, 'classifier', np.mean(x, 1)), labels);
    });
  }

  vit({ size, patch, classes, ...sizes }: Spec<'vit'>): JaxModel {
    const [np, batch, side] = [this.#np, this.#batch, size / patch];
    const tokens = side * side + 1;
    this.#dense('patches', patch * patch * 3, sizes.width);
    this.#matrix('first', 1, 1, sizes.width);
    this.#matrix('positions', tokens, sizes.width);
    this.#blocks(sizes);
    this.#layerNorm('norm', sizes.width);
    this.#dense('classifier', sizes.width, classes);
    const images = np.array(uniform(batch * size * size * 3, 1, this.#next)).reshape([batch, size, size, 3]);
    return this.#model([images, this.#labels(classes)], batch * (size * size * 3 + classes), (p, given, labels) => {
      const cut = given.reshape([batch, side, patch, side, patch, 3]).transpose([0, 1, 3, 2, 4, 5]); // a patch in a row
      const patches = this.#linear(p, 'patches', cut.reshape([batch, side * side, patch * patch * 3]));
      let x = np.concatenate([np.tile(p['first'].ref, [batch, 1, 1]), patches], 1).add(p['positions'].ref);
      for (let i = 0; i < sizes.layers; i++) {
        x = x.ref.add(this.#attention(p, `${i}`, this.#norm(p, `${i}.norm1`, x), tokens, sizes));
        x = x.ref.add(this.#perceptron(p, `${i}`, this.#norm(p, `${i}.norm2`, x)));
      }
      return this.#crossEntropy(this.#linear(p, 'classifier', this.#norm(p, 'norm', x).slice([], 0)), labels);
    });
  }

  decoder({ vocabulary, tokens, ...sizes }: Spec<'decoder'>): JaxModel {
    const [np, batch] = [this.#np, this.#batch];
    this.#llama(vocabulary, sizes);
    const list = [...integers(batch * tokens, vocabulary, this.#next)];
    const ids = np.array(list, { dtype: np.int32 }).reshape([batch, tokens]);
    const following = np.array(
      list.filter((_, i) => i % tokens > 0),
      { dtype: np.int32 },
    );
    return this.#model([ids, following.reshape([batch, tokens - 1])], batch * (2 * tokens - 1), (p, given, labels) => {
      let x = np.take(p['words'].ref, given, 0);
      for (let i = 0; i < sizes.layers; i++) {
        x = x.ref.add(this.#causal(p, `${i}`, this.#rmsNorm(p, `${i}.norm1`, x), tokens, sizes));
        const read = this.#rmsNorm(p, `${i}.norm2`, x.ref);
        const gate = this.#jax.nn.silu(np.matmul(read.ref, p[`${i}.gate`].ref));
        x = x.add(np.matmul(gate.mul(np.matmul(read, p[`${i}.up`].ref)), p[`${i}.down`].ref));
      }
      const hidden = this.#rmsNorm(p, 'norm', x).slice([], [0, tokens - 1]);
      const wanted = np.sum(hidden.ref.mul(np.take(p['words'].ref, labels, 0)), -1);
      const logits = np.matmul(hidden, p['words'].ref.transpose()); // [batch, tokens - 1, vocabulary]
      return np.mean(this.#jax.nn.logsumexp(logits, -1).sub(wanted));
    });
  }

  #model(batch: readonly Value[], batchElements: number, f: Loss): JaxModel {
    const loss: Loss = (p, ...given) => {
      const value = f(p, ...given);
      this.#jax.tree.dispose(p);
      return value;
    };
    return { parameters: this.#p, batch, batchElements, loss };
  }

  #matrix(name: string, ...shape: readonly number[]): void {
    const { random } = this.#jax;
    this.#p[name] = random.normal(random.key(1000 * this.#seed + Object.keys(this.#p).length), shape).mul(0.02);
  }

  #dense(name: string, dIn: number, dOut: number): void {
    this.#matrix(`${name}.weight`, dIn, dOut);
    this.#p[`${name}.bias`] = this.#np.zeros([dOut]);
  }

  #layerNorm(name: string, width: number): void {
    this.#p[`${name}.weight`] = this.#np.ones([width]);
    this.#p[`${name}.bias`] = this.#np.zeros([width]);
  }

  #blocks({ layers, width, inner }: Sizes): void {
    for (let i = 0; i < layers; i++) {
      for (const part of ['q', 'k', 'v', 'o']) this.#dense(`${i}.${part}`, width, width);
      this.#dense(`${i}.up`, width, inner);
      this.#dense(`${i}.down`, inner, width);
      for (const which of ['norm1', 'norm2']) this.#layerNorm(`${i}.${which}`, width);
    }
  }

  #llama(vocabulary: number, { layers, width, inner }: Sizes): void {
    this.#matrix('words', vocabulary, width);
    for (let i = 0; i < layers; i++) {
      for (const part of ['q', 'k', 'v', 'o']) this.#matrix(`${i}.${part}`, width, width);
      for (const part of ['gate', 'up']) this.#matrix(`${i}.${part}`, width, inner);
      this.#matrix(`${i}.down`, inner, width);
      for (const which of ['norm1', 'norm2']) this.#p[`${i}.${which}`] = this.#np.ones([width]);
    }
    this.#p['norm'] = this.#np.ones([width]);
  }

  #labels(classes: number): Value {
    return this.#np.array(oneHotRows(this.#batch, classes, this.#next)).reshape([this.#batch, classes]);
  }

  #linear(p: Parameters, name: string, x: Value): Value {
    return this.#np.matmul(x, p[`${name}.weight`].ref).add(p[`${name}.bias`].ref);
  }

  #norm(p: Parameters, name: string, x: Value): Value {
    const np = this.#np;
    const centered = x.ref.sub(np.mean(x, -1, { keepdims: true }));
    const scale = np.sqrt(np.mean(np.square(centered.ref), -1, { keepdims: true }).add(1e-12));
    return centered.div(scale).mul(p[`${name}.weight`].ref).add(p[`${name}.bias`].ref);
  }

  #rmsNorm(p: Parameters, name: string, x: Value): Value {
    const np = this.#np;
    const scale = np.sqrt(np.mean(np.square(x.ref), -1, { keepdims: true }).add(1e-5));
    return x.div(scale).mul(p[name].ref);
  }

  #perceptron(p: Parameters, name: string, x: Value): Value {
    return this.#linear(p, `${name}.down`, this.#jax.nn.gelu(this.#linear(p, `${name}.up`, x), { approximate: false }));
  }

  #attention(p: Parameters, name: string, x: Value, tokens: number, sizes: Sizes): Value {
    const [q, k, v] = ['q', 'k', 'v'].map((part) => this.#split(this.#linear(p, `${name}.${part}`, x.ref), tokens, sizes));
    x.dispose();
    return this.#linear(p, `${name}.o`, this.#attend(q, k, v, tokens, sizes));
  }

  /** With rotated queries and keys, and no view of later tokens. */
  #causal(p: Parameters, name: string, x: Value, tokens: number, sizes: Sizes): Value {
    const np = this.#np;
    const [q, k, v] = ['q', 'k', 'v'].map((part) => this.#split(np.matmul(x.ref, p[`${name}.${part}`].ref), tokens, sizes));
    x.dispose();
    const later = Array.from({ length: tokens * tokens }, (_, i) => (i % tokens > Math.floor(i / tokens) ? -1e9 : 0));
    const mask = np.array(later).reshape([tokens, tokens]);
    const d = sizes.width / sizes.heads;
    const mixed = this.#attend(this.#rotated(q, tokens, d), this.#rotated(k, tokens, d), v, tokens, sizes, mask);
    return np.matmul(mixed, p[`${name}.o`].ref);
  }

  #split(x: Value, tokens: number, { heads, width }: Sizes): Value {
    return x.reshape([this.#batch, tokens, heads, width / heads]).transpose([0, 2, 1, 3]);
  }

  /** q, k, v [batch, heads, tokens, d] -> [batch, tokens, width] */
  #attend(q: Value, k: Value, v: Value, tokens: number, { heads, width }: Sizes, mask?: Value): Value {
    const np = this.#np;
    const scores = np.matmul(q, k.transpose([0, 1, 3, 2])).mul(1 / Math.sqrt(width / heads)); // [batch, heads, tokens, tokens]
    const weights = this.#jax.nn.softmax(mask === undefined ? scores : scores.add(mask), -1);
    return np.matmul(weights, v).transpose([0, 2, 1, 3]).reshape([this.#batch, tokens, width]);
  }

  #rotated(x: Value, tokens: number, d: number): Value {
    const np = this.#np;
    const half = d / 2;
    const angles = Array.from({ length: tokens * half }, (_, i) => Math.floor(i / half) / 10_000 ** ((i % half) / half));
    const table = (f: (angle: number) => number): Value => np.array(angles.map(f)).reshape([tokens, half]);
    const [[a, b], cos, sin] = [np.split(x, 2, -1), table(Math.cos), table(Math.sin)];
    return np.concatenate([a.ref.mul(cos.ref).sub(b.ref.mul(sin.ref)), b.mul(cos).add(a.mul(sin))], -1);
  }

  #crossEntropy(logits: Value, labels: Value): Value {
    const np = this.#np;
    return np.mean(np.sum(this.#jax.nn.logSoftmax(logits, -1).mul(labels), -1)).mul(-1);
  }
}
