/** Padding by numbers, which tfjs-node refuses for most kernels: how many zeros stand around the input on each side. */
import * as tf from '@tensorflow/tfjs-core';
import type { Attrs } from '../kernels.ts';
import { type Attr, int, text } from './raw.ts';

type Shape4D = [number, number, number, number];
export type ConvInfo = tf.backend_util.Conv2DInfo;

/** Zeros before and after the rows, and before and after the columns. */
export interface Sides {
  readonly top: number;
  readonly bottom: number;
  readonly left: number;
  readonly right: number;
}

export function convInfo(xShape: number[], filterShape: number[], attrs: Attrs, depthwise = false): ConvInfo {
  const { strides, pad, dimRoundingMode } = attrs;
  const format = tf.backend_util.convertConv2DDataFormat(attrs['dataFormat'] ?? 'NHWC');
  const dilations = attrs['dilations'] ?? 1;
  const shapes = [xShape as Shape4D, filterShape as Shape4D] as const;
  return tf.backend_util.computeConv2DInfo(...shapes, strides, dilations, pad, dimRoundingMode, depthwise, format);
}

/** The sides of a padding given by numbers; undefined for 'same' and 'valid', which TensorFlow knows by name. */
export function sides(info: ConvInfo): Sides | undefined {
  const { type, top, left } = info.padInfo;
  if (type === 'SAME' || type === 'VALID') return undefined;
  // The far side as far as the last window reaches, which rounding up moves outwards.
  const far = (out: number, stride: number, window: number, size: number, near: number): number =>
    Math.max(0, (out - 1) * stride + window - size - near);
  return {
    top,
    bottom: far(info.outHeight, info.strideHeight, info.effectiveFilterHeight, info.inHeight, top),
    left,
    right: far(info.outWidth, info.strideWidth, info.effectiveFilterWidth, info.inWidth, left),
  };
}

/** The attributes that every convolution op of TensorFlow has. */
export function windowAttrs(info: ConvInfo): { readonly [name: string]: Attr } {
  const last = info.dataFormat === 'channelsLast';
  const spatial = (height: number, width: number): Attr => int(last ? [1, height, width, 1] : [1, 1, height, width]);
  const given = sides(info);
  const around = given && [given.top, given.bottom, given.left, given.right];
  return {
    strides: spatial(info.strideHeight, info.strideWidth),
    dilations: spatial(info.dilationHeight, info.dilationWidth),
    data_format: text(last ? 'NHWC' : 'NCHW'),
    padding: text(around ? 'EXPLICIT' : info.padInfo.type),
    ...(around && { explicit_paddings: int(last ? [0, 0, ...around, 0, 0] : [0, 0, 0, 0, ...around]) }),
  };
}
