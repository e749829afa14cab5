/**
 * The energy counter of NVIDIA GPUs (Volta and later): `nvmlDeviceGetTotalEnergyConsumption`, millijoules since the driver was loaded.
 * The difference of two readings is the energy between them; nothing is sampled. The counter moves about every 100 ms.
 *
 * NVML is a library in C. It is called through koffi, which is an optional peer: without it, or without the counter, `nvidiaSmi()` samples.
 */
import { EnergyError } from '../errors.ts';
import type { EnergySource, Meter } from '../source.ts';

/** Options of {@link nvml}. */
export interface NvmlOptions {
  /** The library, by name or path. @default 'libnvidia-ml.so.1', on Windows 'nvml.dll' */
  readonly library?: string;
}

const WHO = 'nvml';
type Call = (...args: unknown[]) => number;

/** Every GPU that NVML shows. Needs `npm install koffi`. */
export function nvml({ library }: NvmlOptions = {}): EnergySource {
  return {
    name: WHO,
    async open() {
      const functions = await load(library ?? (process.platform === 'win32' ? 'nvml.dll' : 'libnvidia-ml.so.1'));
      const check = (code: number, what: string): void => {
        if (code !== 0) throw new EnergyError('no-source', WHO, `${what}: ${functions.errorString(code)}. Use nvidiaSmi() instead.`);
      };
      check(functions.init(), 'nvmlInit');
      try {
        const count = [0];
        check(functions.count(count), 'nvmlDeviceGetCount');
        const meters = Array.from({ length: count[0]! }, (_, gpu): Meter => {
          const handle = [null];
          check(functions.handle(gpu, handle), `GPU ${gpu}`);
          const name = Buffer.alloc(96);
          check(functions.name(handle[0], name, name.length), `GPU ${gpu}`);
          const joules = (): number => {
            const millijoules = [0n];
            check(functions.energy(handle[0], millijoules), `the energy counter of GPU ${gpu}`);
            return Number(millijoules[0]) / 1000;
          };
          const first = joules();
          return {
            name: `GPU ${gpu} ${name.toString('utf8', 0, name.indexOf(0))}`,
            part: 'gpu',
            estimated: false,
            updateSeconds: 0.1,
            read: async () => joules() - first,
            close: async () => void (open.delete(gpu) && open.size === 0 && functions.shutdown()),
          };
        });
        const open = new Set(meters.keys());
        if (meters.length === 0) throw new EnergyError('no-source', WHO, 'the driver shows no GPU.');
        return meters;
      } catch (error) {
        functions.shutdown();
        throw error;
      }
    },
  };
}

interface Functions {
  readonly init: Call;
  readonly shutdown: Call;
  readonly count: Call;
  readonly handle: Call;
  readonly name: Call;
  readonly energy: Call;
  readonly errorString: (code: number) => string;
}

async function load(path: string): Promise<Functions> {
  const koffi = await import('koffi').then(
    (module) => module.default,
    (cause) => {
      throw new EnergyError('no-source', WHO, 'koffi is not installed. Run `npm install koffi`, or use nvidiaSmi().', { cause });
    },
  );
  try {
    const library = koffi.load(path);
    return {
      init: library.func('int nvmlInit_v2()'),
      shutdown: library.func('int nvmlShutdown()'),
      count: library.func('int nvmlDeviceGetCount_v2(_Out_ uint32_t *count)'),
      handle: library.func('int nvmlDeviceGetHandleByIndex_v2(uint32_t index, _Out_ void **device)'),
      name: library.func('int nvmlDeviceGetName(void *device, _Out_ uint8_t *name, uint32_t length)'),
      energy: library.func('int nvmlDeviceGetTotalEnergyConsumption(void *device, _Out_ uint64_t *millijoules)'),
      errorString: library.func('const char *nvmlErrorString(int code)'),
    };
  } catch (cause) {
    throw new EnergyError('no-source', WHO, `${path} could not be loaded (${String(cause)}). Install NVIDIA's driver, or pass library.`, {
      cause,
    });
  }
}
