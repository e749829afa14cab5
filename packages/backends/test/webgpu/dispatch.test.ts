/** Kernels of our own between those of tfjs, against plain JavaScript. */
import { describeOn } from '@leantune/testing';
import * as tf from '@tensorflow/tfjs';
import { beforeAll, expect, test, vi } from 'vitest';
import { useBackend } from '../../src/index.ts';
import { dispatch, type Program, type WebGPUBackend } from '../../src/webgpu/index.ts';

const entry = '@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) local: u32';
const backend = () => tf.backend() as WebGPUBackend;
const own = (x: tf.TensorInfo) => tf.engine().makeTensorFromTensorInfo(x);

/** y[i] = f(x[i]) */
function map(x: tf.TensorInfo, f: string, y: Program<'y'>['outputs']['y'] = [{ shape: x.shape, dtype: 'float32' }, 'f32']) {
  const size = tf.util.sizeFromShape(x.shape);
  return dispatch(backend(), {
    key: `map ${f}`,
    inputs: { x: [x, 'f32'] },
    outputs: { y },
    uniforms: { factor: ['f32', 0.5], size: ['u32', size] },
    workgroups: Math.ceil(size / 64),
    code: () => `@compute @workgroup_size(64) fn main(${entry}) {
      let i = flat(group, groups) * 64 + local;
      if (i < u.size) { y[i] = ${f}; }
    }`,
  }).y;
}

await describeOn('webgpu', () => {
  beforeAll(() => useBackend('webgpu').then(() => undefined));

  test('a kernel runs between tfjs’s, and a second call makes no new code', async () => {
    const x = tf.range(0, 1000);
    const before = tf.memory().numTensors;
    const y = tf.tidy(() => tf.sub(own(map(tf.add(x, 1), 'x[i] * u.factor')), 1));
    expect([...(await y.data())]).toEqual(Array.from({ length: 1000 }, (_, i) => (i + 1) / 2 - 1));
    expect(tf.memory().numTensors).toBe(before + 1);
    const known = dispatch(backend(), {
      key: 'map x[i] * u.factor',
      inputs: { x: [x, 'f32'] },
      outputs: { y: [{ shape: [1000], dtype: 'float32' }, 'f32'] },
      uniforms: { factor: ['f32', 2], size: ['u32', 1000] },
      workgroups: 16,
      code: () => {
        throw new Error('compiled again');
      },
    });
    const doubled = own(known.y);
    expect((await doubled.data())[999]).toBe(1998);
    tf.dispose([x, y, doubled]);
  });

  test('each kernel of a batch reads its own uniforms, however many there are', async () => {
    const x = tf.ones([4]);
    const of = (factor: number) =>
      own(
        dispatch(backend(), {
          key: 'scaled',
          inputs: { x: [x, 'f32'] },
          outputs: { y: [{ shape: [4], dtype: 'float32' }, 'f32'] },
          uniforms: Object.fromEntries(Array.from({ length: 70 }, (_, i) => [`f${i}`, ['f32', i === 69 ? factor : -1]])),
          workgroups: 1,
          code: () => '@compute @workgroup_size(4) fn main(@builtin(local_invocation_index) i: u32) { y[i] = x[i] * u.f69; }',
        }).y,
      );
    const length = tf.env().getNumber('WEBGPU_DEFERRED_SUBMIT_BATCH_SIZE');
    tf.env().set('WEBGPU_DEFERRED_SUBMIT_BATCH_SIZE', 5000); // so that the buffer of uniforms fills before the batch
    const made = Array.from({ length: 1200 }, (_, i) => of(i));
    tf.env().set('WEBGPU_DEFERRED_SUBMIT_BATCH_SIZE', length);
    const all = tf.stack(made);
    expect([...(await all.data())]).toEqual(made.flatMap((_, i) => [i, i, i, i]));
    tf.dispose([x, made, all]);
  });

  test('the device gets a few kernels soon after a read, and then more at a time', async () => {
    const x = tf.range(0, 1000);
    tf.dispose(own(map(x, 'x[i] * u.factor'))); // compiles
    await x.data();
    const submit = vi.spyOn(backend().queue, 'submit');
    const count = (kernels: number) => {
      tf.tidy(() => {
        for (let i = 0; i < kernels; i++) own(map(x, 'x[i] * u.factor'));
      });
      return submit.mock.calls.length;
    };
    expect([count(7), count(1), count(15), count(1), count(32), count(63), count(1), count(64)]).toEqual([0, 1, 1, 2, 3, 3, 4, 5]);
    submit.mockRestore();
    x.dispose();
  });

  test('one kernel makes several outputs, of f16 too where the adapter has it', async () => {
    const f16 = backend().device.features.has('shader-f16');
    const x = tf.tensor1d([1, -2, 0.5, 65504]);
    const made = dispatch(backend(), {
      key: 'several',
      enable: f16 ? ['f16'] : [],
      inputs: { x: [x, 'f32'] },
      outputs: {
        twice: [{ shape: [4], dtype: 'float32' }, 'f32'],
        halves: [{ shape: [2], dtype: 'int32' }, f16 ? 'f16' : 'u32'],
      },
      workgroups: [1],
      code: () => `@compute @workgroup_size(4) fn main(@builtin(local_invocation_index) i: u32) {
        twice[i] = 2 * x[i];
        ${f16 ? 'halves[i] = f16(x[i]);' : 'if (i < 2) { halves[i] = pack2x16float(vec2f(x[2 * i], x[2 * i + 1])); }'}
      }`,
    });
    const [twice, halves] = [own(made.twice), own(made.halves)];
    expect([...(await twice.data())]).toEqual([2, -4, 1, 131008]);
    // IEEE 754 binary16: 1 = 3c00, -2 = c000, 0.5 = 3800, 65504 = 7bff
    expect([...new Uint16Array((await halves.data()).slice().buffer)]).toEqual([0x3c00, 0xc000, 0x3800, 0x7bff]);
    tf.dispose([x, twice, halves]);
  });

  test('an update in place is seen also after the old values were read', async () => {
    const [v, x] = [tf.variable(tf.tensor1d([1, 2, 3])), tf.tensor1d([10, 20, 30])];
    expect([...(await v.data())]).toEqual([1, 2, 3]);
    const y = map(x, 'y[i] + x[i] * u.factor', [v, 'f32']);
    expect(y.dataId).toBe(v.dataId);
    expect([...(await v.data())]).toEqual([6, 12, 18]);
    expect([...v.dataSync()]).toEqual([6, 12, 18]);
    expect([...tf.tidy(() => tf.add(v, 1)).dataSync()]).toEqual([7, 13, 19]);
    tf.dispose([v, x]);
  });

  test('more workgroups than one axis holds are spread over the others', async () => {
    const limit = backend().device.limits.maxComputeWorkgroupsPerDimension;
    const groups = 2 * limit + 7;
    const seen = dispatch(backend(), {
      key: 'count groups',
      inputs: {},
      outputs: { y: [{ shape: [groups], dtype: 'int32' }, 'i32'] },
      uniforms: { size: ['u32', groups] },
      workgroups: groups,
      code: () => `@compute @workgroup_size(1) fn main(${entry}) { let i = flat(group, groups); if (i < u.size) { y[i] = i32(i) + 1; } }`,
    });
    const y = own(seen.y);
    expect((await y.data()).every((value, i) => value === i + 1)).toBe(true);
    y.dispose();
  });

  test('an output without elements needs no kernel', async () => {
    const x = tf.zeros([0, 3]);
    const y = own(map(x, 'x[i]'));
    expect([y.shape, [...(await y.data())]]).toEqual([[0, 3], []]);
    tf.dispose([x, y]);
  });

  test('tf.time sees our kernels by name', async () => {
    const x = tf.ones([64, 64]);
    const { kernelMs, getExtraProfileInfo } = (await tf.time(() => void own(map(x, 'exp(x[i])')).dispose())) as tf.TimingInfo & {
      getExtraProfileInfo(): string;
    };
    expect(kernelMs).toBeGreaterThanOrEqual(0);
    expect(getExtraProfileInfo()).toMatch(/^map exp\(x\[i\]\): /);
    x.dispose();
  });

  test('a shader that does not compile is shown with its line, by the next read', async () => {
    const [x, before] = [tf.ones([4]), tf.memory().numTensors];
    const y = own(map(x, 'x[i] + 1u'));
    await expect(y.data()).rejects.toThrow(
      /^\[map x\[i\] \+ 1u\] the shader does not compile:\n +\d+ \| .*x\[i\] \+ 1u;[\s\S]*no matching overload/,
    );
    y.dispose();
    const again = own(map(x, 'x[i] + 1u'));
    await expect(again.data(), 'once more').rejects.toThrow('the shader does not compile');
    again.dispose();
    expect(tf.memory().numTensors).toBe(before);
    const fine = tf.add(x, 1);
    expect([...(await fine.data())]).toEqual([2, 2, 2, 2]); // reported once, the backend goes on
    tf.dispose([x, fine]);
  });

  test('a program of tfjs that does not compile takes nothing else with it, before or after', async () => {
    const [w, x] = [tf.variable(tf.tensor1d([1, 2, 3])), tf.ones([1, 2, 1, 3, 2])];
    const step = () => tf.tidy(() => tf.add(tf.mul(w, 2), 1).dataSync());
    const before = tf.memory().numTensors;
    const broken = () =>
      tf.tidy(() => {
        tf.mul(w, 3); // brings w to the GPU, in the batch that is open
        const y = tf.mirrorPad(x, Array(5).fill([1, 0]), 'symmetric'); // tfjs 4.22 writes vec5
        tf.mul(w, 4);
        return y.dataSync();
      });
    expect(broken).toThrow('error: cannot index type');
    expect([...step()]).toEqual([3, 5, 7]);
    expect([...(await w.data())]).toEqual([1, 2, 3]);
    expect(broken, 'once more').toThrow('error: cannot index type');
    expect([...step()]).toEqual([3, 5, 7]);
    expect(tf.memory().numTensors).toBe(before);
    tf.dispose([w, x]);
  });

  test('what WebGPU cannot bind is refused before anything is made', () => {
    const [x, empty] = [tf.ones([4]), tf.zeros([0])];
    const ids = tf.backend().numDataIds();
    const code = () => '';
    const outputs = { y: [{ shape: [4], dtype: 'float32' as const }, 'f32'] as const };
    const many = Object.fromEntries(Array.from({ length: 64 }, (_, i) => [`x${i}`, [x, 'f32'] as const]));
    const wrong: [string, () => unknown][] = [
      [
        'x: read and updated in place',
        () => dispatch(backend(), { key: 'k', inputs: { x: [x, 'f32'] }, outputs: { y: [x, 'f32'] }, workgroups: 1, code }),
      ],
      ['binds 65 tensors', () => dispatch(backend(), { key: 'k', inputs: many, outputs, workgroups: 1, code })],
      ['empty: without elements', () => dispatch(backend(), { key: 'k', inputs: { empty: [empty, 'f32'] }, outputs, workgroups: 1, code })],
      [
        '1 x 1000000 x 1 workgroups',
        () => dispatch(backend(), { key: 'k', inputs: { x: [x, 'f32'] }, outputs, workgroups: [1, 1e6], code }),
      ],
    ];
    for (const [message, call] of wrong) expect(call).toThrow(`[k] ${message.startsWith('1 x') ? 'got ' : ''}${message}`);
    expect(tf.backend().numDataIds()).toBe(ids);
    tf.dispose([x, empty]);
  });
});
