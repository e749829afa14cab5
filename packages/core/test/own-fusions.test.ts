/** Norms and activations that are spelled in several ops: gradients are stock's, and only x waits. */
import { available } from '@leantune/testing';
import * as tf from '@tensorflow/tfjs';
import { beforeAll, describe, expect, test } from 'vitest';
import { checkpoint, finetune, type GradientRule, gradients } from '../src/index.ts';
import { type Probe, probes } from '../src/memory/probe.ts';

const normal = (shape: readonly number[], seed: number) => tf.randomNormal([...shape], 0, 1, 'float32', seed);

interface Given {
  readonly x: tf.Tensor;
  readonly gain: tf.Variable;
  readonly offset: tf.Variable;
}
type Spelling = (given: Given) => tf.Tensor;

const EPSILON = 1e-5;
const standard = (x: tf.Tensor) => {
  const { mean, variance } = tf.moments(x, -1, true);
  return tf.mul(tf.sub(x, mean), tf.rsqrt(tf.add(variance, EPSILON)));
};
const rms = (x: tf.Tensor) => tf.mul(x, tf.rsqrt(tf.add(tf.mean(tf.square(x), -1, true), EPSILON)));
const squareRoot = (x: tf.Tensor) => {
  const centered = tf.sub(x, tf.mean(x, -1, true));
  return tf.div(centered, tf.sqrt(tf.add(tf.mean(tf.mul(centered, centered), -1, true), EPSILON)));
};
const moments: Spelling = ({ x, gain, offset }) => tf.add(tf.mul(standard(x), gain), offset);
const keras: Spelling = ({ x, gain, offset }) => {
  const mean = tf.mean(x, -1, true);
  const variance = tf.mean(tf.squaredDifference(x, mean), -1, true);
  const scale = tf.mul(tf.rsqrt(tf.add(variance, EPSILON)), gain);
  return tf.add(tf.mul(x, scale), tf.sub(offset, tf.mul(mean, scale)));
};

const ofLayers: Spelling = ({ x, gain, offset }) => {
  const { mean, variance } = tf.moments(x, -1, true);
  const repeated = (t: tf.Tensor) => tf.tile(t, [...x.shape.slice(0, -1), 1].slice(-t.rank));
  const row = [...x.shape.map(() => 1).slice(1), x.shape.at(-1)!];
  const [a, b] = [mean, variance].map((t) => tf.tile(t, [...x.shape.map(() => 1).slice(1), x.shape.at(-1)!]));
  return tf.batchNorm(
    x,
    a as never,
    b as never,
    repeated(tf.reshape(offset, row)) as never,
    repeated(tf.reshape(gain, row)) as never,
    EPSILON,
  );
};

/** What is spelled, how, and of what. */
const norms: readonly (readonly [kernel: string, name: string, wanted: readonly (keyof Given)[], spelling: Spelling])[] = [
  [...(['LayerNorm', 'by tf.moments, with gain and offset', ['x', 'gain', 'offset']] as const), moments],
  ['LayerNorm', 'offset and gain first', ['x', 'gain', 'offset'], ({ x, gain, offset }) => tf.add(offset, tf.mul(gain, standard(x)))],
  ['LayerNorm', 'a quotient', ['x', 'gain', 'offset'], ({ x, gain, offset }) => tf.add(tf.mul(squareRoot(x), gain), offset)],
  ['LayerNorm', 'as Keras exports it', ['x', 'gain', 'offset'], keras],
  ['LayerNorm', 'as tfjs-layers calls it', ['x', 'gain', 'offset'], ofLayers],
  ['LayerNorm', 'with frozen gain and offset', ['x'], moments],
  ['LayerNorm', 'with a frozen gain', ['x', 'offset'], moments],
  ['LayerNorm', 'without gain and offset', ['x'], ({ x }) => standard(x)],
  ['LayerNorm', 'with an offset alone', ['x', 'offset'], ({ x, offset }) => tf.add(standard(x), offset)],
  ['RmsNorm', 'with a gain', ['x', 'gain'], ({ x, gain }) => tf.mul(rms(x), gain)],
  ['RmsNorm', 'a quotient', ['x'], ({ x }) => tf.div(x, tf.sqrt(tf.mean(tf.square(x), -1, true)))],
];
const root = Math.sqrt(2 / Math.PI);
const activations: readonly (readonly [kernel: string, name: string, f: (x: tf.Tensor) => tf.Tensor])[] = [
  ['Gelu', 'by erf', (x) => tf.mul(tf.mul(x, 0.5), tf.add(1, tf.erf(tf.div(x, Math.SQRT2))))],
  ['Gelu', 'by erf, halved at the end', (x) => tf.div(tf.mul(x, tf.add(tf.erf(tf.mul(x, Math.SQRT1_2)), 1)), 2)],
  ['Gelu', 'by tanh', (x) => tf.mul(tf.mul(x, 0.5), tf.add(1, tf.tanh(tf.mul(root, tf.add(x, tf.mul(0.044715, tf.pow(x, 3)))))))],
  ['Silu', 'of 1.702 x', (x) => tf.mul(x, tf.sigmoid(tf.mul(1.702, x)))],
  ['Mish', 'by softplus', (x) => tf.mul(x, tf.tanh(tf.softplus(x)))],
  ['HardSwish', 'by relu6', (x) => tf.mul(x, tf.div(tf.relu6(tf.add(x, 3)), 6))],
];

/** What waits for backward once Σ f(−x) · direction is known, by kernel. */
function keptFor(loss: (x: tf.Tensor) => tf.Scalar, xs: readonly tf.Tensor[]): { readonly [kernel: string]: number } {
  const waiting = new Map<object, readonly [kernel: string, bytes: number]>();
  const probe: Probe = {
    hold: (token, bytes, kernel) => void waiting.set(token, [kernel, bytes]),
    drop: (token) => void waiting.delete(token),
    gradient() {},
    label() {},
    encoding: (encode) => encode(),
  };
  const kept: { [kernel: string]: number } = {};
  probes.add(probe);
  const { value, grads } = gradients(() => {
    const result = loss(xs[0]!);
    for (const [kernel, bytes] of waiting.values()) kept[kernel] = (kept[kernel] ?? 0) + bytes;
    return result;
  }, xs);
  probes.delete(probe);
  tf.dispose([value, grads] as never);
  expect(waiting.size, 'values left waiting').toBe(0);
  return kept;
}

/** Holds our gradients of Σ f(−x) · direction to those that stock tfjs gives for `truth`, and says what waits. */
function compare(f: (x: tf.Tensor) => tf.Tensor, xs: readonly tf.Tensor[], truth: typeof f = f) {
  const direction = tf.tidy(() => normal(f(xs[0]!).shape, 9));
  // What lies in between is gone before the next op, as in a layer.
  const lossOf = (of: typeof f) => (x: tf.Tensor) =>
    tf.tidy(() => {
      const y = tf.neg(x);
      return tf.sum(
        tf.mul(
          tf.tidy(() => of(y)),
          direction,
        ),
      ) as tf.Scalar;
    });
  const start = tf.memory().numTensors;
  const { value, grads } = gradients(() => lossOf(f)(xs[0]!), xs);
  const stock = tf.tidy(() =>
    tf
      .grads((x) => lossOf(truth)(x as tf.Tensor))([...xs])
      .map((g) => Array.from(g.dataSync())),
  );
  grads.forEach((grad, i) => {
    const largest = Math.max(...stock[i]!.map(Math.abs), 1e-3);
    expect(grad!.shape).toEqual(xs[i]!.shape);
    if (truth === f && /cpu|wasm/.test(tf.getBackend())) expect(Array.from(grad!.dataSync())).toEqual(stock[i]);
    Array.from(grad!.dataSync()).forEach((g, k) => expect(Math.abs(g - stock[i]![k]!) / largest).toBeLessThan(1e-5));
  });
  tf.dispose([value, grads] as never);
  const kept = keptFor(lossOf(f), xs);
  expect(tf.memory().numTensors, 'tensors left behind').toBe(start);
  direction.dispose();
  return kept;
}

const shapes = [
  [3, 5, 7],
  [4, 130],
  [1, 2, 1, 33],
  [6, 3],
] as const;
const backends = await available(['cpu', 'wasm', 'tensorflow', 'webgpu']);

describe.each(backends)('on %s', (backend) => {
  beforeAll(async () => {
    await tf.setBackend(backend);
  });

  test.each(norms)('%s %s', (kernel, _, wanted, spelling) => {
    for (const shape of shapes) {
      const given = tf.tidy(() => ({
        x: normal(shape, 1),
        gain: tf.variable(normal([shape.at(-1)!], 2)),
        offset: tf.variable(normal([shape.at(-1)!], 3)),
      }));
      const size = 4 * given.x.size;
      const kept = compare(
        (x) => spelling({ ...given, x }),
        wanted.map((name) => given[name]),
        spelling === keras ? (x) => moments({ ...given, x }) : undefined,
      );
      expect(kept).toEqual({ [kernel]: size, Multiply: size }); // x, and the direction
      tf.dispose(given as never);
    }
  });

  test.each(activations)('%s %s', (kernel, _, f) => {
    for (const shape of shapes) {
      const x = normal(shape, 1);
      expect(compare(f, [x])).toEqual({ [kernel]: 4 * x.size, Multiply: 4 * x.size });
      x.dispose();
    }
  });

  test('the gradient is one kernel where the backend has it, and the ops once more elsewhere', () => {
    const x = normal([4, 6], 1);
    for (const [kernel, op, f] of [
      ['FusedGeluGrad', 'Erf', activations[0]![2]],
      ['FusedLayerNormGrad', 'Rsqrt', standard],
    ] as const) {
      const ran: string[] = [];
      const engine = tf.engine();
      const { runKernel } = engine;
      engine.runKernel = ((name: string, ...rest: [tf.NamedTensorMap]) => {
        ran.push(name);
        return runKernel.call(engine, name, ...rest);
      }) as never;
      const { value, grads } = gradients(() => tf.sum(tf.tidy(() => f(x))), [x]);
      engine.runKernel = runKernel;
      tf.dispose([value, grads] as never);
      const own = tf.getKernel(kernel, backend) !== undefined;
      expect(ran.filter((name) => name === kernel || name === op)).toEqual([op, own ? kernel : op]);
      if (backend === 'webgpu') expect(own).toBe(true);
    }
    x.dispose();
  });

  test('GELU of what is disposed before its last op, as graphs do', () => {
    const x = normal([3, 7], 1);
    const f = (value: tf.Tensor) => {
      const y = tf.square(value);
      const [half, scaled] = [tf.mul(y, 0.5), tf.div(y, Math.SQRT2)];
      const erf = tf.erf(scaled);
      tf.dispose([y, scaled]);
      return tf.mul(half, tf.add(1, erf));
    };
    expect(compare(f, [x], (y) => f(y))).toEqual({ Square: 4 * x.size, Gelu: 4 * x.size, Multiply: 4 * x.size });
    x.dispose();
  });

  test('a block of both beside a skip connection', () => {
    const given = tf.tidy(() => ({ x: normal([2, 6, 16], 1), gain: tf.variable(normal([16], 2)), offset: tf.variable(normal([16], 3)) }));
    const [, , gelu] = activations[0]!;
    const block = (x: tf.Tensor) => tf.add(x, gelu(moments({ ...given, x })));
    const kept = compare((x) => block(block(x)), Object.values(given));
    expect(kept).toEqual({ LayerNorm: 8 * given.x.size, Gelu: 8 * given.x.size, Multiply: 4 * given.x.size });
    tf.dispose(given as never);
  });

  test('two of them in a row, whose parts are reshaped and read elsewhere too', () => {
    const x = normal([4, 6, 5], 1);
    const [gelu] = activations[0]!.slice(2) as [(x: tf.Tensor) => tf.Tensor];
    const branch = (value: tf.Tensor) => {
      const { mean, variance } = tf.moments(value, -1, true);
      const z = tf.mul(tf.sub(value, mean), tf.rsqrt(tf.add(variance, EPSILON)));
      return tf.add(tf.mul(gelu(tf.reshape(z, [24, 5])), 2), tf.reshape(tf.add(z, tf.mul(mean, variance)), [24, 5]));
    };
    compare(branch, [x], (y) => branch(y));
    const gate = (value: tf.Tensor) => {
      const erf = tf.erf(tf.div(value, Math.SQRT2));
      return tf.add(tf.mul(tf.mul(value, 0.5), tf.add(1, erf)), tf.mul(erf, value));
    };
    compare(gate, [x], (y) => gate(y));
    x.dispose();
  });
});

describe('what only resembles one', () => {
  beforeAll(async () => {
    await tf.setBackend('cpu');
  });
  const x = () => normal([4, 4], 1);
  test.each<[string, (x: tf.Tensor) => tf.Tensor]>([
    ['means over another axis', (v) => tf.mul(tf.sub(v, tf.mean(v, 0, true)), tf.rsqrt(tf.add(tf.moments(v, 0, true).variance, 1)))],
    ['means that lie along the columns', (v) => tf.mul(tf.sub(v, tf.mean(v, -1)), tf.rsqrt(tf.add(tf.moments(v, -1).variance, 1)))],
    [
      'a mean of whole numbers',
      (v) => tf.mul(tf.sub(v, tf.mean(tf.cast(tf.mul(v, 9), 'int32'), -1, true)), tf.rsqrt(tf.moments(v, -1, true).variance)),
    ],
    [
      'rows of two lengths',
      (v) =>
        tf.reshape(tf.mul(tf.reshape(v, [8, 2]), tf.rsqrt(tf.reshape(tf.tile(tf.mean(tf.square(v), -1, true), [1, 2]), [8, 1]))), [4, 4]),
    ],
    [
      'a mean square about zero, where the mean is taken off',
      (v) => {
        const [mean, gain, offset] = [tf.mean(v, -1, true), tf.tensor1d([1, 2, 3, 4]), tf.tensor1d([4, 3, 2, 1])];
        const scale = tf.mul(tf.rsqrt(tf.add(tf.mean(tf.square(v), -1, true), EPSILON)), gain);
        return tf.add(tf.mul(v, scale), tf.sub(offset, tf.mul(mean, scale)));
      },
    ],
    [
      'the mean of products of all pairs',
      (v) => {
        const column = tf.reshape(v, [16, 1]);
        return tf.mul(column, tf.rsqrt(tf.add(tf.mean(tf.mul(column, tf.reshape(v, [1, 16])), -1, true), 20)));
      },
    ],
    ['another factor', (v) => tf.mul(tf.mul(v, 0.4), tf.add(1, tf.erf(tf.div(v, Math.SQRT2))))],
    ['a factor that is off by a thousandth', (v) => tf.mul(tf.mul(v, 0.5005), tf.add(1, tf.erf(tf.div(v, Math.SQRT2))))],
    ['the gate of another value', (v) => tf.mul(v, tf.sigmoid(tf.transpose(v)))],
    ['an outer product', (v) => tf.mul(tf.reshape(v, [16, 1]), tf.sigmoid(tf.reshape(v, [1, 16])))],
  ])('%s is differentiated as it is', (_, f) => {
    const value = x();
    const kept = compare(f, [value]);
    for (const kernel of ['LayerNorm', 'RmsNorm', 'Gelu', 'Silu']) expect(kept).not.toHaveProperty(kernel);
    value.dispose();
  });

  test('a gain for each row is no part of the norm', () => {
    const [value, gain] = [x(), normal([4, 1], 2)];
    const kept = compare((v) => tf.mul(standard(v), gain), [value, gain]);
    expect(kept['LayerNorm']).toBe(4 * value.size);
    expect(kept['Multiply']).toBe(4 * (4 + value.size + value.size)); // the gain, what it multiplies, and the direction
    tf.dispose([value, gain]);
  });
});

describe('beside the rest of the tape', () => {
  beforeAll(async () => {
    await tf.setBackend('cpu');
  });
  const [, , , norm] = norms[0]!;
  const [, , gelu] = activations[0]!;
  const make = () => tf.tidy(() => ({ x: normal([6, 8], 1), gain: tf.variable(normal([8], 2)), offset: tf.variable(normal([8], 3)) }));
  const valuesOf = (grads: readonly (tf.Tensor | null)[]) => grads.map((g) => Array.from(g!.dataSync()));

  test('what a checkpoint runs again has the same gradients, bit for bit', () => {
    const given = make();
    const block = (x: tf.Tensor) => tf.tidy(() => gelu(norm({ ...given, x })));
    const loss = (run: (x: tf.Tensor) => tf.Tensor) => () => tf.tidy(() => tf.sum(tf.square(run(run(given.x)))) as tf.Scalar);
    const xs = Object.values(given);
    const [plain, again] = [
      gradients(loss(block), xs),
      gradients(
        loss((x) => checkpoint(block, x)),
        xs,
      ),
    ];
    expect(valuesOf(again.grads)).toEqual(valuesOf(plain.grads));
    tf.dispose([plain, again, given] as never);
  });

  test('a gradient inside, of less than the whole, still reaches what lies before', () => {
    const given = make();
    const direction = normal([6, 8], 4);
    // The inner gradient keeps z alone, which for the outer one lies inside of a pattern.
    const ofGain = (x: tf.Tensor) =>
      tf.tidy(() =>
        gradients(
          () =>
            tf.sum(
              tf.mul(
                tf.tidy(() => norm({ ...given, x })),
                direction,
              ),
            ),
          [given.gain],
        )
          .grads[0]!.square()
          .sum(),
      );
    const { grads } = gradients(() => ofGain(given.x), [given.x]);
    const flat = given.x.dataSync();
    const at = (i: number, delta: number) =>
      tf.tidy(
        () =>
          ofGain(
            tf.tensor(
              Float32Array.from(flat, (v, j) => (i === j ? v + delta : v)),
              [6, 8],
            ),
          ).dataSync()[0]!,
      );
    const [first] = valuesOf(grads);
    const largest = Math.max(...first!.map(Math.abs));
    first!.forEach((value, i) => expect(Math.abs(value - (at(i, 1e-2) - at(i, -1e-2)) / 2e-2) / largest).toBeLessThan(0.01));
    tf.dispose([grads, given, direction] as never);
  });

  test('a technique that differentiates a part of it in its own way is asked', () => {
    const x = tf.variable(normal([5, 3], 1));
    let asked = 0;
    const zero: GradientRule = { keep: () => ({}), backward: ([dy]) => ({ x: tf.zerosLike(dy!) }) };
    const count: GradientRule = {
      ...zero,
      keep() {
        asked++;
        return {};
      },
    };
    const tuned = finetune(
      { x },
      { name: 'own', options: {}, attach: () => ({ gradients: { Erf: count }, detach() {} }) },
      { trainable: 'x' },
    );
    const { value, grads } = tuned.valueAndGrads(() => tf.sum(gelu(x)) as tf.Scalar);
    const expected = tf.tidy(() => tf.mul(0.5, tf.add(1, tf.erf(tf.div(x, Math.SQRT2)))));
    expect(asked).toBe(1);
    Array.from(grads[x.name]!.dataSync()).forEach((g, i) => expect(g).toBeCloseTo(expected.dataSync()[i]!, 6));
    tuned.dispose();
    tf.dispose([x, value, grads, expected] as never);
  });
});
