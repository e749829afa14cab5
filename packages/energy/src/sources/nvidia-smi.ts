/**
 * The power sensor of NVIDIA GPUs, by the program that comes with the driver.
 *
 * `nvidia-smi` runs beside the measured code and writes a time and watts per line to a file, so that code which blocks this thread for
 * minutes neither stops the sampling nor fills a pipe. Lines and runs meet by the clock of the machine. Where NVML's own counter can
 * be read (`nvml.ts`), that is better: it misses nothing.
 *
 * `power.draw.instant` came with driver 530. Before it there is `power.draw`, which from Ampere on is a mean over the last second,
 * but for GA100. On A100 and H100 a reading covers 25 of every 100 ms (arXiv 2312.02741): repeat what is shorter than seconds.
 */
import { EnergyError } from '../errors.ts';
import type { EnergySource, Meter } from '../source.ts';
import { energyBetween, type PowerSample, readings, updatePeriod } from './power-trace.ts';
import { type Recording, record } from './smi-recording.ts';

/** Options of {@link nvidiaSmi}. */
export interface NvidiaSmiOptions {
  /** The program, by name or path. @default 'nvidia-smi' */
  readonly command?: string;
  /** Milliseconds between two samples; shorter than the sensor's own period, which is found from the samples. @default 20 */
  readonly everyMs?: number;
}

const WHO = 'nvidia-smi';
const NEW_FIELD = 'power.draw.instant';
const OLD_FIELD = 'power.draw';
/** Of the sensor, until the samples tell. */
const USUAL_PERIOD = 100;

/** Every GPU that `nvidia-smi` shows. Its first reading takes a second. */
export function nvidiaSmi({ command = 'nvidia-smi', everyMs = 20 }: NvidiaSmiOptions = {}): EnergySource {
  if (!(Number.isInteger(everyMs) && everyMs > 0))
    throw new EnergyError('bad-option', WHO, `everyMs is ${everyMs}, expected whole milliseconds above 0.`);
  return {
    name: WHO,
    async open() {
      const { field, names } = await probe(command);
      const recording = await record(command, field, everyMs);
      const average = field === NEW_FIELD ? undefined : 1000;
      try {
        await recording.until(() => names.every((_, gpu) => recording.samples(gpu).length > 1));
      } catch (error) {
        await recording.stop();
        throw error;
      }
      return names.map((name, gpu) => smiMeter(`GPU ${gpu} ${name} (sampled)`, () => recording.samples(gpu), recording, average));
    },
  };
}

function smiMeter(name: string, samples: () => readonly PowerSample[], recording: Recording, average: number | undefined): Meter {
  const period = (): number => updatePeriod(samples(), USUAL_PERIOD);
  const opened = Date.now();
  return {
    name,
    part: 'gpu',
    estimated: false,
    get updateSeconds() {
      return period() / 1000;
    },
    async read() {
      const at = Date.now();
      const last = (): number => samples().at(-1)!.at;
      await recording.until(() => last() >= at + (average ?? period()) / 2 + period());
      return energyBetween(readings(samples(), period(), average ?? period()), opened, at);
    },
    close: recording.stop,
  };
}

/** Which field this driver knows, and the names of its GPUs. */
async function probe(command: string): Promise<{ field: string; names: readonly string[] }> {
  for (const field of [NEW_FIELD, OLD_FIELD]) {
    const { failed, text } = await output(command, [`--query-gpu=index,name,${field}`, '--format=csv,noheader,nounits']);
    if (/not a valid field/i.test(text)) continue;
    if (failed)
      throw new EnergyError('no-source', WHO, `${command} failed: ${text.trim() || failed}. Install NVIDIA's driver, or pass command.`);
    const rows = text
      .trim()
      .split('\n')
      .map((row) => row.split(',').map((cell) => cell.trim()));
    const mute = rows.filter((row) => !Number.isFinite(Number(row[2])));
    if (mute.length > 0 && field === OLD_FIELD)
      throw new EnergyError('no-source', WHO, `no power sensor in ${mute.map((row) => `GPU ${row[0]} ${row[1]} (${row[2]})`).join(', ')}.`);
    if (mute.length === 0) return { field, names: rows.map((row) => row[1]!) };
  }
  throw new EnergyError('no-source', WHO, `${command} knows neither ${NEW_FIELD} nor ${OLD_FIELD}. Update NVIDIA's driver.`);
}

async function output(command: string, args: readonly string[]): Promise<{ failed?: string; text: string }> {
  const { execFile } = await import('node:child_process');
  return new Promise((resolve) => {
    execFile(command, args, { timeout: 10_000 }, (error, stdout, stderr) =>
      resolve({ text: stdout + stderr, ...(error && { failed: error.message }) }),
    );
  });
}
