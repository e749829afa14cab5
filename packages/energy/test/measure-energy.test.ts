/** The protocol: what is counted, subtracted, dropped and said, with a machine whose energy is known. */
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import {
  compareEnergy,
  EnergyError,
  type EnergyRun,
  type EnergySource,
  gridIntensity,
  kilogramsCO2,
  measureEnergy,
  processorTime,
  type Run,
  rapl,
} from '@leantune/energy';
import { anova } from '@leantune/energy/statistics';
import { describe, expect, test } from 'vitest';

/** A machine that draws `idle` watts at all times, and `work(joules)` more. */
function machine(idle: number): { source: EnergySource; work(joules: number): void; open: number } {
  const state = {
    open: 0,
    worked: 0,
    work(joules: number) {
      state.worked += joules;
    },
    source: {
      name: 'machine',
      async open() {
        state.open++;
        const joules = (): number => (idle * performance.now()) / 1000 + state.worked;
        const first = joules();
        return [
          {
            name: 'the machine',
            part: 'cpu' as const,
            estimated: false,
            updateSeconds: 1e-6,
            read: async () => joules() - first,
            close: async () => void state.open--,
          },
        ];
      },
    },
  };
  return state;
}
const quick = { repeats: 5, warmup: 1, idleSeconds: 0.1 };
const wait = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

describe('energy of a run', () => {
  test('is what it took, and net of idle power what it took more than an idle machine', async () => {
    const { source, work } = machine(30);
    const energy = await measureEnergy(() => wait(5).then(() => work(2)), { ...quick, calls: 3, steps: 2, samples: 8, sources: [source] });
    expect(energy.net.mean).toBeCloseTo(6, 1);
    expect(energy.gross.mean).toBeCloseTo(6 + 30 * energy.seconds.mean, 1);
    expect(energy.perStep.mean).toBeCloseTo(energy.net.mean / 6, 12);
    expect(energy.perSample!.mean).toBeCloseTo(energy.net.mean / 24, 12);
    expect(energy.meters).toMatchObject([{ name: 'the machine', estimated: false }]);
    expect(energy.meters[0]!.idle.watts).toBeCloseTo(30, 0);
    expect(energy.runs[0]!.byMeter['the machine']!.net).toBeCloseTo(energy.runs[0]!.net, 12);
    expect(energy.kilogramsCO2.gross).toBeCloseTo(kilogramsCO2(energy.gross.mean), 15);
  });
  test('leaves out the warm-up and what is off the meters', async () => {
    const { source, work } = machine(0);
    const seen: number[] = [];
    const energy = await measureEnergy(
      async (run) => {
        seen.push(run.repeat);
        work(run.repeat < 0 ? 1000 : 1);
        const built = await run.unmetered(() => {
          work(500);
          return 'built';
        });
        expect(built).toBe('built');
        work(2);
      },
      { ...quick, warmup: 2, sources: [source] },
    );
    expect(seen).toEqual([-2, -1, 0, 1, 2, 3, 4]);
    expect(energy.runs.map(({ net }) => net)).toEqual([3, 3, 3, 3, 3]);
  });
  test('to reach an accuracy is that of training alone, over the runs that reached it', async () => {
    const { source, work } = machine(0);
    const energy = await measureEnergy(
      async (run) => {
        for (const accuracy of run.repeat % 2 ? [0.5, 0.7] : [0.5, 0.8, 0.9]) {
          work(10 + run.repeat);
          await run.accuracy(() => {
            work(99);
            return accuracy;
          });
        }
      },
      { ...quick, repeats: 4, sources: [source] },
    );
    expect(energy.runs[2]!.accuracies.map(({ accuracy, net }) => [accuracy, net])).toEqual([
      [0.5, 12],
      [0.8, 24],
      [0.9, 36],
    ]);
    expect(energy.toReach(0.75)).toMatchObject({ runs: 2, mean: (20 + 24) / 2 });
    expect(energy.toReach(0.5)).toMatchObject({ runs: 4, mean: (10 + 11 + 12 + 13) / 4 });
    expect(energy.toReach(0.95)).toBeUndefined();
  });
  test("is read from RAPL's files to the microjoule", async () => {
    const folder = mkdtempSync(join(tmpdir(), 'leantune-energy-'));
    const write = (file: string, value: string): void => writeFileSync(join(folder, 'intel-rapl:0', file), `${value}\n`);
    mkdirSync(join(folder, 'intel-rapl:0'));
    write('name', 'package-0');
    write('max_energy_range_uj', '262143328850');
    let counter = 262_142_000_000; // wraps within the third run
    write('energy_uj', `${counter}`);
    const energy = await measureEnergy(
      () => {
        counter = (counter + 700_001) % 262_143_328_850;
        write('energy_uj', `${counter}`);
      },
      { ...quick, sources: [rapl({ folder })] },
    );
    for (const { gross, net } of energy.runs) expect([gross, net]).toEqual([expect.closeTo(0.700001, 9), expect.closeTo(0.700001, 9)]);
    rmSync(folder, { recursive: true });
  });
  test('of a real computation is estimated here, and says so', async () => {
    const spin = (): void => {
      const { user } = process.cpuUsage();
      while (process.cpuUsage().user - user < 30_000);
    };
    const energy = await measureEnergy(spin, { repeats: 3, idleSeconds: 0.1, sources: [processorTime({ tdpWatts: 100, threads: 10 })] });
    expect(energy.gross.mean).toBeGreaterThanOrEqual(0.03 * 10);
    expect(energy.warnings.join()).toContain('"estimate: processor time × 10.0 W" is no measurement');
    expect(String(energy)).toContain('estimated: estimate: processor time');
  });
});

describe('configurations', () => {
  test('run in seeded blocks that hold each once', async () => {
    const { source } = machine(1);
    const order = async (seed: number): Promise<string> => {
      const seen: string[] = [];
      const note = (name: string) => () => void seen.push(name);
      await compareEnergy({ a: note('a'), b: note('b'), c: note('c') }, { ...quick, seed, sources: [source] });
      return seen.join('');
    };
    const [one, again, other] = [await order(1), await order(1), await order(2)];
    for (let block = 0; block < 18; block += 3) expect([...one.slice(block, block + 3)].sort().join('')).toBe('abc');
    expect(again).toBe(one);
    expect(other).not.toBe(one);
  });
  test('are told apart when they differ, and not when they do not', async () => {
    const { source, work } = machine(20);
    let run = 0;
    const noise = (): number => [0, 0.3, -0.2, 0.1, -0.3][run++ % 5]!;
    const comparison = await compareEnergy(
      { low: () => work(10 + noise()), same: { run: () => work(10 + noise()), steps: 4 }, high: () => work(14 + noise()) },
      { ...quick, repeats: 8, sources: [source] },
    );
    const { anova: overall, pairs } = comparison.tests();
    const p = Object.fromEntries(pairs.map(({ first, second, pHolm }) => [`${first}-${second}`, pHolm]));
    expect(overall.p).toBeLessThan(1e-6);
    expect(p['low-high']).toBeLessThan(1e-6);
    expect(p['same-high']).toBeLessThan(1e-6);
    expect(p['low-same']).toBeGreaterThan(0.01);
    const net = (name: string): number[] => comparison.configurations[name]!.runs.map((one: EnergyRun) => one.net);
    expect(overall).toEqual(anova([net('low'), net('same'), net('high')]));
    expect(comparison.tests((one) => one.seconds, 'low').pairs.map(({ first }) => first)).toEqual(['same', 'high']);
    expect(comparison.configurations['same']!.perStep.mean).toBeCloseTo(10 / 4, 0);
    expect(
      String(comparison)
        .split('\n')
        .slice(0, 4)
        .map((line) => line.split(/\s+/)[0]),
    ).toEqual(['', 'low', 'same', 'high']);
  });
});

describe('sources', () => {
  const none = (name: string): EnergySource => ({
    name,
    open: async () => Promise.reject(new EnergyError('no-source', name, 'none here.')),
  });
  test('of a list the first that opens is taken, and the others are reported', async () => {
    const { source } = machine(1);
    const { missing, meters } = await measureEnergy(() => undefined, { ...quick, sources: [[none('gpu')], [none('counter'), source]] });
    expect(missing).toEqual([
      { source: 'gpu', reason: '[gpu] none here.' },
      { source: 'counter', reason: '[counter] none here.' },
    ]);
    expect(meters).toHaveLength(1);
  });
  test('that must open and do not are an error, as is none at all; what was open is closed', async () => {
    const one = machine(1);
    await expect(measureEnergy(() => undefined, { sources: [one.source, none('gpu')] })).rejects.toThrow('[gpu] none here.');
    await expect(measureEnergy(() => undefined, { sources: [[none('a')], [none('b')]] })).rejects.toThrow(
      /no source could be read.*\[a\].*\[b\]/,
    );
    expect(one.open).toBe(0);
  });
  test('are closed when the workload throws, and its error passes', async () => {
    const one = machine(1);
    const workload = async (run: Run): Promise<void> => {
      await run.unmetered(() => undefined);
      throw new RangeError('out of memory');
    };
    await expect(measureEnergy(workload, { ...quick, sources: [one.source] })).rejects.toThrow(new RangeError('out of memory'));
    expect(one.open).toBe(0);
  });
  test('that fail while a run goes on fail the measurement when it has ended', async () => {
    const { source } = machine(1);
    const failing: EnergySource = {
      name: 'failing',
      open: async () => (await source.open()).map((meter) => ({ ...meter, read: () => Promise.reject(new Error('unplugged')) })),
    };
    let ran = 0;
    await expect(measureEnergy(() => void ran++, { ...quick, sources: [failing] })).rejects.toThrow('unplugged');
    expect(ran).toBe(1);
  });
});

test('short runs and few repeats are warned of', async () => {
  const { source } = machine(1);
  const slow: EnergySource = { name: 'slow', open: async () => (await source.open()).map((meter) => ({ ...meter, updateSeconds: 0.1 })) };
  const { warnings } = await measureEnergy(() => undefined, { repeats: 2, idleSeconds: 0.1, sources: [slow] });
  expect(warnings.join('\n')).toMatch(/shorter than 10 updates of "the machine" \(0\.100 s each\): raise calls/);
  expect(warnings.join('\n')).toContain('2 run(s) tell little about the spread');
});

test('options that cannot be are one error that lists them', async () => {
  const options = { repeats: 0, warmup: -1, idleSeconds: 0, restSeconds: Number.NaN, calls: 1.5, samples: 0 };
  await expect(measureEnergy(() => undefined, options)).rejects.toThrow(
    /repeats is 0.*warmup is -1.*idleSeconds is 0.*restSeconds is NaN.*calls of "workload" is 1.5.*samples of "workload" is 0/,
  );
  await expect(compareEnergy({})).rejects.toThrow('no configuration');
});

test('a kilowatt-hour emits what the grid emits', () => {
  expect(kilogramsCO2(3.6e6)).toBeCloseTo(gridIntensity.world / 1000, 12);
  expect(kilogramsCO2(3.6e6, { grid: 'france', pue: 1.5 })).toBeCloseTo(0.084, 12);
  expect(kilogramsCO2(7.2e6, { grid: 100 })).toBeCloseTo(0.2, 12);
  expect(() => kilogramsCO2(1, { grid: 'atlantis' as 'world', pue: 0.5 })).toThrow(
    /grid is atlantis, expected grams per kWh or one of world.*pue is 0.5/,
  );
});

test('a report is plain data', async () => {
  const { source } = machine(1);
  const energy = await measureEnergy(() => undefined, { ...quick, sources: [source] });
  expect(Object.keys(JSON.parse(JSON.stringify(energy)))).toEqual([
    'meters',
    'missing',
    'runs',
    'seconds',
    'gross',
    'net',
    'perStep',
    'kilogramsCO2',
    'warnings',
  ]);
});
