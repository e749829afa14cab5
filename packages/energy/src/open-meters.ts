import { EnergyError } from './errors.ts';
import type { EnergySource, Meter } from './source.ts';
import { nvidiaSmi } from './sources/nvidia-smi.ts';
import { nvml } from './sources/nvml.ts';
import { processorTime } from './sources/processor-time.ts';
import { rapl } from './sources/rapl.ts';

/** A source, or several of which the first that opens is taken; none of several is a fact to report, none of one an error. */
export type SourceChoice = EnergySource | readonly EnergySource[];

export interface OpenMeters {
  readonly meters: readonly Meter[];
  /** What could not be read, and why. */
  readonly missing: readonly { readonly source: string; readonly reason: string }[];
  close(): Promise<void>;
}

/** The best of each: GPUs by NVML's counter or by `nvidia-smi`; the processor by RAPL or by an estimate. */
export function usualSources(): readonly SourceChoice[] {
  return [
    [nvml(), nvidiaSmi()],
    [rapl(), processorTime()],
  ];
}

/** @throws {EnergyError} a source that must open does not, or none does */
export async function openMeters(choices: readonly SourceChoice[]): Promise<OpenMeters> {
  const meters: Meter[] = [];
  const missing: { source: string; reason: string }[] = [];
  const close = async (): Promise<void> => void (await Promise.allSettled(meters.map((meter) => meter.close())));
  try {
    for (const choice of choices) {
      for (const source of Array.isArray(choice) ? (choice as readonly EnergySource[]) : [choice as EnergySource]) {
        try {
          meters.push(...(await source.open()));
          break;
        } catch (error) {
          if (!Array.isArray(choice) || !EnergyError.is(error)) throw error;
          missing.push({ source: source.name, reason: error.message });
        }
      }
    }
    if (meters.length === 0)
      throw new EnergyError('no-source', 'measureEnergy', `no source could be read. ${missing.map(({ reason }) => reason).join(' ')}`);
  } catch (error) {
    await close();
    throw error;
  }
  return { meters, missing, close };
}
