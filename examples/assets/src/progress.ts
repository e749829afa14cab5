/** A bar on a terminal; a line every few seconds where the output is a file or a CI log. */
import cliProgress from 'cli-progress';

const NOTE_EVERY_MS = 5000;

export interface Progress {
  /** Moves to `done` of `total`; `note` follows the bar. */
  update(done: number, note?: string): void;
  /** Ends the line; where it stands stays on the screen. */
  stop(): void;
}

/**
 * @param label what is going on, left of the bar
 * @param total the value of `done` at the end
 * @param unit 'MB' shows bytes as megabytes
 */
export function progressBar(label: string, total: number, unit: 'MB' | '' = ''): Progress {
  const show = (value: number): string => (unit === 'MB' ? (value / 1e6).toFixed(1) : String(value));
  const bar = new cliProgress.SingleBar({
    format: (options, { progress, value, total }, { note }: { note: string }) =>
      `${label} ${cliProgress.Format.BarFormat(progress, { ...options, barsize: 24 })} ${show(value)}/${show(total)} ${unit}${note && `  ${note}`}`,
    barCompleteChar: '█',
    barIncompleteChar: '░',
    hideCursor: true,
    noTTYOutput: true,
    notTTYSchedule: NOTE_EVERY_MS,
    stream: process.stderr,
  });
  bar.start(total, 0, { note: '' });
  return {
    update: (done, note = '') => bar.update(Math.min(done, total), { note }),
    stop: () => bar.stop(),
  };
}
