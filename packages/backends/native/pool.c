/*
 * Gradients of max and average pooling in 1, 2 or 3 dimensions.
 *
 * Max: dy goes to the first largest element of the window, whatever its sign; with `lastTie`, to the last. Average: dy is shared equally by the
 * elements that lie inside the input, the same ones that the forward pass counted; with `countAll`, by all of the window.
 */
#include "kernels.h"

/* The input pixels under one window. */
typedef struct {
  int d0, d1, h0, h1, w0, w1; /* clipped to the input; steps are the dilations */
  int batch;
} Cover;

static void clip(int start, int taps, int dilation, int size, int* from, int* to) {
  int skip = start < 0 ? (-start + dilation - 1) / dilation : 0;
  *from = start + skip * dilation;
  *to = min(size, start + (taps - 1) * dilation + 1);
}

static Cover cover(const Window* s, int b, int od, int oh, int ow) {
  Cover c = {.batch = b};
  clip(od * s->strideD - s->padD, s->kD, s->dilationD, s->inD, &c.d0, &c.d1);
  clip(oh * s->strideH - s->padH, s->kH, s->dilationH, s->inH, &c.h0, &c.h1);
  clip(ow * s->strideW - s->padW, s->kW, s->dilationW, s->inW, &c.w0, &c.w1);
  return c;
}

#define EACH_OUTPUT(s)                        \
  for (int b = 0; b < s->batch; b++)          \
    for (int od = 0; od < s->outD; od++)      \
      for (int oh = 0; oh < s->outH; oh++)    \
        for (int ow = 0; ow < s->outW; ow++)

#define EACH_COVERED(s, c, at)                                                                                \
  for (int d = c.d0; d < c.d1; d += s->dilationD)                                                             \
    for (int h = c.h0; h < c.h1; h += s->dilationH)                                                           \
      for (int w = c.w0, at; at = (((c.batch * s->inD + d) * s->inH + h) * s->inW + w) * s->inC, w < c.w1; \
           w += s->dilationW)

/* Takes the element at `at` for the channels where it is larger than the best so far. */
INLINE void challenge(const float* x, float* best, int* arg, int at, int channels, int first, int lastTie) {
  int c = 0;
  for (; c + 4 <= channels; c += 4) {
    f4 v = load(x + c), b = load(best + c);
    i4 better = first ? splatInt(-1) : lastTie ? v >= b : v > b;
    i4 old = *(i4u*)(arg + c);
    store(best + c, pick(better, v, b));
    *(i4u*)(arg + c) = (splatInt(at) & better) | (old & ~better);
  }
  for (; c < channels; c++)
    if (first || (lastTie ? x[c] >= best[c] : x[c] > best[c])) best[c] = x[c], arg[c] = at;
}

EXPORT(maxPoolGradient) void maxPoolGradient(const float* x, const float* dy, float* dx, int lastTie, Scratch* scratch) {
  const Window* s = &scratch->window;
  float* best = scratch->packA;
  int* arg = (int*)scratch->packB;
  zero(dx, s->batch * s->inD * s->inH * s->inW * s->inC);
  EACH_OUTPUT(s) {
    Cover c = cover(s, b, od, oh, ow);
    for (int c0 = 0; c0 < s->inC; c0 += MC * KC) {
      int channels = min(MC * KC, s->inC - c0), first = 1;
      EACH_COVERED(s, c, at) {
        if (first) challenge(x + at + c0, best, arg, at + c0, channels, 1, 0);
        else if (lastTie) challenge(x + at + c0, best, arg, at + c0, channels, 0, 1);
        else challenge(x + at + c0, best, arg, at + c0, channels, 0, 0);
        first = 0;
      }
      for (int i = 0; i < channels && !first; i++) dx[arg[i] + i] += dy[c0 + i];
    }
    dy += s->inC;
  }
}

/* The place in its window of the element that has the gradient, as codes of `bits` bits: all that waits for backward. 2-D. */
EXPORT(maxPoolIndex) void maxPoolIndex(const float* x, unsigned* out, int bits, Scratch* scratch) {
  const Window* s = &scratch->window;
  float* best = scratch->packA;
  int* arg = (int*)scratch->packB;
  int per = 32 / bits, n = s->batch * s->outH * s->outW * s->inC, i = 0;
  zero((float*)out, (n + per - 1) / per);
  EACH_OUTPUT(s) {
    for (int c0 = 0; c0 < s->inC; c0 += MC * KC) {
      int channels = min(MC * KC, s->inC - c0), first = 1;
      for (int tap = 0; tap < s->kH * s->kW; tap++) {
        int h = oh * s->strideH - s->padH + tap / s->kW, w = ow * s->strideW - s->padW + tap % s->kW;
        if (h < 0 || h >= s->inH || w < 0 || w >= s->inW) continue;
        const float* from = x + ((b * s->inH + h) * s->inW + w) * s->inC + c0;
        /* arg counts taps here, so no element is looked up by it */
        if (first) challenge(from, best, arg, tap, channels, 1, 0);
        else challenge(from, best, arg, tap, channels, 0, 0);
        first = 0;
      }
      for (int c = 0; c < channels; c++, i++) out[i / per] |= (unsigned)(first ? 0 : arg[c]) << (i % per * bits);
    }
  }
}

EXPORT(maxPoolIndexGradient) void maxPoolIndexGradient(const unsigned* codes, const float* dy, float* dx, int bits, const Scratch* scratch) {
  const Window* s = &scratch->window;
  int per = 32 / bits, i = 0;
  unsigned mask = (1u << bits) - 1;
  zero(dx, s->batch * s->inH * s->inW * s->inC);
  EACH_OUTPUT(s)
    for (int c = 0; c < s->inC; c++, i++) {
      int tap = (codes[i / per] >> (i % per * bits)) & mask;
      int h = oh * s->strideH - s->padH + tap / s->kW, w = ow * s->strideW - s->padW + tap % s->kW;
      if (h >= 0 && h < s->inH && w >= 0 && w < s->inW) dx[((b * s->inH + h) * s->inW + w) * s->inC + c] += dy[i];
    }
}

EXPORT(avgPoolGradient) void avgPoolGradient(const float* dy, float* dx, int countAll, const Scratch* scratch) {
  const Window* s = &scratch->window;
  zero(dx, s->batch * s->inD * s->inH * s->inW * s->inC);
  EACH_OUTPUT(s) {
    Cover c = cover(s, b, od, oh, ow);
    int count = countAll ? s->kD * s->kH * s->kW : 0;
    if (!countAll) EACH_COVERED(s, c, at) count += at >= 0;
    float share = 1.0f / count;
    EACH_COVERED(s, c, at) {
      int channel = 0;
      for (; channel + 4 <= s->inC; channel += 4) store(dx + at + channel, load(dx + at + channel) + load(dy + channel) * splat(share));
      for (; channel < s->inC; channel++) dx[at + channel] += dy[channel] * share;
    }
    dy += s->inC;
  }
}

/*
 * Gradients of the morphological dilation y = max over taps of x[in] + w[tap], at the first largest sum. One of `dx` and
 * `dw` is 0: the one that is not wanted.
 */
EXPORT(dilationGradient) void dilationGradient(const float* x, const float* w, const float* dy, float* dx, float* dw, const Scratch* scratch) {
  const Window* s = &scratch->window;
  if (dx) zero(dx, s->batch * s->inH * s->inW * s->inC);
  if (dw) zero(dw, s->kH * s->kW * s->inC);
  EACH_OUTPUT(s) {
    for (int channel = 0; channel < s->inC; channel++) {
      int arg = -1, argTap = 0;
      float best = 0;
      for (int tap = 0; tap < s->kH * s->kW; tap++) {
        int ih = oh * s->strideH + tap / s->kW * s->dilationH - s->padH, iw = ow * s->strideW + tap % s->kW * s->dilationW - s->padW;
        if (ih < 0 || ih >= s->inH || iw < 0 || iw >= s->inW) continue;
        int at = ((b * s->inH + ih) * s->inW + iw) * s->inC + channel;
        float value = x[at] + w[tap * s->inC + channel];
        if (arg >= 0 && !(value > best)) continue;
        best = value, arg = at, argTap = tap;
      }
      if (arg < 0) continue;
      if (dx) dx[arg] += dy[channel];
      if (dw) dw[argTap * s->inC + channel] += dy[channel];
    }
    dy += s->inC;
  }
}
