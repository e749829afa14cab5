/** Hands the geometry of a convolution to a shader. */
import * as tf from '@tensorflow/tfjs-core';
import type { Attrs } from '../backend.ts';
import type { Uniform } from '../recording/dispatch.ts';

export type Window = tf.backend_util.Conv2DInfo;
type Shape4D = [number, number, number, number];

/** Of a 2-D convolution whose tensors are channels-last. */
export function convInfo2d(inShape: readonly number[], filterShape: readonly number[], attrs: Attrs, depthwise = false): Window {
  const { strides, dilations = 1, pad, dimRoundingMode } = attrs;
  return tf.backend_util.computeConv2DInfo(inShape as Shape4D, filterShape as Shape4D, strides, dilations, pad, dimRoundingMode, depthwise);
}

/** Sizes as u32; what is added to and multiplied with coordinates, which may be negative, as i32. */
export function windowUniforms(c: Window): { readonly [name: string]: Uniform } {
  return {
    inHeight: ['u32', c.inHeight],
    inWidth: ['u32', c.inWidth],
    inChannels: ['u32', c.inChannels],
    outHeight: ['u32', c.outHeight],
    outWidth: ['u32', c.outWidth],
    outChannels: ['u32', c.outChannels],
    filterWidth: ['u32', c.filterWidth],
    taps: ['u32', c.filterHeight * c.filterWidth],
    strideHeight: ['i32', c.strideHeight],
    strideWidth: ['i32', c.strideWidth],
    dilationHeight: ['i32', c.dilationHeight],
    dilationWidth: ['i32', c.dilationWidth],
    padTop: ['i32', c.padInfo.top],
    padLeft: ['i32', c.padInfo.left],
  };
}
