import * as tf from '@tensorflow/tfjs';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { type MemoryReport, measure, type Tracker, trackMemory } from '../src/memory/measure.ts';

const engine = tf.engine() as unknown as { [name: string]: unknown };
const hooked = ['trackTensor', 'removeDataId', 'disposeTensor', 'addTapeNode', 'gradients'];
const FLOAT = 4;
const KB = 1024;

const sumAtPeak = ({ atPeak: a }: MemoryReport) => a.weights + a.optimizer + a.kept + a.gradients + a.transient;
const totals = ({ timeline }: MemoryReport) => timeline.map((p) => p.weights + p.optimizer + p.kept + p.gradients + p.transient);

let tensors = 0;
beforeEach(async () => {
  await tf.setBackend('cpu');
  tensors = tf.memory().numTensors;
});
afterEach(() => {
  expect(tf.memory().numTensors).toBe(tensors);
  for (const name of hooked) expect(Object.hasOwn(engine, name), name).toBe(false);
});

describe('buffers', () => {
  test('a chain of matmuls in a tidy holds all of its products, one that disposes holds two', () => {
    const chain = (x: tf.Tensor, n: number): tf.Tensor => (n ? chain(x.matMul(x), n - 1) : x);
    const held = measure(() => tf.tidy(() => void chain(tf.ones([16, 16]), 5)));
    expect(held.memory.peakBytes).toBe(6 * 16 * 16 * FLOAT);
    const freed = measure(() => {
      let x: tf.Tensor = tf.ones([16, 16]);
      for (let i = 0; i < 5; i++) {
        const y = x.matMul(x);
        x.dispose();
        x = y;
      }
      x.dispose();
    });
    expect(freed.memory.peakBytes).toBe(2 * 16 * 16 * FLOAT);
  });

  test('a buffer seen through clone and reshape counts once, until the last handle goes', () => {
    const tracker = trackMemory();
    const x = tf.ones([256, 256]);
    const handles = [x, x.clone(), x.reshape([65_536])];
    for (const [i, order] of [1, 0, 2].entries()) {
      expect(totals(tracker.report()).at(-1)).toBe(256 * KB);
      handles[order]!.dispose();
      if (i === 2) expect(totals(tracker.report()).at(-1)).toBe(0);
    }
    tracker.stop();
    expect(tracker.report().peakBytes).toBe(256 * KB);
  });

  test('every dtype counts its own width', () => {
    const bytes = (make: () => tf.Tensor) => measure(() => make().dispose()).memory.peakBytes;
    expect(bytes(() => tf.zeros([10], 'float32'))).toBe(40);
    expect(bytes(() => tf.zeros([10], 'int32'))).toBe(40);
    expect(bytes(() => tf.zeros([10], 'bool'))).toBe(10);
    expect(bytes(() => tf.tensor(['ab', 'c', 'é']))).toBe(2 + 1 + 2);
    expect(bytes(() => tf.zeros([0, 4]))).toBe(0);
  });

  test('a complex tensor counts its two parts beside the tensors it was made from', () => {
    const tracker = trackMemory();
    const [real, imag] = [tf.zeros([8]), tf.zeros([8])];
    const z = tf.complex(real, imag);
    real.dispose();
    imag.dispose();
    expect(totals(tracker.report()).at(-1)).toBe(8 * 8);
    const part = tf.real(z);
    z.dispose();
    expect(totals(tracker.report()).at(-1)).toBe(8 * FLOAT);
    part.dispose();
    expect(totals(tracker.report()).at(-1)).toBe(0);
    tracker.stop();
  });

  test('keep outlives its tidy, and is counted until it is disposed', () => {
    const tracker = trackMemory();
    let kept!: tf.Tensor;
    tf.tidy(() => {
      kept = tf.keep(tf.ones([25]));
      tf.ones([75]);
    });
    expect(totals(tracker.report()).at(-1)).toBe(100);
    kept.dispose();
    expect(totals(tracker.report()).at(-1)).toBe(0);
    tracker.stop();
    expect(tracker.report().peakBytes).toBe(400);
  });

  test('what existed before is not counted, also when it gets new handles or goes', () => {
    const x = tf.ones([1000]);
    const { memory } = measure(() => {
      const y = x.reshape([10, 100]);
      x.dispose();
      y.dispose();
      tf.ones([3]).dispose();
    });
    expect(memory.peakBytes).toBe(12);
  });

  test('a move between backends changes nothing', async () => {
    tf.registerBackend('cpu-2', tf.findBackendFactory('cpu'));
    for (const kernel of tf.getKernelsForBackend('cpu')) tf.registerKernel({ ...kernel, backendName: 'cpu-2' });
    const { memory } = await measure(async () => {
      const x = tf.ones([4, 4]);
      await tf.setBackend('cpu-2');
      const y = tf.tidy(() => x.matMul(x).add(1));
      expect(Array.from(await y.data())).toEqual(Array(16).fill(5));
      tf.dispose([x, y]);
      await tf.setBackend('cpu');
    });
    expect(memory.peakBytes).toBe(3 * 64 + FLOAT);
    expect(totals(memory).at(-1)).toBe(0);
    tf.removeBackend('cpu-2');
  });
});

describe('measure', () => {
  test('gives the result of a synchronous function at once, of an async one as a promise', async () => {
    const now = measure(() => 42);
    expect(now.result).toBe(42);
    const later = measure(async () => {
      const x = tf.ones([10]);
      await x.data();
      tf.ones([10]).dispose();
      x.dispose();
      return 'done';
    });
    expect(later).toBeInstanceOf(Promise);
    const { result, memory } = await later;
    expect(result).toBe('done');
    expect(memory.peakBytes).toBe(80);
  });

  test('passes errors on and leaves the engine as it was', async () => {
    const fail = () => {
      throw new Error('of the user');
    };
    expect(() => measure(fail)).toThrow('of the user');
    for (const name of hooked) expect(Object.hasOwn(engine, name), name).toBe(false);
    await expect(measure(async () => fail())).rejects.toThrow('of the user');
  });

  test('the timeline has at most 600 points, in order, and the peak is among them', () => {
    const { memory } = measure(() => {
      for (let i = 0; i < 4000; i++) {
        if (i === 1234) tf.ones([5000]).dispose();
        tf.ones([1 + (i % 100)]).dispose();
      }
    });
    expect(memory.timeline.length).toBeLessThanOrEqual(600);
    expect(memory.timeline.length).toBeGreaterThanOrEqual(300);
    expect(Math.max(...totals(memory))).toBe(memory.peakBytes);
    expect(memory.peakBytes).toBe(20_000);
    const events = memory.timeline.map((p) => p.event);
    expect(events).toEqual([...events].sort((a, b) => a - b));
    expect(events.at(-1)).toBeGreaterThan(7900);
  });
});

describe('trackers', () => {
  test('nest, and stop in any order', () => {
    for (const innerFirst of [true, false]) {
      const outer = trackMemory();
      const a = tf.ones([100]);
      const inner = trackMemory();
      const b = tf.ones([10]);
      const [first, second] = innerFirst ? [inner, outer] : [outer, inner];
      first.stop();
      const c = tf.ones([1]);
      second.stop();
      tf.dispose([a, b, c]);
      expect(outer.report().peakBytes).toBe(innerFirst ? 444 : 440);
      expect(inner.report().peakBytes).toBe(innerFirst ? 40 : 44);
      first.stop();
    }
  });

  test('end with their using block', () => {
    let tracker: Tracker;
    {
      using own = trackMemory();
      tracker = own;
      tf.ones([5]).dispose();
    }
    tf.ones([500]).dispose();
    expect(tracker.report().peakBytes).toBe(20);
  });

  test('leave methods that others have replaced alone', () => {
    const mine = tf.engine().disposeTensor;
    const before = (t: tf.Tensor) => mine.call(tf.engine(), t);
    engine['disposeTensor'] = before;
    const tracker = trackMemory();
    expect(engine['disposeTensor']).not.toBe(before);
    tracker.stop();
    expect(engine['disposeTensor']).toBe(before);
    delete engine['disposeTensor'];

    const late = trackMemory();
    const after = engine['disposeTensor'] as (t: tf.Tensor) => void;
    const theirs = (t: tf.Tensor) => after(t);
    engine['disposeTensor'] = theirs;
    late.stop();
    expect(engine['disposeTensor']).toBe(theirs);
    tf.ones([5]).dispose();
    expect(late.report().peakBytes).toBe(0);
    delete engine['disposeTensor'];
  });

  test('write the peak of each epoch of model.fit into its history', async () => {
    const model = tf.sequential({ layers: [tf.layers.dense({ units: 3, inputShape: [4] })] });
    model.compile({ optimizer: 'sgd', loss: 'meanSquaredError' });
    const [x, y] = [tf.ones([8, 4]), tf.ones([8, 3])];
    const tracker = trackMemory({ model });
    const { history } = await model.fit(x, y, { epochs: 3, verbose: 0, callbacks: [tracker.callback()] });
    tracker.stop();
    expect(history['peakBytes']).toHaveLength(3);
    expect(Math.max(...(history['peakBytes'] as number[]))).toBe(tracker.report().peakBytes);
    expect(sumAtPeak(tracker.report())).toBe(tracker.report().peakBytes);
    tf.dispose([x, y]);
    model.dispose();
    model.optimizer.dispose();
  });
});
