/** Hands the geometry of a convolution or pooling to the native kernels. */
import * as tf from '@tensorflow/tfjs-core';
import type { Attrs, WasmBackend } from './backend.ts';
import { native } from './native.ts';

export type Shape4D = [number, number, number, number];
export type Shape5D = [number, number, number, number, number];
export type Info = tf.backend_util.Conv2DInfo | tf.backend_util.Conv3DInfo;

/** Fields in the order of `Window` in native/kernels.h. 2-D is 3-D with depth 1. */
export function setWindow(backend: WasmBackend, s: Info): void {
  const depth = 'inDepth' in s ? s : { inDepth: 1, outDepth: 1, filterDepth: 1, strideDepth: 1, dilationDepth: 1, padInfo: { front: 0 } };
  const fields = [
    ...[s.batchSize, depth.inDepth, s.inHeight, s.inWidth, s.inChannels],
    ...[depth.outDepth, s.outHeight, s.outWidth, s.outChannels],
    ...[depth.filterDepth, s.filterHeight, s.filterWidth],
    ...[depth.strideDepth, s.strideHeight, s.strideWidth],
    ...[depth.dilationDepth, s.dilationHeight, s.dilationWidth],
    ...[depth.padInfo.front, s.padInfo.top, s.padInfo.left],
  ];
  const { scratch } = native(backend); // before HEAPU8 is read: the first call may grow the heap
  new Int32Array(backend.wasm.HEAPU8.buffer, scratch, fields.length).set(fields);
}

/** Geometry of a 2-D convolution whose tensors are channels-last. */
export function convInfo2d(
  inShape: readonly number[],
  filterShape: readonly number[],
  attrs: Attrs,
  depthwise = false,
): tf.backend_util.Conv2DInfo {
  const { strides, dilations = 1, pad, dimRoundingMode } = attrs;
  return tf.backend_util.computeConv2DInfo(inShape as Shape4D, filterShape as Shape4D, strides, dilations, pad, dimRoundingMode, depthwise);
}
