/**
 * An estimate for machines whose counters cannot be read: processor time of this process, all its threads, at each thread's share of
 * the processor's thermal design power.
 *
 *   E ≈ t_user+system · TDP / threads
 *
 * It sees neither clocks, memory, GPUs, other processes nor what an instruction costs, so it says little more than processor time does. Its name says what it is.
 */
import { EnergyError } from '../errors.ts';
import type { EnergySource } from '../source.ts';

/** Options of {@link processorTime}. */
export interface ProcessorTimeOptions {
  /** Thermal design power of the processor. @default 65, of the i5-12600 of arXiv 2409.07853 */
  readonly tdpWatts?: number;
  /** Hardware threads that share it, of the whole processor, also where a virtual machine has only some. @default 12, of the same */
  readonly threads?: number;
}

/** @throws {EnergyError} options that are not above 0 */
export function processorTime({ tdpWatts = 65, threads = 12 }: ProcessorTimeOptions = {}): EnergySource {
  const faults = Object.entries({ tdpWatts, threads }).filter(([, value]) => !(value > 0 && Number.isFinite(value)));
  if (faults.length > 0)
    throw new EnergyError(
      'bad-option',
      'processor-time',
      `${faults.map(([name, value]) => `${name} is ${value}`).join(', ')}, expected numbers above 0.`,
    );
  return {
    name: 'processor-time',
    async open() {
      const cpuUsage = globalThis.process?.cpuUsage;
      if (!cpuUsage) throw new EnergyError('no-source', 'processor-time', 'a page cannot see its processor time. Measure in Node.');
      const first = cpuUsage();
      const watts = tdpWatts / threads;
      return [
        {
          name: `estimate: processor time × ${watts.toFixed(1)} W`,
          part: 'cpu',
          estimated: true,
          updateSeconds: 0.01,
          async read() {
            const { user, system } = cpuUsage(first);
            return ((user + system) / 1e6) * watts;
          },
          async close() {},
        },
      ];
    },
  };
}
