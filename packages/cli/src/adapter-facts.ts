/** What a WebGPU adapter says of itself, read from tfjs's backend on it. */
import type { Facts } from './report.ts';

interface Matrix {
  readonly componentType: string;
  readonly resultComponentType: string;
  readonly M: number;
  readonly N: number;
  readonly K: number;
}

interface Device {
  readonly features: ReadonlySet<string>;
  readonly limits: Readonly<Record<string, number>>;
  readonly adapterInfo?: Info;
}

interface Info {
  readonly vendor: string;
  readonly architecture: string;
  readonly device: string;
  readonly description: string;
  readonly subgroupMinSize?: number;
  readonly subgroupMaxSize?: number;
  readonly subgroupMatrixConfigs?: Iterable<Matrix>;
}

/** The limits that training meets. */
const limits = [
  'maxBufferSize',
  'maxStorageBufferBindingSize',
  'maxStorageBuffersPerShaderStage',
  'maxComputeInvocationsPerWorkgroup',
  'maxComputeWorkgroupStorageSize',
  'maxComputeWorkgroupsPerDimension',
];

export async function adapterFacts(backend: object): Promise<Facts> {
  const { device } = backend as { readonly device: Device };
  const info = await adapterInfo(device);
  return {
    adapter: info?.description || info?.device || 'unnamed',
    vendor: [info?.vendor, info?.architecture].filter(Boolean).join(' '),
    features: [...device.features].sort(),
    limits: Object.fromEntries(limits.map((name) => [name, device.limits[name] ?? 0])),
    subgroups: info?.subgroupMaxSize ? `${info.subgroupMinSize} to ${info.subgroupMaxSize}` : 'unknown',
    subgroupMatrices: [...(info?.subgroupMatrixConfigs ?? [])].map(
      ({ componentType, resultComponentType, M, N, K }) => `${componentType} -> ${resultComponentType} ${M}x${N}x${K}`,
    ),
  };
}

/** The adapter's own info knows the matrices; that of a device need not. */
async function adapterInfo(device: Device): Promise<Info | undefined> {
  const { gpu } = globalThis.navigator as { gpu?: { requestAdapter(options: object): Promise<{ readonly info: Info } | null> } };
  const adapter = await gpu?.requestAdapter({ powerPreference: 'high-performance' });
  return adapter?.info ?? device.adapterInfo;
}
