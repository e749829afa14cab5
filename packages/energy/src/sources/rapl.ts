/**
 * RAPL, the energy counters of Intel processors since Sandy Bridge and of AMD's since Zen, as Linux shows them: `energy_uj` counts microjoules and
 * starts again at 0 after `max_energy_range_uj`, which a busy server reaches in an hour or less.
 *
 * `package-…` holds cores and uncore, which are not added again; `dram` is beside it, where the processor tells it; `psys`, the whole
 * board, would count both twice.
 */
import { EnergyError } from '../errors.ts';
import type { EnergySource, Meter } from '../source.ts';

/** Options of {@link rapl}. */
export interface RaplOptions {
  /** @default '/sys/class/powercap' */
  readonly folder?: string;
}

const WHO = 'rapl';
/** No package draws more; twice as often as that could wrap the counter, it is read. */
const MOST_WATTS = 1000;

/** Packages and DRAM of this machine, all programs together. */
export function rapl({ folder = '/sys/class/powercap' }: RaplOptions = {}): EnergySource {
  return {
    name: WHO,
    async open() {
      const { existsSync, readdirSync, readFileSync } = await import('node:fs');
      const { join } = await import('node:path');
      const text = (zone: string, file: string): string => readFileSync(join(folder, zone, file), 'utf8').trim();
      const zones = (existsSync(folder) ? readdirSync(folder) : []).filter((zone) => /^intel-rapl:\d+(:\d+)?$/.test(zone)).sort();
      const named = zones.map((zone) => ({ zone, name: text(zone, 'name') })).filter(({ name }) => /^(package|dram)/.test(name));
      if (named.length === 0)
        throw new EnergyError(
          'no-source',
          WHO,
          `no counters in ${folder}. Virtual machines and containers hide them; on a machine of your own try: sudo modprobe intel_rapl_msr`,
        );
      const number = (zone: string, file: string): number => {
        try {
          return Number(text(zone, file));
        } catch (cause) {
          if ((cause as NodeJS.ErrnoException).code !== 'EACCES' && (cause as NodeJS.ErrnoException).code !== 'EPERM')
            throw new EnergyError('bad-reading', WHO, `${join(folder, zone, file)}: ${String(cause)}`, { cause });
          const files = ['energy_uj', 'max_energy_range_uj'].map((each) => `${folder}/intel-rapl:*/${each}`).join(' ');
          throw new EnergyError(
            'not-permitted',
            WHO,
            `${join(folder, zone, file)} is for root alone, as Linux has it since CVE-2020-8694. Until the next boot, allow it by: sudo chmod a+r ${files}`,
            { cause },
          );
        }
      };
      return named.map(({ zone, name }) =>
        raplMeter(`${name} (${zone})`, name === 'dram' ? 'memory' : 'cpu', number(zone, 'max_energy_range_uj'), () =>
          number(zone, 'energy_uj'),
        ),
      );
    },
  };
}

function raplMeter(name: string, part: Meter['part'], range: number, counter: () => number): Meter {
  let last = counter();
  let total = 0;
  // Synchronous, so that the reading is of this moment and not of the next turn of the event loop, behind the measured code.
  const read = (): number => {
    const now = counter();
    total += now >= last ? now - last : now - last + range;
    last = now;
    return total / 1e6;
  };
  const watch = (): void => {
    try {
      read();
    } catch {
      // the next reading says it to the caller
    }
  };
  const timer = setInterval(watch, (range / 1e6 / MOST_WATTS / 2) * 1000);
  timer.unref();
  return {
    name,
    part,
    estimated: false,
    updateSeconds: 0.001,
    read: async () => read(),
    close: async () => clearInterval(timer),
  };
}
