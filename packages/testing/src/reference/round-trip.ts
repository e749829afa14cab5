/**
 * Keeps what backward reads as bfloat16, on the CPU. A lossy technique, to hold the contract against.
 *
 *   x̂ = x (1 + ε), |ε| <= 2⁻⁸        the upper 16 of 32 bits, rounded
 */
import type { Codec, Technique } from '@leantune/core';
import * as tf from '@tensorflow/tfjs-core';
import { denseNet } from '../models/index.ts';
import type { Subject } from '../subject.ts';

export function roundTrip(): Technique {
  return { name: 'round-trip', options: {}, attach: () => ({ keep: () => bfloat16, detach() {} }) };
}

const bfloat16: Codec = {
  name: 'bfloat16',
  encode(x) {
    const bits = new Uint32Array((x.dataSync<'float32'>()).slice().buffer);
    const halves = Uint16Array.from(bits, (b) => Math.min(b + 0x7fff + ((b >>> 16) & 1), 0xffffffff) >>> 16);
    return {
      bytes: halves.byteLength,
      decode: () => tf.tensor(new Float32Array(Uint32Array.from(halves, (h) => h << 16).buffer), x.shape),
      dispose() {},
    };
  },
};

export const roundTripSubject: Subject = {
  make: () => roundTrip(),
  factories: { 'round-trip': roundTrip },
  gradients: { rel: 0.03, because: 'each kept value is off by at most 2⁻⁸, and a few of them multiply' },
  saves: {
    model: denseNet,
    peak: 1,
    kept: 0,
    because: 'half of the bytes of every activation',
  },
};
