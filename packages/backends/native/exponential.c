/*
 * exp, tanh and erf, four at a time: softmax's gradient, and both forms of GELU with theirs. Each is a polynomial near 0; elsewhere
 *
 *     exp(x) = 2^n exp(r), |r| <= ln(2) / 2        tanh(x) = 1 - 2 / (exp(2x) + 1)        erf(x) = 1 - exp(-q(x))
 *
 * The coefficients are minimax fits in relative error. Within 1.5 units in the last place of the exact values, subnormal
 * ones included; infinities have their limits, NaN stays, and -0 keeps its sign.
 */
#include "exponential.h"

INLINE f4 withSign(f4 x, f4 magnitude) { return (f4)((i4)magnitude | ((i4)x & splatInt(-0x7fffffff - 1))); }
INLINE f4 magnitude(f4 x) { return (f4)((i4)x & splatInt(0x7fffffff)); }

INLINE f4 tanh4(f4 x) {
  f4 a = magnitude(x), s = a * a;
  f4 small = a + a * (s * POLYNOMIAL(s, -0.00628900016f, 0.0211325604f, -0.0538806319f, 0.133329749f, -0.333333284f));
  f4 large = 1 - 2 / (exp4(a + a) + 1);
  return withSign(x, pick(a < splat(0.6f), small, large));
}

/* q(x) = -log(1 - erf(x)) on [0.9, 4]; from there on erf rounds to 1. */
INLINE f4 erf4(f4 x) {
  f4 a = magnitude(x), t = pick(a > splat(4), splat(4), a);
  f4 p = POLYNOMIAL(a * a, -0.000628370559f, 0.00505114952f, -0.0268059857f, 0.112828724f, -0.376125902f, 0.128379166f);
  f4 q = POLYNOMIAL(t, 1.6839329e-05f, -0.000376363547f, 0.00384378037f, -0.0241348986f, 0.10657379f, 0.635050476f, 1.12860692f, 2.49778768e-05f);
  return withSign(x, pick(a < splat(0.9f), a + a * p, 1 - exp4(-q)));
}

#define EACH(name, of4)                                                  \
  EXPORT(name) void name(const float* x, float* out, int n) {            \
    int i = 0;                                                           \
    for (; i + 4 <= n; i += 4) store(out + i, of4(load(x + i)));         \
    for (; i < n; i++) out[i] = of4(splat(x[i]))[0];                     \
  }

EACH(exp, exp4)
EACH(tanh, tanh4)
EACH(erf, erf4)

/* x (1 + erf(x / sqrt(2))) / 2, and with tanh(sqrt(2 / pi) (x + 0.044715 x^3)) for the error function. */
INLINE f4 gelu4(f4 x) { return x * ((erf4(x * splat(0.70710678f)) + 1) * splat(0.5f)); }
INLINE f4 geluTanh4(f4 x) { return x * ((tanh4(x * (x * x * splat(0.044715f) + 1) * splat(0.79788456f)) + 1) * splat(0.5f)); }

EACH(gelu, gelu4)
EACH(geluTanh, geluTanh4)

/* dy times the slope: with h = (1 + erf(x / sqrt(2))) / 2 it is h + x exp(-x^2 / 2) / sqrt(2 pi), with tanh(u) for erf h + 2 x u' h (1 - h). */
INLINE f4 geluSlope4(f4 x) {
  f4 h = (erf4(x * splat(0.70710678f)) + 1) * splat(0.5f);
  return h + x * (exp4(x * x * splat(-0.5f)) * splat(0.39894228f));
}

INLINE f4 geluTanhSlope4(f4 x) {
  f4 s = x * x, h = (tanh4(x * (s * splat(0.044715f) + 1) * splat(0.79788456f)) + 1) * splat(0.5f);
  return h + x * (s * splat(0.134145f) + 1) * splat(0.79788456f) * (h + h) * (1 - h);
}

#define EACH_TIMES(name, of4)                                                                  \
  EXPORT(name) void name(const float* x, const float* dy, float* out, int n) {                 \
    int i = 0;                                                                                 \
    for (; i + 4 <= n; i += 4) store(out + i, load(dy + i) * of4(load(x + i)));                \
    for (; i < n; i++) out[i] = dy[i] * of4(splat(x[i]))[0];                                   \
  }

EACH_TIMES(geluGrad, geluSlope4)
EACH_TIMES(geluTanhGrad, geluTanhSlope4)
