/**
 * What of float16 a device does itself, and rightly. Dawn hides shader-f16 on NVIDIA's drivers before 615.71, which failed tests of
 * conformance; we ask for it all the same, and let no product rely on what has not given the right one here.
 */
import type { WebGPUBackend } from '../backend.ts';
import type { GpuAdapterInfo, GpuDevice, GpuMatrixConfig } from '../device/gpu.ts';
import type { HalfUnits } from '../products/plan.ts';

/** `reasons`: why not the rest. */
export interface HalfSupport extends HalfUnits {
  readonly reasons: readonly string[];
}

const support = new WeakMap<GpuDevice, HalfSupport>();
const none: HalfSupport = { f16: false, reasons: ['not checked: the backend was not started by useBackend'] };

/** What the check at the start of the backend has found. */
export const halfUnits = ({ device }: WebGPUBackend): HalfSupport => support.get(device) ?? none;

export const isChecked = ({ device }: WebGPUBackend): boolean => support.has(device);

export const setHalfUnits = ({ device }: WebGPUBackend, units: HalfSupport): void => void support.set(device, units);

const configs = new WeakMap<GpuDevice, readonly GpuMatrixConfig[]>();

/** Notes what the adapter's tensor cores do, which Dawn does not say of its device. */
export const noteMatrices = (device: GpuDevice, { subgroupMatrixConfigs = [] }: GpuAdapterInfo): void =>
  void configs.set(device, [...subgroupMatrixConfigs]);

/** What the tensor cores do: an empty list where it is not known. */
export const matrixConfigs = ({ device }: WebGPUBackend): readonly GpuMatrixConfig[] => configs.get(device) ?? [];

/** The tensor cores' product of float16 with sums in float32, the largest there is; or why there is none. */
export function matrixUnits(backend: WebGPUBackend): NonNullable<HalfUnits['matrix']> | string {
  const { device } = backend;
  if (!device.features.has('chromium-experimental-subgroup-matrix')) return 'the adapter has no subgroup matrices';
  const { subgroupMinSize: least, subgroupMaxSize: lanes = 0 } = (device as { adapterInfo?: GpuAdapterInfo }).adapterInfo ?? {};
  if (least !== lanes) return `its subgroups have ${least} to ${lanes} threads; expected one size`;
  const [largest] = matrixConfigs(backend)
    .filter(
      (c) => c.componentType === 'f16' && c.resultComponentType === 'f32' && [c.M, c.N, c.K].every((size) => size === 8 || size === 16),
    )
    .sort((x, y) => y.M * y.N * y.K - x.M * x.N * x.K);
  if (!largest) return 'its subgroup matrices take no float16 with sums in float32';
  const { M, N, K } = largest;
  return { shape: { M, N, K }, lanes };
}
