/** Integration of a power sensor, held against closed forms. */
import { describe, expect, test } from 'vitest';
import { energyBetween, type PowerSample, readings, updatePeriod } from '../src/sources/power-trace.ts';
import { powerLines } from '../src/sources/smi-recording.ts';

/** What a sensor shows that measures the mean of `period` ms every `period` ms, to 0.01 W, and is asked every `every` ms. */
function sensor(energy: (ms: number) => number, period: number, every: number, until: number): PowerSample[] {
  const shown = (at: number): number => {
    const end = Math.floor(at / period) * period;
    return Math.round(((energy(end) - energy(end - period)) / period) * 1e5) / 100;
  };
  return Array.from({ length: Math.ceil(until / every) }, (_, i) => ({ at: i * every + 3, watts: shown(i * every + 3) }));
}

describe('energy', () => {
  const ramp = [0, 100, 250, 1000].map((at) => ({ at, watts: at / 10 }));
  test('of a power that grows evenly is exact, wherever the ends are', () => {
    // ∫ t/10 dt from a to b, t in ms and energy in J
    for (const [a, b] of [
      [0, 1000],
      [30, 70],
      [50, 400],
      [120, 240],
    ] as const)
      expect(energyBetween(ramp, a, b)).toBeCloseTo((b * b - a * a) / 20 / 1000, 12);
  });
  test('adds up over neighbouring times', () => {
    const parts = [0, 90, 300, 310, 1000].map((at, i, all) => (i ? energyBetween(ramp, all[i - 1]!, at) : 0));
    expect(parts.reduce((a, b) => a + b)).toBeCloseTo(energyBetween(ramp, 0, 1000), 12);
  });
  test('before the first sample and after the last the power is theirs', () => {
    expect(energyBetween([{ at: 5, watts: 7 }], 0, 2000)).toBeCloseTo(14, 12);
  });
});

describe('a sensor', () => {
  const TAU = 2 * Math.PI;
  // P = 200 + 100 sin(2πt/1700), t in ms; energy in J
  const wave = (t: number): number => (200 * t + ((100 * 1700) / TAU) * (1 - Math.cos((TAU * t) / 1700))) / 1000;
  test.each([
    [20, 100],
    [7, 100],
    [5, 20],
    [20, 47],
  ])('asked every %d ms that measures every %d ms is known by its changes', (every, period) => {
    expect(Math.abs(updatePeriod(sensor(wave, period, every, 10_000), 1) - period)).toBeLessThanOrEqual(every);
  });
  test('that never changes has the usual period', () => {
    expect(
      updatePeriod(
        sensor((t) => t / 10, 100, 20, 3000),
        100,
      ),
    ).toBe(100);
  });
  test('is placed in the middle of what it measured: a third of the error of the samples as they come', () => {
    const samples = sensor(wave, 100, 20, 12_000);
    const placed = readings(samples, 100, 100);
    let [ours, raw] = [0, 0];
    for (let from = 1000; from < 9000; from += 37) {
      const exact = wave(from + 850) - wave(from); // half a wave: what a lag costs most
      ours = Math.max(ours, Math.abs(energyBetween(placed, from, from + 850) - exact) / exact);
      raw = Math.max(raw, Math.abs(energyBetween(samples, from, from + 850) - exact) / exact);
    }
    expect(ours).toBeLessThan(0.01);
    expect(ours).toBeLessThan(raw / 3);
  });
  test('that is a mean over a second is moved by half of it', () => {
    const samples: PowerSample[] = Array.from({ length: 300 }, (_, i) => ({
      at: i * 50,
      watts: wave(i * 50 + 2000) - wave(i * 50 + 1000), // the mean of the second before, of a wave that began a second earlier
    }));
    const exact = wave(9000 + 850) - wave(9000);
    const placed = energyBetween(readings(samples, 50, 1000), 7000, 7850);
    expect(Math.abs(placed - exact) / exact).toBeLessThan(Math.abs(energyBetween(samples, 7000, 7850) - exact) / exact);
  });
  test('that holds a power for long and then jumps is not read as a slow climb', () => {
    const step = (t: number): number => (t < 5000 ? 50 * t : 50 * 5000 + 250 * (t - 5000)) / 1000;
    const placed = readings(sensor(step, 100, 20, 10_000), 100, 100);
    expect(Math.abs(energyBetween(placed, 1000, 9000) - (step(9000) - step(1000)))).toBeLessThan(0.05 * 200);
    expect(energyBetween(placed, 1000, 4500)).toBeCloseTo(50 * 3.5, 6);
  });
});

describe('lines of nvidia-smi', () => {
  const local = (date: Date): string => {
    const two = (n: number, width = 2): string => String(n).padStart(width, '0');
    return `${date.getFullYear()}/${two(date.getMonth() + 1)}/${two(date.getDate())} ${two(date.getHours())}:${two(date.getMinutes())}:${two(date.getSeconds())}.${two(date.getMilliseconds(), 3)}`;
  };
  test('are read in pieces of any size, by GPU', () => {
    const now = new Date();
    const text = `${local(now)}, 0, 71.23\n${local(now)}, 1, 305.00\r\n${local(new Date(now.getTime() + 20))}, 0, 72.50\n`;
    for (const size of [1, 7, 1000]) {
      const found: [number, PowerSample][] = [];
      const read = powerLines((gpu, sample) => void found.push([gpu, sample]));
      for (let from = 0; from < text.length; from += size) read(text.slice(from, from + size));
      expect(found).toEqual([
        [0, { at: now.getTime(), watts: 71.23 }],
        [1, { at: now.getTime(), watts: 305 }],
        [0, { at: now.getTime() + 20, watts: 72.5 }],
      ]);
    }
  });
  test('without a reading are none', () => {
    const found: number[] = [];
    powerLines((gpu) => void found.push(gpu))(
      `timestamp, index, power.draw [W]\n${local(new Date())}, 0, [N/A]\nUnable to determine the device handle\n`,
    );
    expect(found).toEqual([]);
  });
  test('of a driver in another time zone are put next to our clock', () => {
    const found: number[] = [];
    const now = new Date();
    powerLines((_, { at }) => void found.push(at))(`${local(new Date(now.getTime() + 5.75 * 3_600_000))}, 0, 70.00\n`);
    expect(found).toEqual([now.getTime()]);
  });
});
