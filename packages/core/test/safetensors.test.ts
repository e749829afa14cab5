import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { FinetuneError } from '../src/index.ts';
import { floatsOf, readSafetensors, readSafetensorsHeader, type StoredTensor, writeSafetensors } from '../src/safetensors/index.ts';

/** Written by safetensors 0.8 for PyTorch: packages/transformers/test/fixtures/make.py. */
const fixture = new Uint8Array(readFileSync(join(import.meta.dirname, 'fixtures/dtypes.safetensors')));

function* pieces(bytes: Uint8Array, size: number): Generator<Uint8Array> {
  for (let at = 0; at < bytes.length; at += size) yield bytes.subarray(at, at + size);
}

async function readAll(bytes: Uint8Array, size = 7, fileBytes?: number): Promise<Map<string, StoredTensor>> {
  const found = new Map<string, StoredTensor>();
  for await (const tensor of readSafetensors(pieces(bytes, size), { file: 'x.safetensors', fileBytes })) found.set(tensor.name, tensor);
  return found;
}

/** A file of any header, with `bytes` behind it. */
function fileOf(header: unknown, bytes: number, length?: number): Uint8Array {
  const json = new TextEncoder().encode(typeof header === 'string' ? header : JSON.stringify(header));
  const file = new Uint8Array(8 + json.length + bytes);
  new DataView(file.buffer).setBigUint64(0, BigInt(length ?? json.length), true);
  file.set(json, 8);
  return file;
}

describe('reading', () => {
  test.each([1, 7, 1000])(
    'files of PyTorch in chunks of %i bytes: float16 and bfloat16 become float32 as PyTorch has them',
    async (size) => {
      const tensors = await readAll(fixture, size, fixture.length);
      expect([...tensors.keys()].sort()).toEqual(['bf16', 'bf16.as_f32', 'f16', 'f16.as_f32', 'f32', 'i64', 'u8']);
      for (const half of ['f16', 'bf16']) {
        expect(tensors.get(half)!.shape).toEqual([4, 5]);
        expect([...floatsOf(tensors.get(half)!)]).toEqual([...floatsOf(tensors.get(`${half}.as_f32`)!)]);
      }
      expect([...floatsOf(tensors.get('f32')!)].slice(12, 14)).toEqual([0, -0]);
      expect(() => floatsOf(tensors.get('i64')!)).toThrow(/"i64": got dtype I64; expected F32, F16 or BF16/);
    },
  );

  test('the header alone does not wait for the rest', async () => {
    let asked = 0;
    function* counted() {
      for (const piece of pieces(fixture, 400)) {
        asked++;
        yield piece;
      }
    }
    const { tensors, metadata } = await readSafetensorsHeader(counted());
    expect(tensors.length).toBe(7);
    expect(metadata).toEqual({ format: 'pt' });
    expect(asked).toBeLessThan(Math.ceil(fixture.length / 400));
  });

  test('tensors that are not wanted are passed over', async () => {
    const names: string[] = [];
    for await (const { name } of readSafetensors([fixture], { wanted: (t) => t.name === 'u8' })) names.push(name);
    expect(names).toEqual(['u8']);
  });
});

describe('a file that is not to be trusted', () => {
  const entry = (dtype: unknown, shape: unknown, offsets: unknown) => ({ dtype, shape, data_offsets: offsets });
  const huge = Number.MAX_SAFE_INTEGER;
  const cases: [what: string, file: Uint8Array, message: RegExp][] = [
    ['is empty', new Uint8Array(0), /got 0 bytes; expected a header length/],
    ['has a header longer than the file', fileOf('{}', 0, 2 ** 40), /got a header of 1099511627776 bytes; expected 2 to/],
    ['is cut inside the header', fileOf('{"a":', 0, 50), /(ends after|got a header)/],
    ['has no JSON', fileOf('{{', 0), /the header is not JSON/],
    ['has a list', fileOf('[]', 0), /not a JSON object/],
    ['has a dtype of nobody', fileOf({ a: entry('F12', [1], [0, 4]) }, 4), /"a" has dtype "F12"; expected one of/],
    ['names a method as dtype', fileOf({ a: entry('toString', [1], [0, 4]) }, 4), /"a" has dtype "toString"/],
    ['has a huge shape', fileOf({ a: entry('F32', [huge, huge], [0, 4]) }, 4), /takes .* bytes; its data_offsets \[0,4\] have 4/],
    ['has a negative dimension', fileOf({ a: entry('F32', [-1], [0, 4]) }, 4), /shape \[-1\]; expected a list of whole numbers/],
    ['has offsets backwards', fileOf({ a: entry('F32', [1], [4, 0]) }, 4), /takes 4 bytes; its data_offsets \[4,0\] have -4/],
    ['overlaps', fileOf({ a: entry('F32', [2], [0, 8]), b: entry('F32', [1], [4, 8]) }, 8), /"b" begins at 4 and overlaps what ends at 8/],
    ['has holes', fileOf({ a: entry('F32', [1], [0, 4]), b: entry('F32', [1], [8, 12]) }, 12), /"b" begins at 8 and leaves a hole/],
  ];
  test.each(cases)('that %s is refused before anything is read', async (_, file, message) => {
    await expect(readAll(file, 1000, file.length)).rejects.toThrow(message);
    const error = await readAll(file, 1000, file.length).catch((e) => e);
    expect(FinetuneError.is(error) && error.code).toBe('bad-file');
  });

  test('all faults of a header come in one message', async () => {
    const file = fileOf({ a: entry('F12', [1], [0, 4]), b: entry('F32', [1.5], [0, 4]) }, 4);
    await expect(readAll(file)).rejects.toThrow(/2 fault\(s\).*"a" has dtype.*"b" has shape/s);
  });

  test('that is cut short is refused at once where its size is known, and at the tensor that lacks bytes where not', async () => {
    const cut = fixture.subarray(0, fixture.length - 5);
    await expect(readAll(cut, 64, cut.length)).rejects.toThrow(/the tensors take \d+ bytes, and the file has \d+/);
    await expect(readAll(cut, 64)).rejects.toThrow(/ends inside "/);
  });

  test('that loses any single byte of its header never gives wrong values silently', async () => {
    const whole = await readAll(fixture);
    const header = 8 + Number(new DataView(fixture.buffer, fixture.byteOffset).getBigUint64(0, true));
    for (let at = 0; at < header; at += 3) {
      const bad = fixture.slice();
      bad[at] = bad[at]! ^ 0x11;
      const read = await readAll(bad, 1000, bad.length).catch((error) => {
        expect(FinetuneError.is(error)).toBe(true);
        return undefined;
      });
      for (const [name, tensor] of read ?? []) if (whole.has(name)) expect(tensor.end - tensor.begin).toBe(tensor.bytes.length);
    }
  });
});

describe('writing', () => {
  const values = Float32Array.from({ length: 4096 }, (_, i) => Math.sin(i) * 2 ** ((i % 60) - 30));

  test.each(['F32', 'F16', 'BF16'] as const)('%s reads back, rounded to nearest', async (dtype) => {
    const file = writeSafetensors(
      { a: { shape: [64, 64], values }, none: { shape: [0], values: new Float32Array(0) } },
      { dtype, metadata: { format: 'pt' } },
    );
    const tensors = await readAll(file, 100, file.length);
    const read = floatsOf(tensors.get('a')!);
    // half the distance of two neighbours: 11 and 8 bits of fraction; below 2^-14 a float16 has a fixed distance
    const half = { F32: 0, F16: 2 ** -11, BF16: 2 ** -8 }[dtype];
    const floor = dtype === 'F16' ? 2 ** -25 : 0;
    for (const [i, x] of values.entries()) {
      if (dtype === 'F16' && Math.abs(x) > 65504) continue;
      expect(Math.abs(read[i]! - x)).toBeLessThanOrEqual(Math.max(half * Math.abs(x), floor));
    }
    expect(tensors.get('none')!.shape).toEqual([0]);
  });

  test.each(['F16', 'BF16'] as const)('%s: what it holds exactly stays, with its sign, subnormals, infinities and NaN', async (dtype) => {
    const held = await readAll(fixture);
    const exact = floatsOf(held.get(dtype.toLowerCase())!);
    const back = await readAll(writeSafetensors({ a: { shape: [20], values: exact } }, { dtype }));
    expect([...floatsOf(back.get('a')!)]).toEqual([...exact]);
    const beyond = Float32Array.of(1e39, -1e39, 7e4);
    const over = await readAll(writeSafetensors({ a: { shape: [3], values: beyond } }, { dtype }));
    expect([...floatsOf(over.get('a')!)].slice(0, 2)).toEqual([Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY]);
  });
});
