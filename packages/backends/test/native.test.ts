import * as tf from '@tensorflow/tfjs';
import { describe, expect, it, vi } from 'vitest';
import type { WasmBackend } from '../src/wasm/backend.ts';
import { caseOf, expected, valuesOf } from './attention-reference.ts';
import { distance, expectLikeCpu, prepare, random, runOn } from './compare.ts';

/** An engine without SIMD: the one validation that decides says no. */
vi.spyOn(WebAssembly, 'validate').mockReturnValue(false);

describe('the native module without SIMD', () => {
  it('gives the results of cpu', async () => {
    await prepare();
    await expectLikeCpu('BatchMatMul', { a: random([3, 9, 20]), b: random([3, 9, 13], 2) }, { transposeA: true, transposeB: false });
    await expectLikeCpu(
      'MaxPoolGrad',
      { dy: random([1, 2, 2, 5]), input: random([1, 4, 4, 5], 2), output: random([1, 2, 2, 5]) },
      { filterSize: 2, strides: 2, pad: 'valid' },
    );
    await expectLikeCpu('Greater', { a: random([37]), b: random([37], 2) }, {}, 0);
    for (const kernel of ['Exp', 'Tanh', 'Erf']) await expectLikeCpu(kernel, { x: random([37]) }, {});
    await expectLikeCpu('Transpose', { x: random([2, 19, 33]) }, { perm: [0, 2, 1] }, 0);
    const of = caseOf(33, 40, 8, { causal: true, heads: 4, kvHeads: 2 });
    const [q, k, v] = Object.values(valuesOf(of)).map(({ data, shape }) => tf.tensor(data, shape));
    const attrs = { heads: 4, kvHeads: 2, scale: 1 / Math.sqrt(8), causal: true, window: 0, masked: false };
    const [o] = tf.engine().runKernel('Attention', { q, k, v } as tf.NamedTensorMap, attrs) as unknown as [tf.Tensor];
    expect(distance(o.dataSync(), expected(of).o)).toBeLessThan(1e-5);
    const conv = { strides: 2, pad: 'same', dataFormat: 'NHWC', dilations: 1 };
    await expectLikeCpu(
      'Conv2DBackpropFilter',
      { x: random([2, 7, 7, 5]), dy: random([2, 4, 4, 9], 2) },
      { ...conv, filterShape: [3, 3, 5, 9] },
    );
    await expectLikeCpu(
      'DepthwiseConv2dNativeBackpropInput',
      { dy: random([2, 4, 4, 6]), filter: random([3, 3, 6, 1], 2) },
      { ...conv, inputShape: [2, 7, 7, 6] },
    );
  });

  it('runs in shared memory too, which tfjs uses with threads', async () => {
    const { loadNative, native } = await import('../src/wasm/native.ts');
    await loadNative();
    const wasmMemory = new WebAssembly.Memory({ initial: 64, maximum: 65_536, shared: true });
    const [a, b, c] = [1, 2, 3].map((page) => page * 65_536) as [number, number, number];
    const heap = new Float32Array(wasmMemory.buffer);
    const [left, right] = [random([6, 7]), random([7, 10], 2)];
    heap.set(left.data, a / 4);
    heap.set(right.data, b / 4);
    const kernels = native({ wasm: { wasmMemory, _malloc: () => 8 * 65_536 } } as unknown as WasmBackend);
    kernels.matMul(a, b, c, 6, 10, 7, false, false, kernels.scratch);
    const expected = await runOn('cpu', 'BatchMatMul', { a: left, b: right }, { transposeA: false, transposeB: false });
    expect(distance(heap.slice(c / 4, c / 4 + 60), expected.data)).toBeLessThan(1e-6);
  });
});
