/*
 * Gradients of the depthwise convolution y[o, c * m + j] = sum over taps t of x[in(o, t), c] w[t, c, j].
 *
 *     dw[t, c, j] = sum over o of x[in(o, t), c] dy[o, c * m + j]        dx[i, c] = sum over (o, t) with in(o, t) = i, and j
 *
 * `m` is the channel multiplier. With m = 1 channels are contiguous in all three tensors, and lanes are channels.
 */
#include "kernels.h"

/* Output positions [from, to) whose tap falls inside an input of `size`. */
typedef struct {
  int from, to;
} Span;

static Span inside(int tap, int stride, int dilation, int pad, int size, int outSize) {
  int shift = pad - tap * dilation; /* in = out * stride - shift */
  Span s = {shift > 0 ? (shift + stride - 1) / stride : 0, outSize};
  int last = size - 1 + shift;
  s.to = last < 0 ? 0 : min(outSize, last / stride + 1);
  return s;
}

/* dw += sum over one line of output: `lanes` vectors of 4 channels at a time, kept in registers. */
INLINE void line(float* dw, const float* x, const float* dy, int count, int xStep, int dyStep, int lanes) {
  f4 acc[4] = {{0}};
  for (int o = 0; o < count; o++, x += xStep, dy += dyStep)
    UNROLL for (int v = 0; v < lanes; v++) acc[v] += load(x + 4 * v) * load(dy + 4 * v);
  UNROLL for (int v = 0; v < lanes; v++) store(dw + 4 * v, load(dw + 4 * v) + acc[v]);
}

static void filterLine(float* dw, const float* x, const float* dy, int count, int xStep, int channels, int multiplier) {
  int c = 0;
  if (multiplier == 1) {
    for (; c + 16 <= channels; c += 16) line(dw + c, x + c, dy + c, count, xStep, channels, 4);
    for (; c + 4 <= channels; c += 4) line(dw + c, x + c, dy + c, count, xStep, channels, 1);
  }
  for (; c < channels; c++)
    for (int j = c * multiplier; j < (c + 1) * multiplier; j++) {
      float sum = 0;
      for (int o = 0; o < count; o++) sum += x[o * xStep + c] * dy[o * channels * multiplier + j];
      dw[j] += sum;
    }
}

EXPORT(depthwiseFilterGradient) void depthwiseFilterGradient(const float* x, float* dw, const float* dy, const Scratch* scratch) {
  const Window* s = &scratch->window;
  int multiplier = s->outC / s->inC;
  zero(dw, s->kH * s->kW * s->outC);
  for (int b = 0; b < s->batch; b++)
    for (int oh = 0; oh < s->outH; oh++)
      for (int kh = 0; kh < s->kH; kh++) {
        int ih = oh * s->strideH + kh * s->dilationH - s->padH;
        if (ih < 0 || ih >= s->inH) continue;
        const float* xLine = x + (b * s->inH + ih) * s->inW * s->inC;
        const float* dyLine = dy + (b * s->outH + oh) * s->outW * s->outC;
        for (int kw = 0; kw < s->kW; kw++) {
          Span w = inside(kw, s->strideW, s->dilationW, s->padW, s->inW, s->outW);
          int iw = w.from * s->strideW + kw * s->dilationW - s->padW;
          filterLine(dw + (kh * s->kW + kw) * s->outC, xLine + iw * s->inC, dyLine + w.from * s->outC, w.to - w.from, s->strideW * s->inC, s->inC, multiplier);
        }
      }
}

/* dx[c] += sum over `taps` of dy[outRow, c] w[inRow, c]: the pair lists hold where dy and w start. */
INLINE void gather(float* dx, const float* dy, const float* w, int taps, const Scratch* scratch, int lanes) {
  f4 acc[4];
  UNROLL for (int v = 0; v < lanes; v++) acc[v] = load(dx + 4 * v);
  for (int t = 0; t < taps; t++)
    UNROLL for (int v = 0; v < lanes; v++) acc[v] += load(dy + scratch->outRow[t] + 4 * v) * load(w + scratch->inRow[t] + 4 * v);
  UNROLL for (int v = 0; v < lanes; v++) store(dx + 4 * v, acc[v]);
}

static void inputPixel(float* dx, const float* dy, const float* w, int taps, const Scratch* scratch) {
  int channels = scratch->window.inC, multiplier = scratch->window.outC / channels, c = 0;
  if (multiplier == 1) {
    for (; c + 16 <= channels; c += 16) gather(dx + c, dy + c, w + c, taps, scratch, 4);
    for (; c + 4 <= channels; c += 4) gather(dx + c, dy + c, w + c, taps, scratch, 1);
  }
  for (; c < channels; c++)
    for (int t = 0; t < taps; t++)
      for (int j = c * multiplier; j < (c + 1) * multiplier; j++) dx[c] += dy[scratch->outRow[t] + j] * w[scratch->inRow[t] + j];
}

/* The output position that reaches input position `in` through `tap`, or -1. */
static inline int reach(int in, int tap, int stride, int dilation, int pad, int outSize) {
  int at = in + pad - tap * dilation;
  if (at < 0) return -1;
  int out = stride == 1 ? at : at / stride;
  return out < outSize && out * stride == at ? out : -1;
}

EXPORT(depthwiseInputGradient) void depthwiseInputGradient(float* dx, const float* w, const float* dy, Scratch* scratch) {
  const Window* s = &scratch->window;
  zero(dx, s->batch * s->inH * s->inW * s->inC);
  for (int b = 0; b < s->batch; b++)
    for (int ih = 0; ih < s->inH; ih++)
      for (int iw = 0; iw < s->inW; iw++, dx += s->inC) {
        int taps = 0;
        for (int kh = 0; kh < s->kH; kh++) {
          int oh = reach(ih, kh, s->strideH, s->dilationH, s->padH, s->outH);
          for (int kw = 0; kw < s->kW && oh >= 0; kw++) {
            int ow = reach(iw, kw, s->strideW, s->dilationW, s->padW, s->outW);
            if (ow < 0) continue;
            scratch->inRow[taps] = (kh * s->kW + kw) * s->outC;
            scratch->outRow[taps++] = ((b * s->outH + oh) * s->outW + ow) * s->outC;
            if (taps == PAIRS) {
              inputPixel(dx, dy, w, taps, scratch);
              taps = 0;
            }
          }
        }
        inputPixel(dx, dy, w, taps, scratch);
      }
}
