/** `nvidia-smi` running beside us and writing to a file of ours, and the samples in that file so far. */
import { EnergyError } from '../errors.ts';
import type { PowerSample } from './power-trace.ts';

export interface Recording {
  samples(gpu: number): readonly PowerSample[];
  /** Reads what was written since, until `covered`. @throws {EnergyError} the program ended, or writes nothing for ten seconds */
  until(covered: () => boolean): Promise<void>;
  stop(): Promise<void>;
}

const PATIENCE = 10_000;

/** Samples `field` of every GPU until stopped, or until this process ends. */
export async function record(command: string, field: string, everyMs: number): Promise<Recording> {
  const { mkdtemp, open, rm } = await import('node:fs/promises');
  const { tmpdir } = await import('node:os');
  const { join } = await import('node:path');
  const folder = await mkdtemp(join(tmpdir(), 'leantune-power-'));
  const file = await open(join(folder, 'power.csv'), 'w+');
  const args = [`--query-gpu=timestamp,index,${field}`, '--format=csv,noheader,nounits', `--loop-ms=${everyMs}`];
  const program = await start(command, args, file.fd);
  const byGpu = new Map<number, PowerSample[]>();
  const samples = (gpu: number): PowerSample[] => byGpu.get(gpu) ?? [];
  const parse = powerLines((gpu, sample) => void byGpu.set(gpu, samples(gpu)).get(gpu)!.push(sample));
  const next = reader(file);
  let reading: Promise<void> = Promise.resolve();
  let stopped: Promise<void> | undefined;
  return {
    samples,
    async until(covered) {
      const patient = performance.now() + PATIENCE;
      for (;;) {
        reading = reading.then(async () => parse(await next())); // one reader at a time
        await reading;
        if (covered()) return;
        if (program.ended() || performance.now() > patient)
          throw new EnergyError(
            'bad-reading',
            'nvidia-smi',
            `${command} ${program.ended() ?? `wrote no new sample for ${PATIENCE / 1000} s`}. Run it in a terminal to see why: ${[command, ...args].join(' ')}`,
          );
        await new Promise((resolve) => setTimeout(resolve, everyMs));
      }
    },
    stop() {
      stopped ??= (async () => {
        program.stop();
        await reading.catch(() => undefined);
        await file.close();
        await rm(folder, { recursive: true, force: true });
      })();
      return stopped;
    },
  };
}

interface Program {
  /** How it ended; undefined while it runs. */
  ended(): string | undefined;
  stop(): void;
}

/** Starts a program that writes to `fd`, and does not outlive this process. */
async function start(command: string, args: readonly string[], fd: number): Promise<Program> {
  const { spawn } = await import('node:child_process');
  const child = spawn(command, args, { stdio: ['ignore', fd, fd] });
  let ended: string | undefined;
  child.once('error', ({ message }) => (ended = message));
  child.once('exit', (code, signal) => (ended ??= `ended with ${code ?? signal}`));
  const kill = (): void => void child.kill();
  process.once('exit', kill);
  return {
    ended: () => ended,
    stop() {
      process.off('exit', kill);
      kill();
    },
  };
}

/** What was appended to `file` since the last call. */
function reader(file: import('node:fs/promises').FileHandle): () => Promise<string> {
  const chunk = Buffer.alloc(1 << 16);
  let offset = 0;
  return async () => {
    let text = '';
    for (;;) {
      const { bytesRead } = await file.read(chunk, 0, chunk.length, offset);
      if (bytesRead === 0) return text;
      offset += bytesRead;
      text += chunk.toString('latin1', 0, bytesRead);
    }
  };
}

const LINE = /^(\d+)\/(\d+)\/(\d+) (\d+):(\d+):(\d+)\.(\d+), *(\d+), *([\d.]+)\s*$/;
const QUARTER = 15 * 60_000;

/**
 * Reads lines like `2026/11/27 05:12:01.123, 0, 71.23`, in pieces of any size; other lines are no samples. The time is local and names
 * no zone: the first is put next to this process's clock by quarters of an hour, in which all zones differ.
 */
export function powerLines(found: (gpu: number, sample: PowerSample) => void): (text: string) => void {
  let rest = '';
  let zone: number | undefined;
  return (text) => {
    const lines = (rest + text).split('\n');
    rest = lines.pop()!;
    for (const line of lines) {
      const [year, month, day, hour, minute, second, ms, gpu, watts] = LINE.exec(line)?.slice(1).map(Number) ?? [];
      if (watts === undefined) continue;
      const at = Date.UTC(year!, month! - 1, day, hour, minute, second, ms);
      zone ??= Math.round((Date.now() - at) / QUARTER) * QUARTER;
      found(gpu!, { at: at + zone, watts });
    }
  };
}
