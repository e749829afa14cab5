/** What the device has, and what is said where there is none: each in a process of its own, as Dawn looks for drivers once. */
import { execFile } from 'node:child_process';
import { describeOn } from '@leantune/testing';
import * as tf from '@tensorflow/tfjs';
import { afterAll, expect, test, vi } from 'vitest';
import { useBackend } from '../../src/index.ts';
import { webgpu } from '../../src/webgpu/bring-up.ts';
import { dispatch, type WebGPUBackend } from '../../src/webgpu/index.ts';

/** Runs a module in a Node that finds no driver, and gives what it printed. */
function inNode(code: string, env: NodeJS.ProcessEnv): Promise<string> {
  const options = ['--import', 'tsx', '--conditions=@leantune/source', '--input-type=module', '--eval', code];
  return new Promise((resolve) => {
    execFile(process.execPath, options, { cwd: import.meta.dirname, env: { ...process.env, ...env } }, (_, stdout) =>
      resolve(stdout.trim()),
    );
  });
}

const nowhere = { VK_ICD_FILENAMES: '/nowhere.json', VK_DRIVER_FILES: '/nowhere.json' };

test.runIf(process.platform === 'linux')(
  'without a Vulkan driver the error says what to install, and ‘auto’ goes on to wasm',
  { timeout: 120_000 },
  async () => {
    const code = `
    import { useBackend } from '@leantune/backends';
    const error = await useBackend('webgpu').catch((error) => error);
    const { name, passed } = await useBackend('auto');
    console.log(JSON.stringify({ code: error.code, message: error.message, name, why: passed.find(({ name }) => name === 'webgpu')?.why }));
    process.exit();`;
    const said = JSON.parse((await inNode(code, nowhere)).split('\n').at(-1)!);
    expect(said.code).toBe('not-available');
    expect(said.message).toMatch(/^\[webgpu\] found no adapter: .*apt install mesa-vulkan-drivers/);
    if (said.name === 'wasm') expect(said.why).toMatch(/^found no adapter/);
  },
);

await describeOn('webgpu', () => {
  const device = () => (tf.backend() as WebGPUBackend).device;
  afterAll(() => vi.restoreAllMocks());

  test('the device has every limit of the adapter, and the features that kernels use', async () => {
    await useBackend('webgpu');
    const { gpu } = navigator as unknown as { gpu: { requestAdapter(): Promise<WebGPUBackend['device']> } };
    const adapter = await gpu.requestAdapter();
    for (const name in adapter.limits) {
      const limit = name as keyof typeof adapter.limits;
      expect(device().limits[limit], name).toBe(adapter.limits[limit]);
    }
    for (const feature of ['shader-f16', 'subgroups', 'timestamp-query'])
      expect(device().features.has(feature), feature).toBe(adapter.features.has(feature));
  });

  test('useBackend again keeps the device and what is on it', async () => {
    const [before, x] = [device(), tf.add(tf.ones([2]), 1)];
    await useBackend('cpu');
    await useBackend('webgpu');
    expect(device()).toBe(before);
    expect([...(await x.data())]).toEqual([2, 2]);
    x.dispose();
  });

  test('dataSync works in Node, between kernels and next to a read that is under way', async () => {
    const x = tf.tensor1d([1, 2, 3]);
    const [a, b] = tf.tidy(() => [tf.mul(x, 2), tf.mul(x, 3)]);
    const reading = a!.data();
    expect([...b!.dataSync()]).toEqual([3, 6, 9]);
    expect([...(await reading)]).toEqual([2, 4, 6]);
    expect([...tf.tidy(() => tf.cast(tf.add(a!, 0.5), 'int32')).dataSync()]).toEqual([2, 4, 6]);
    expect([...tf.tidy(() => tf.complex(tf.add(x, 0), tf.mul(x, -1))).dataSync()]).toEqual([1, -1, 2, -2, 3, -3]);
    expect([...tf.tidy(() => tf.greater(x, 1)).dataSync()]).toEqual([0, 1, 1]);
    tf.dispose([x, a!, b!]);
  });

  test('calls made at once share a device, and none is opened to ask whether ‘auto’ passes over it', async () => {
    const { gpu } = navigator as unknown as { gpu: { requestAdapter(): Promise<{ requestDevice(): unknown }> } };
    const opened = vi.fn();
    const request = gpu.requestAdapter.bind(gpu);
    vi.spyOn(gpu, 'requestAdapter').mockImplementation(async () => {
      const adapter = await request();
      const requestDevice = adapter.requestDevice.bind(adapter);
      return Object.assign(adapter, { requestDevice: opened.mockImplementation(requestDevice) });
    });
    tf.removeBackend('webgpu');
    await webgpu.passOver?.();
    expect(opened).not.toHaveBeenCalled();
    await Promise.all([useBackend('webgpu'), useBackend('webgpu')]);
    expect(opened).toHaveBeenCalledTimes(1);
    vi.restoreAllMocks();
  });

  test('on an adapter without f16 all trains, and a kernel that asks for it is refused', async () => {
    const { gpu } = navigator as unknown as { gpu: { requestAdapter(): Promise<object> } };
    const real = (await gpu.requestAdapter()) as { features: Set<string>; requestDevice(descriptor: object): unknown };
    const features = new Set([...real.features].filter((feature) => feature !== 'shader-f16'));
    const poor = new Proxy(real, {
      get: (target, name) => {
        const value = name === 'features' ? features : target[name as keyof typeof target];
        return typeof value === 'function' ? value.bind(target) : value;
      },
    });
    vi.spyOn(gpu, 'requestAdapter').mockResolvedValue(poor);
    tf.removeBackend('webgpu');
    await useBackend('webgpu');
    expect(device().features.has('shader-f16')).toBe(false);
    const x = tf.tensor1d([1, 2]);
    expect(tf.tidy(() => tf.grad((x: tf.Tensor) => tf.sum(tf.square(x)))(x)).dataSync()).toEqual(Float32Array.of(2, 4));
    const half = () =>
      dispatch(tf.backend() as WebGPUBackend, {
        key: 'half',
        enable: ['f16'],
        inputs: { x: [x, 'f32'] },
        outputs: { y: [{ shape: [1], dtype: 'int32' }, 'f16'] },
        workgroups: 1,
        code: () => '@compute @workgroup_size(2) fn main(@builtin(local_invocation_index) i: u32) { y[i] = f16(x[i]); }',
      });
    expect(half).toThrow('[half] needs shader-f16, which this adapter lacks');
    x.dispose();
  });

  test('when the browser has no adapter, or gives no device, the error says so', async () => {
    const { gpu } = navigator as unknown as { gpu: { requestAdapter(): Promise<object | null> } };
    tf.removeBackend('webgpu');
    const refusing = {
      features: new Set(),
      limits: {},
      info: { description: 'Model 1' },
      requestDevice: () => Promise.reject(new Error('in use')),
    };
    vi.spyOn(gpu, 'requestAdapter').mockResolvedValueOnce(null).mockResolvedValueOnce(refusing);
    await expect(useBackend('webgpu')).rejects.toMatchObject({ code: 'not-available' });
    await expect(useBackend('webgpu')).rejects.toThrow('[webgpu] the adapter Model 1 gives no device: in use. Update the graphics driver');
  });
});
