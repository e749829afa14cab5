/**
 * Keeps what backward reads as bfloat16, on the CPU. A lossy technique, to hold the contract against.
 *
 *   x̂ = x (1 + ε), |ε| <= 2⁻⁸        the upper 16 of 32 bits, rounded
 */
import type { Codec, Technique } from '@leantune/core';
import * as tf from '@tensorflow/tfjs-core';
import { deepNet } from '../models/index.ts';
import type { Subject } from '../subject.ts';

export function roundTrip(): Technique {
  return { name: 'round-trip', options: {}, attach: () => ({ keep: () => bfloat16, detach() {} }) };
}

const bfloat16: Codec = {
  name: 'bfloat16',
  encode(x) {
    const bits = new Uint32Array(Float32Array.from(x.dataSync()).buffer); // not always floats: cpu's cast from int32 keeps the integers
    const halves = Uint16Array.from(bits, (b) => Math.min(b + 0x7fff + ((b >>> 16) & 1), 0xffffffff) >>> 16);
    return {
      bytes: halves.byteLength,
      decode: () => tf.tensor(new Float32Array(Uint32Array.from(halves, (h) => h << 16).buffer), x.shape),
      dispose() {},
    };
  },
};

const [DEPTH, WIDTH, BATCH] = [24, 16, 64];

export const roundTripSubject: Subject = {
  make: () => roundTrip(),
  factories: { 'round-trip': roundTrip },
  backends: {
    rel: 1e-3,
    because: 'where two backends differ in the last bit, a value may round to the other neighbour, 2⁻⁸ away; a step moves weights little',
  },
  gradients: { rel: 0.03, because: 'each kept value is off by at most 2⁻⁸, and a few of them multiply' },
  saves: {
    model: () => deepNet({ depth: DEPTH, width: WIDTH, batch: BATCH }),
    kept: 2 * BATCH * WIDTH * (DEPTH + 1),
    peak: 0.65,
    because: 'the input and each of DEPTH outputs wait once, in 2 bytes a value instead of 4; two more values are there in full',
  },
};
