/** Each source against what it reads: files as Linux has them, a program that prints what nvidia-smi prints, a library with NVML's symbols. */
import { execFileSync, spawnSync } from 'node:child_process';
import { chmodSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { EnergyError, nvidiaSmi, nvml, processorTime, rapl } from '@leantune/energy';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';

const folder = mkdtempSync(join(tmpdir(), 'leantune-energy-'));
chmodSync(folder, 0o755);
afterAll(() => rmSync(folder, { recursive: true }));

/** The error of what rejects. */
async function failure(promise: Promise<unknown>): Promise<EnergyError> {
  const error = await promise.then(
    () => undefined,
    (reason) => reason,
  );
  expect(EnergyError.is(error)).toBe(true);
  return error;
}

describe('rapl', () => {
  const zones = join(folder, 'powercap');
  const write = (zone: string, file: string, value: string | number): void => {
    mkdirSync(join(zones, zone), { recursive: true });
    writeFileSync(join(zones, zone, file), `${value}\n`);
  };
  beforeAll(() => {
    // A desktop: one package with cores, uncore and DRAM, and the whole board; the same package again through MMIO.
    for (const [zone, name, joules] of [
      ['intel-rapl:0', 'package-0', 262_143],
      ['intel-rapl:0:0', 'core', 11],
      ['intel-rapl:0:1', 'uncore', 12],
      ['intel-rapl:0:2', 'dram', 13],
      ['intel-rapl:1', 'psys', 14],
      ['intel-rapl-mmio:0', 'package-0', 15],
    ] as const) {
      write(zone, 'name', name);
      write(zone, 'energy_uj', joules * 1e6);
      write(zone, 'max_energy_range_uj', 262_143_328_850);
    }
    write('intel-rapl', 'enabled', 1);
  });

  test('reads packages and DRAM, and nothing twice', async () => {
    const meters = await rapl({ folder: zones }).open();
    expect(meters.map(({ name, part, estimated }) => [name, part, estimated])).toEqual([
      ['package-0 (intel-rapl:0)', 'cpu', false],
      ['dram (intel-rapl:0:2)', 'memory', false],
    ]);
    write('intel-rapl:0:2', 'energy_uj', 13e6 + 2_500_000);
    expect(await meters[1]!.read()).toBe(2.5);
    for (const meter of meters) await meter.close();
  });
  test('goes on where the counter starts again at 0', async () => {
    write('intel-rapl:0', 'energy_uj', 262_143_000_000);
    const [meter] = await rapl({ folder: zones }).open();
    write('intel-rapl:0', 'energy_uj', 262_143_300_000);
    expect(await meter!.read()).toBeCloseTo(0.3, 9);
    write('intel-rapl:0', 'energy_uj', 1_000_000);
    expect(await meter!.read()).toBeCloseTo(0.32885 + 1, 9);
    write('intel-rapl:0', 'energy_uj', 500_000);
    expect(await meter!.read()).toBeCloseTo(0.32885 + 262_143.32885 + 0.5, 6);
    await meter!.close();
  });
  test('takes its reading at the call, not when it is awaited', async () => {
    write('intel-rapl:0', 'energy_uj', 0);
    const [meter] = await rapl({ folder: zones }).open();
    write('intel-rapl:0', 'energy_uj', 7e6);
    const reading = meter!.read();
    write('intel-rapl:0', 'energy_uj', 9e6);
    expect(await reading).toBe(7);
    await meter!.close();
  });
  test('that may not be read says the command that allows it', async () => {
    chmodSync(join(zones, 'intel-rapl:0', 'energy_uj'), 0o400);
    const { seteuid, geteuid } = process;
    const root = geteuid!() === 0;
    if (root)
      seteuid!(65_534); // nobody: root may read everything
    else chmodSync(join(zones, 'intel-rapl:0', 'energy_uj'), 0);
    const error = await failure(rapl({ folder: zones }).open());
    if (root) seteuid!(0);
    chmodSync(join(zones, 'intel-rapl:0', 'energy_uj'), 0o644);
    expect(error.code).toBe('not-permitted');
    expect(error.message).toContain(`sudo chmod a+r ${zones}/intel-rapl:*/energy_uj`);
  });
  test('that is not there says why that may be', async () => {
    const error = await failure(rapl({ folder: join(folder, 'nowhere') }).open());
    expect(error.code).toBe('no-source');
    expect(error.message).toContain('sudo modprobe intel_rapl_msr');
  });
});

describe('nvidia-smi', () => {
  /** A program of that name which prints what it prints; its body gets `field` and, for a recording, `line(gpu, watts)` every 20 ms. */
  function program(name: string, body: string): string {
    const path = join(folder, name);
    writeFileSync(
      path,
      `#!${process.execPath}
const args = process.argv.slice(2).join(' ');
const field = /power\\.draw(\\.instant)?/.exec(args)[0];
const loop = Number(/--loop-ms=(\\d+)/.exec(args)?.[1]);
const two = (n, width = 2) => String(n).padStart(width, '0');
const stamp = (d) => d.getFullYear() + '/' + two(d.getMonth() + 1) + '/' + two(d.getDate()) + ' ' + two(d.getHours()) + ':' + two(d.getMinutes()) + ':' + two(d.getSeconds()) + '.' + two(d.getMilliseconds(), 3);
const line = (gpu, watts) => require('node:fs').writeSync(1, stamp(new Date()) + ', ' + gpu + ', ' + watts.toFixed(2) + '\\n');
const refuse = () => { console.log('Field "' + field + '" is not a valid field to query.\\n'); process.exit(2); };
${body}
`,
    );
    chmodSync(path, 0o755);
    return path;
  }
  const steady = `
if (!loop) console.log('0, NVIDIA H100 PCIe, 71.23\\n1, NVIDIA H100 PCIe, 65.00');
else setInterval(() => { line(0, 100); line(1, 50); }, loop);`;

  test('meters every GPU by the clock of its lines', async () => {
    const meters = await nvidiaSmi({ command: program('smi-two', steady) }).open();
    expect(meters.map(({ name, part, estimated }) => [name, part, estimated])).toEqual([
      ['GPU 0 NVIDIA H100 PCIe (sampled)', 'gpu', false],
      ['GPU 1 NVIDIA H100 PCIe (sampled)', 'gpu', false],
    ]);
    const first = await Promise.all(meters.map((meter) => meter.read()));
    const second = await Promise.all(meters.map((meter) => meter.read()));
    const [a, b] = second.map((joules, i) => joules - first[i]!);
    expect(a).toBeGreaterThan(0);
    expect(a! / b!).toBeCloseTo(2, 1); // 100 W and 50 W over the same time
    for (const meter of meters) await meter.close();
  });
  test('goes on sampling while this thread is blocked', async () => {
    // 40 W until the file exists, 240 W after it
    const flag = join(folder, 'busy');
    const body = `const busy = () => require('node:fs').existsSync(${JSON.stringify(flag)});
if (!loop) console.log('0, NVIDIA A100-SXM4-40GB, 40.00'); else setInterval(() => line(0, busy() ? 240 : 40), loop);`;
    const [meter] = await nvidiaSmi({ command: program('smi-step', body) }).open();
    const before = meter!.read();
    const started = Date.now();
    writeFileSync(flag, '');
    while (Date.now() - started < 2000); // as training on wasm does
    const after = meter!.read();
    const seconds = (Date.now() - started) / 1000;
    const joules = (await after) - (await before);
    // With samples the power is 240 W soon after the start; without, a line from 40 W to 240 W, whose mean is 140 W.
    expect(joules / seconds).toBeGreaterThan(150);
    expect(joules / seconds).toBeLessThan(260);
    await meter!.close();
  });
  test('asks an old driver for the field that it knows', async () => {
    const old = `if (field === 'power.draw.instant') refuse();
if (!loop) console.log('0, Tesla V100-PCIE-16GB, 25.10'); else setInterval(() => line(0, 25.1), loop);`;
    const [meter] = await nvidiaSmi({ command: program('smi-old', old) }).open();
    expect(meter!.name).toBe('GPU 0 Tesla V100-PCIE-16GB (sampled)');
    await meter!.close();
  });
  test.each([
    ['a GPU without a sensor', `console.log('0, NVIDIA GeForce GT 710, [N/A]')`, 'no power sensor in GPU 0 NVIDIA GeForce GT 710 ([N/A])'],
    [
      'a driver that is not there',
      `console.log('NVIDIA-SMI has failed because it couldn\\'t communicate with the NVIDIA driver.'); process.exit(9)`,
      "couldn't communicate with the NVIDIA driver",
    ],
    ['a driver that knows neither field', 'refuse()', 'knows neither power.draw.instant nor power.draw'],
  ])('says what is wrong with %s', async (_, body, message) => {
    const error = await failure(nvidiaSmi({ command: program('smi-bad', body) }).open());
    expect(error.code).toBe('no-source');
    expect(error.message).toContain(message);
  });
  test('that is not installed, or ends while it samples, is an error', async () => {
    expect((await failure(nvidiaSmi({ command: join(folder, 'no-such-program') }).open())).code).toBe('no-source');
    const dies = `if (!loop) console.log('0, NVIDIA L4, 30.00'); else { line(0, 30); line(0, 31); setTimeout(() => process.exit(15), 300); }`;
    const [meter] = await nvidiaSmi({ command: program('smi-dies', dies) }).open();
    const error = await failure(new Promise((resolve) => setTimeout(resolve, 600)).then(() => meter!.read()));
    expect(error.message).toContain('ended with 15');
    await meter!.close();
    expect(() => nvidiaSmi({ everyMs: 0 })).toThrow('everyMs is 0');
  });
  test('leaves no program and no file behind', async () => {
    const command = program(
      'smi-clean',
      `require('node:fs').appendFileSync(${JSON.stringify(join(folder, 'pids'))}, process.pid + ' ');${steady}`,
    );
    const meters = await nvidiaSmi({ command }).open();
    await Promise.all(meters.map((meter) => meter.close()));
    const pid = Number(readFileSync(join(folder, 'pids'), 'utf8').trim().split(' ').at(-1));
    await expect.poll(() => spawnSync('kill', ['-0', `${pid}`]).status).not.toBe(0);
  });
});

const compiler = ['c++', 'g++', 'clang++'].find((name) => spawnSync(name, ['--version']).status === 0);
if (process.env['CI'] && !compiler) throw new Error('[energy] no C++ compiler: the tests of NVML need one.');
describe.skipIf(!compiler || process.platform !== 'linux')('nvml', () => {
  /** A library with the signatures of nvml.h; its counter moves by 1,500 mJ a reading, beyond what 32 bits hold. */
  function library(name: string, energy = '*mj = 5000000000ULL + 1500ULL * reads++; return 0;'): string {
    const [source, path] = [join(folder, `${name}.cc`), join(folder, `lib${name}.so`)];
    writeFileSync(
      source,
      `#include <string.h>
static unsigned long long reads = 0; static int devices[2];
extern "C" {
typedef int *nvmlDevice_t;
int nvmlInit_v2() { return 0; }
int nvmlShutdown() { return 0; }
int nvmlDeviceGetCount_v2(unsigned *count) { *count = 1; return 0; }
int nvmlDeviceGetHandleByIndex_v2(unsigned index, nvmlDevice_t *device) { *device = &devices[index]; return index > 1 ? 2 : 0; }
int nvmlDeviceGetName(nvmlDevice_t device, char *name, unsigned length) { strncpy(name, device == &devices[0] ? "NVIDIA H100 PCIe" : "?", length); return 0; }
int nvmlDeviceGetTotalEnergyConsumption(nvmlDevice_t device, unsigned long long *mj) { if (device != &devices[0]) return 2; ${energy} }
const char *nvmlErrorString(int code) { return code == 3 ? "Not Supported" : "Invalid Argument"; }
}`,
    );
    execFileSync(compiler!, ['-shared', '-fPIC', '-o', path, source]);
    return path;
  }
  test('reads the counter of 64 bits through its C interface', async () => {
    const meters = await nvml({ library: library('nvml') }).open();
    expect(meters.map(({ name, part, estimated }) => [name, part, estimated])).toEqual([['GPU 0 NVIDIA H100 PCIe', 'gpu', false]]);
    expect(await meters[0]!.read()).toBe(1.5);
    expect(await meters[0]!.read()).toBe(3);
    await meters[0]!.close();
  });
  test('says in the words of NVML what it cannot do', async () => {
    const error = await failure(nvml({ library: library('nvml-old', 'return 3;') }).open());
    expect(error.code).toBe('no-source');
    expect(error.message).toBe('[nvml] the energy counter of GPU 0: Not Supported. Use nvidiaSmi() instead.');
  });
  test('that cannot be loaded is an error', async () => {
    const error = await failure(nvml({ library: join(folder, 'libnothing.so') }).open());
    expect(error.message).toContain('could not be loaded');
  });
});

describe('processor time', () => {
  test('is an estimate by name: processor time of this process at the share of a thread', async () => {
    const [meter] = await processorTime({ tdpWatts: 120, threads: 8 }).open();
    expect(meter).toMatchObject({ name: 'estimate: processor time × 15.0 W', estimated: true, part: 'cpu' });
    const before = process.cpuUsage();
    const first = await meter!.read();
    while (process.cpuUsage(before).user < 200_000);
    const joules = (await meter!.read()) - first;
    const { user, system } = process.cpuUsage(before);
    expect(joules).toBeGreaterThanOrEqual(0.2 * 15);
    expect(joules).toBeLessThanOrEqual(((user + system) / 1e6) * 15);
  });
  test('refuses powers that are none', () => {
    expect(() => processorTime({ tdpWatts: 0, threads: Number.NaN })).toThrow('tdpWatts is 0, threads is NaN, expected numbers above 0');
  });
});
