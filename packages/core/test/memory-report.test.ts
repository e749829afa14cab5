import * as tf from '@tensorflow/tfjs';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { measure, trackMemory } from '../src/memory/measure.ts';
import { probes } from '../src/memory/probe.ts';

let tensors = 0;
beforeEach(async () => {
  await tf.setBackend('cpu');
  tensors = tf.memory().numTensors;
});
afterEach(() => expect(tf.memory().numTensors).toBe(tensors));

/** 1 MB of weights; 3 MB that wait in twelve layers; 0.5 MB more. */
function report() {
  const w = tf.tidy(() => tf.variable(tf.zeros([250_000])));
  const { memory } = measure(() => {
    const xs = Array.from({ length: 12 }, (_, i) => {
      const x = tf.zeros([i < 3 ? 100_000 : 50_000]);
      for (const probe of probes) probe.hold(x.dataId, 0, 'Relu', `block_${i}/<relu>`);
      return x;
    });
    tf.zeros([125_000]).dispose();
    tf.dispose(xs);
  });
  w.dispose();
  return memory;
}

test('String(memory) is a table with the peak by category and what was kept', () => {
  expect(String(report())).toBe(
    `
at peak                  MB       %
weights                1.00    22.2
optimizer              0.00     0.0
kept for backward      3.00    66.7
gradients              0.00     0.0
transient              0.50    11.1
total (cpu)            4.50   100.0

kept, at most 3.00 MB    MB  values
block_0/<relu> Relu    0.40       1
block_1/<relu> Relu    0.40       1
block_2/<relu> Relu    0.40       1
block_3/<relu> Relu    0.20       1
block_4/<relu> Relu    0.20       1
block_5/<relu> Relu    0.20       1
block_6/<relu> Relu    0.20       1
block_7/<relu> Relu    0.20       1
block_8/<relu> Relu    0.20       1
block_9/<relu> Relu    0.20       1
2 more                 0.40       2`.trim(),
  );
});

test('a report of nothing prints zeros', () => {
  const { memory } = measure(() => {});
  expect(String(memory)).toContain('total (cpu)        0  0.0');
  expect(memory.toHTML()).toContain('<h2>0 B');
  expect(memory.toHTML()).not.toContain('NaN');
});

test('JSON holds the figures and no functions', () => {
  const memory = report();
  const { toString: _table, toHTML: _page, ...figures } = memory;
  expect(JSON.parse(JSON.stringify(memory))).toEqual(figures);
});

test('on a backend with GPU figures they stand beside the count of tensors', () => {
  const backend = tf.backend();
  const { memory } = backend;
  backend.memory = () => ({ unreliable: false, numBytesInGPU: 3000, numBytesInGPUAllocated: 8000 }) as ReturnType<typeof memory>;
  const tracker = trackMemory();
  tf.ones([1000]).dispose();
  tracker.stop();
  delete (backend as { memory?: unknown }).memory;
  expect(tracker.report().gpu).toEqual({ usedBytes: 3000, allocatedBytes: 8000 });
  expect(tracker.report().peakBytes).toBe(4000);
  expect(String(tracker.report())).toContain('GPU: the backend says 3.00 kB in use, 8.00 kB allocated with its pool.');
  expect(tracker.report().toHTML()).toContain('3.00 kB in use, 8.00 kB allocated');
  expect(measure(() => {}).memory.gpu).toBeUndefined();
});

test('the page needs nothing from outside and escapes what it is given', () => {
  const memory = report();
  const html = memory.toHTML({ title: '<script>alert("1")</script>', compare: memory, labels: ['<i>ours</i>', 'stock & co'] });
  expect(html).not.toMatch(/<script|https?:|src=|url\(|<i>ours/);
  expect(html).toContain('&#60;script&#62;alert(&#34;1&#34;)&#60;/script&#62;');
  expect(html).toContain('&#60;i&#62;ours&#60;/i&#62; peaks at 100.0 % of stock &#38; co.');
  expect(html).toContain('block_0/&#60;relu&#62; Relu');
});

test('the areas stack to the scale: a peak of half the other is drawn at half its height', () => {
  const peakOf = (n: number) => measure(() => tf.zeros([n]).dispose()).memory;
  const html = peakOf(1000).toHTML({ compare: peakOf(2000), labels: ['half', 'whole'] });
  const [whole, half] = html.split('<svg').slice(1) as [string, string];
  expect(whole).toMatch(/<circle cx="[\d.]+" cy="0"/);
  expect(half).toMatch(/<circle cx="[\d.]+" cy="140"/);
  expect(half.match(/<path fill="#/g)).toHaveLength(5);
});
