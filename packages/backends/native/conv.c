/*
 * Convolution and its gradients in 1, 2 or 3 dimensions, without im2col: for each filter tap, the list of (input pixel,
 * output pixel) pairs it connects, and one product over those rows.
 *
 *     y[out]   += x[in] W[tap]         dx[in] += dy[out] W[tap]^T         dW[tap] = sum over pairs of x[in]^T dy[out]
 *
 * Padding and strides cost no multiplications: a pair that falls outside is not in the list.
 */
#include "kernels.h"

typedef struct {
  int d, h, w;
} Tap;

static int isPointwise(const Window* s) {
  return s->kD * s->kH * s->kW == 1 && s->strideD * s->strideH * s->strideW == 1 && s->inD == s->outD && s->inH == s->outH &&
         s->inW == s->outW && s->padD == 0 && s->padH == 0 && s->padW == 0;
}

/* Fills the pairs of `tap` among output pixels from *pixel on; moves *pixel forward; returns their number. */
static int nextPairs(Scratch* scratch, Tap tap, int* pixel) {
  const Window* s = &scratch->window;
  int total = s->batch * s->outD * s->outH * s->outW, count = 0, at = *pixel;
  while (at < total && count < PAIRS) {
    int line = at / s->outW, oh = line % s->outH, rest = line / s->outH, od = rest % s->outD, b = rest / s->outD;
    int id = od * s->strideD + tap.d * s->dilationD - s->padD, ih = oh * s->strideH + tap.h * s->dilationH - s->padH;
    int ow = at - line * s->outW, end = min(s->outW, ow + PAIRS - count);
    at += end - ow;
    if (id < 0 || id >= s->inD || ih < 0 || ih >= s->inH) continue;
    int in = ((b * s->inD + id) * s->inH + ih) * s->inW;
    for (; ow < end; ow++) {
      int iw = ow * s->strideW + tap.w * s->dilationW - s->padW;
      if (iw < 0 || iw >= s->inW) continue;
      scratch->inRow[count] = (in + iw) * s->inC;
      scratch->outRow[count++] = (line * s->outW + ow) * s->outC;
    }
  }
  *pixel = at;
  return count;
}

typedef enum { FORWARD, INPUT_GRADIENT, FILTER_GRADIENT } Direction;

static void product(Direction direction, float* in, float* w, float* out, int rows, const int* inRow, const int* outRow, int accumulate, Scratch* scratch) {
  int cin = scratch->window.inC, cout = scratch->window.outC;
  Rows x = {in, inRow, cin}, y = {out, outRow, cout}, f = {w, 0, cout};
  if (direction == FORWARD) gemm(rows, cout, cin, x, 0, f, 0, y, accumulate, scratch);
  if (direction == INPUT_GRADIENT) gemm(rows, cin, cout, y, 0, f, 1, x, accumulate, scratch);
  if (direction == FILTER_GRADIENT) gemm(cin, cout, rows, x, 1, y, 0, f, accumulate, scratch);
}

static void convolve(Direction direction, float* in, float* w, float* out, Scratch* scratch) {
  const Window* s = &scratch->window;
  int taps = s->kD * s->kH * s->kW, inPixels = s->batch * s->inD * s->inH * s->inW, outPixels = s->batch * s->outD * s->outH * s->outW;
  if (isPointwise(s)) {
    product(direction, in, w, out, inPixels, 0, 0, 0, scratch);
    return;
  }
  if (direction == FORWARD) zero(out, outPixels * s->outC);
  if (direction == INPUT_GRADIENT) zero(in, inPixels * s->inC);
  if (direction == FILTER_GRADIENT) zero(w, taps * s->inC * s->outC);
  for (int tap = 0; tap < taps; tap++, w += s->inC * s->outC) {
    Tap at = {tap / (s->kW * s->kH), tap / s->kW % s->kH, tap % s->kW};
    for (int pixel = 0; pixel < outPixels;) {
      int pairs = nextPairs(scratch, at, &pixel);
      if (pairs > 0) product(direction, in, w, out, pairs, scratch->inRow, scratch->outRow, 1, scratch);
    }
  }
}

EXPORT(conv) void conv(float* x, float* w, float* y, Scratch* scratch) { convolve(FORWARD, x, w, y, scratch); }
EXPORT(convInputGradient) void convInputGradient(float* dx, float* w, float* dy, Scratch* scratch) { convolve(INPUT_GRADIENT, dx, w, dy, scratch); }
EXPORT(convFilterGradient) void convFilterGradient(float* x, float* dw, float* dy, Scratch* scratch) { convolve(FILTER_GRADIENT, x, dw, dy, scratch); }
