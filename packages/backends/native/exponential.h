/* exp, four at a time: a polynomial near 0, and elsewhere exp(x) = 2^n exp(r), |r| <= ln(2) / 2. */
#pragma once
#include "kernels.h"

/* Highest degree first. */
#define POLYNOMIAL(x, ...) polynomial(x, (const float[]){__VA_ARGS__}, sizeof((const float[]){__VA_ARGS__}) / sizeof(float))

INLINE f4 polynomial(f4 x, const float* coefficients, int count) {
  f4 y = splat(coefficients[0]);
  UNROLL for (int i = 1; i < count; i++) y = y * x + splat(coefficients[i]);
  return y;
}

/* 2^n for n in [-126, 127]. */
INLINE f4 power2(i4 n) { return (f4)((n + 127) << 23); }

INLINE f4 exp4(f4 x) {
  const f4 shift = splat(0x1.8p23f); /* added, it leaves no bits for a fraction: rounds to the nearest whole number */
  x = pick(x > splat(89), splat(89), x);
  x = pick(x < splat(-104), splat(-104), x);
  f4 shifted = x * splat(0x1.715476p0f) + shift, whole = shifted - shift;
  f4 r = x - whole * splat(0x1.63p-1f) - whole * splat(-0x1.bd0106p-13f); /* ln(2) in two parts; the first product is exact */
  f4 y = r + r * r * POLYNOMIAL(r, 0.00144004705f, 0.00837367307f, 0.0416570939f, 0.16666469f, 0.500000477f);
  i4 n = (i4)shifted - (i4)shift, half = n >> 1; /* 2^n alone would overflow, or lose the subnormal numbers */
  return (1 + y) * power2(half) * power2(n - half);
}
