/**
 * The native half of the kernels: `native/*.c`, compiled to WebAssembly, running inside the heap of tfjs-backend-wasm so
 * that it reads and writes tensors where they lie. It keeps one block of that heap: its stack and its scratch memory.
 */
import type { WasmBackend } from './backend.ts';

type Pointer = number;
type Compare = (a: Pointer, b: Pointer, out: Pointer, n: number, bStep: number) => void;
type Unary = (x: Pointer, out: Pointer, n: number) => void;
type UnaryGradient = (x: Pointer, dy: Pointer, out: Pointer, n: number) => void;

/** Sizes and options of native/attention.c. */
export type AttentionTask = readonly [
  n: number,
  queries: number,
  keys: number,
  heads: number,
  kvHeads: number,
  size: number,
  causal: boolean,
  window: number,
  rows: number,
  scale: number,
  mask: Pointer,
];

/** Signatures of native/*.c; `scratch` carries the Window where one is needed. */
interface Exports {
  readonly __stack_pointer: WebAssembly.Global;
  scratchBytes(): number;
  shapeOffset(scratch: Pointer): Pointer;
  repsOffset(scratch: Pointer): Pointer;
  matMul(a: Pointer, b: Pointer, c: Pointer, m: number, n: number, k: number, transA: boolean, transB: boolean, scratch: Pointer): void;
  matMulInt(a: Pointer, b: Pointer, c: Pointer, m: number, n: number, k: number, transA: boolean, transB: boolean): void;
  conv(x: Pointer, w: Pointer, y: Pointer, scratch: Pointer): void;
  convInputGradient(dx: Pointer, w: Pointer, dy: Pointer, scratch: Pointer): void;
  convFilterGradient(x: Pointer, dw: Pointer, dy: Pointer, scratch: Pointer): void;
  depthwiseInputGradient(dx: Pointer, w: Pointer, dy: Pointer, scratch: Pointer): void;
  depthwiseFilterGradient(x: Pointer, dw: Pointer, dy: Pointer, scratch: Pointer): void;
  maxPoolGradient(x: Pointer, dy: Pointer, dx: Pointer, lastTie: boolean, scratch: Pointer): void;
  avgPoolGradient(dy: Pointer, dx: Pointer, countAll: boolean, scratch: Pointer): void;
  dilationGradient(x: Pointer, w: Pointer, dy: Pointer, dx: Pointer, dw: Pointer, scratch: Pointer): void;
  copyRows(x: Pointer, out: Pointer, rows: number, stride: number, bytes: number): void;
  gather(x: Pointer, indices: Pointer, out: Pointer, outer: number, axisSize: number, count: number, sliceBytes: number): number;
  segmentSum(x: Pointer, ids: Pointer, out: Pointer, rows: number, width: number, segments: number): void;
  segmentSumInt(x: Pointer, ids: Pointer, out: Pointer, rows: number, width: number, segments: number): void;
  transpose(x: Pointer, out: Pointer, batch: number, rows: number, columns: number): void;
  clip(x: Pointer, out: Pointer, n: number, low: number, high: number): void;
  sumAxis(x: Pointer, out: Pointer, outer: number, reduce: number, inner: number, divisor: number): void;
  tile(x: Pointer, out: Pointer, rank: number, elementBytes: number, scratch: Pointer): void;
  attention(
    ...given: [
      ...task: AttentionTask,
      ...[q: Pointer, k: Pointer, v: Pointer],
      ...[o: Pointer, top: Pointer, sum: Pointer],
      ...[scores: Pointer, scratch: Pointer],
    ]
  ): void;
  attentionGradient(
    ...given: [
      ...task: AttentionTask,
      ...[q: Pointer, k: Pointer, v: Pointer, o: Pointer, lse: Pointer, dOut: Pointer],
      ...[dq: Pointer, dk: Pointer, dv: Pointer],
      ...[scores: Pointer, slopes: Pointer, scratch: Pointer],
    ]
  ): void;
  batchNorm(
    x: Pointer,
    mean: Pointer,
    variance: Pointer,
    scale: Pointer,
    offset: Pointer,
    y: Pointer,
    rows: number,
    channels: number,
    epsilon: number,
    most: number,
    scratch: Pointer,
  ): void;
  batchNormMoments(
    x: Pointer,
    mean: Pointer,
    variance: Pointer,
    meanBefore: Pointer,
    varianceBefore: Pointer,
    meanAfter: Pointer,
    varianceAfter: Pointer,
    rows: number,
    channels: number,
    momentum: number,
  ): void;
  batchNormGradient(
    dy: Pointer,
    x: Pointer,
    mean: Pointer,
    variance: Pointer,
    scale: Pointer,
    offset: Pointer,
    dx: Pointer,
    dscale: Pointer,
    doffset: Pointer,
    rows: number,
    channels: number,
    epsilon: number,
    most: number,
    scratch: Pointer,
  ): void;
  addRow(a: Pointer, b: Pointer, out: Pointer, rows: number, columns: number): void;
  subtractRow(a: Pointer, b: Pointer, out: Pointer, rows: number, columns: number): void;
  multiplyRow(a: Pointer, b: Pointer, out: Pointer, rows: number, columns: number): void;
  exp: Unary;
  tanh: Unary;
  erf: Unary;
  gelu: Unary;
  geluTanh: Unary;
  geluGrad: UnaryGradient;
  geluTanhGrad: UnaryGradient;
  maximum: Compare;
  minimum: Compare;
  equal: Compare;
  notEqual: Compare;
  less: Compare;
  lessEqual: Compare;
  greater: Compare;
  greaterEqual: Compare;
  and(a: Pointer, b: Pointer, out: Pointer, n: number): void;
  not(a: Pointer, out: Pointer, n: number): void;
  where(mask: Pointer, a: Pointer, b: Pointer, out: Pointer, n: number): void;
  encodeSteps(x: Pointer, out: Pointer, n: number, bits: number, borders: Pointer, deltas: Pointer, count: number): void;
  encodeStepsByHalves(x: Pointer, out: Pointer, n: number, borders: Pointer, codes: Pointer, count: number): void;
  decodeSteps(codes: Pointer, dy: Pointer, out: Pointer, n: number, bits: number, levels: Pointer): void;
  quantizeRows(x: Pointer, out: Pointer, n: number, group: number, bits: number, seed: number): void;
  dequantizeRows(codes: Pointer, out: Pointer, n: number, group: number, bits: number): void;
  encodeHalf(x: Pointer, out: Pointer, n: number, brain: boolean): void;
  decodeHalf(codes: Pointer, out: Pointer, n: number, brain: boolean): void;
  roundHalf(x: Pointer, out: Pointer, n: number, brain: boolean): void;
  softmaxGradRows(codes: Pointer, dy: Pointer, dx: Pointer, n: number, group: number, bits: number): void;
  normGradRows(
    codes: Pointer,
    dy: Pointer,
    mean: Pointer,
    rstd: Pointer,
    scale: Pointer,
    dx: Pointer,
    n: number,
    group: number,
    bits: number,
  ): void;
  maxPoolIndex(x: Pointer, out: Pointer, bits: number, scratch: Pointer): void;
  maxPoolIndexGradient(codes: Pointer, dy: Pointer, dx: Pointer, bits: number, scratch: Pointer): void;
  addBias(out: Pointer, bias: Pointer, rows: number, width: number, activation: number): void;
}

/** The kernels, and where in their scratch memory `tile` finds the shape and the repetitions, and codes their tables. */
export interface Native extends Omit<Exports, 'shapeOffset' | 'repsOffset'> {
  readonly scratch: Pointer;
  readonly shapeOffset: Pointer;
  readonly repsOffset: Pointer;
}

const STACK_BYTES = 64 * 1024;
const instances = new WeakMap<object, Native>();
const modules = new Map<boolean, WebAssembly.Module>();
let loading: Promise<void> | undefined;

/** Chooses and compiles the module for this engine. Once this is over, kernels run synchronously. */
export function loadNative(): Promise<void> {
  loading ??= compile();
  return loading;
}

async function compile(): Promise<void> {
  let binary = decode((await import('./native-simd.ts')).simd);
  if (!WebAssembly.validate(binary)) binary = decode((await import('./native-plain.ts')).plain);
  for (const shared of [false, true]) modules.set(shared, await WebAssembly.compile(withMemory(binary, shared)));
}

/** Readies the heap of `backend`. Without it the first kernel does, which some browsers forbid on the main thread. */
export async function startNative(backend: WasmBackend): Promise<void> {
  if (instances.has(backend)) return;
  const { module, memory } = parts(backend);
  start(backend, await WebAssembly.instantiate(module, { env: { memory } }));
}

/** The native kernels in the heap of `backend`. */
export function native(backend: WasmBackend): Native {
  const known = instances.get(backend);
  if (known) return known;
  const { module, memory } = parts(backend);
  return start(backend, new WebAssembly.Instance(module, { env: { memory } }));
}

function parts({ wasm }: WasmBackend): { module: WebAssembly.Module; memory: WebAssembly.Memory } {
  const memory = wasm.asm?.memory ?? wasm.wasmMemory;
  const module = memory && modules.get(!(memory.buffer instanceof ArrayBuffer));
  if (memory && module) return { module, memory };
  throw new Error('[wasm] the kernels are not loaded; await registerWasmKernels() first, with @tensorflow/tfjs-backend-wasm ^4.22');
}

function start(backend: WasmBackend, instance: WebAssembly.Instance): Native {
  const exports = instance.exports as unknown as Exports;
  const block = backend.wasm._malloc(STACK_BYTES + 16 + exports.scratchBytes());
  const scratch = (block + STACK_BYTES + 15) & -16; // the stack grows down from where the scratch memory begins
  exports.__stack_pointer.value = scratch;
  const started: Native = {
    ...exports,
    scratch: scratch >>> 0,
    shapeOffset: exports.shapeOffset(scratch) >>> 0,
    repsOffset: exports.repsOffset(scratch) >>> 0,
  };
  instances.set(backend, started);
  return started;
}

const decode = (base64: string): Uint8Array<ArrayBuffer> => Uint8Array.from(atob(base64), (character) => character.charCodeAt(0));

/** The import `env.memory` says whether the memory is shared in the byte of flags that follows its name and kind. */
function withMemory(bytes: Uint8Array<ArrayBuffer>, shared: boolean): Uint8Array<ArrayBuffer> {
  const name = [...'\u0006memory\u0002'].map((character) => character.charCodeAt(0));
  const at = bytes.findIndex((_, start) => name.every((code, i) => bytes[start + i] === code));
  const patched = bytes.slice();
  patched[at + name.length] = shared ? 3 : 1;
  return patched;
}
