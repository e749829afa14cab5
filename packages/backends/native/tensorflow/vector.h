// As many floats at a time as a register has, sixteen at most, in the compiler's vector extension: what the kernels of this folder are made of.
//
//     exp(x) = 2^n exp(r), |r| <= ln(2) / 2      tanh(x) = 1 - 2 / (exp(2x) + 1)      erf(x) = 1 - exp(-q(x))
//
// The polynomials are those of ../exponential.c: within 1.5 units in the last place, infinities have their limits, NaN stays.

// Of vectors wider than a register GCC compares and converts one number at a time.
constexpr int64_t LANES = WIDTH;
typedef float F __attribute__((vector_size(4 * LANES)));
typedef int32_t I __attribute__((vector_size(4 * LANES)));
typedef uint32_t U __attribute__((vector_size(4 * LANES)));

INLINE F Load(const float* p) {
  F v;
  std::memcpy(&v, p, sizeof v);
  return v;
}
INLINE void Store(float* p, F v) { std::memcpy(p, &v, sizeof v); }
INLINE F Splat(float v) { return v - F{}; }
// By halves.
INLINE float Sum(F v) {
  alignas(64) float sums[LANES];
  Store(sums, v);
  for (int half = LANES / 2; half > 0; half /= 2)
    for (int i = 0; i < half; i++) sums[i] += sums[half + i];
  return sums[0];
}

// f on LANES elements at a time of n; the last ones through a copy. f(load, store): load(p) and store(p, v) at the element's place.
template <typename Step>
INLINE void Sixteens(int64_t n, Step step) {
  int64_t i = 0;
  for (; i + LANES <= n; i += LANES) step([i](const float* p) { return Load(p + i); }, [i](float* p, F v) { Store(p + i, v); });
  if (i == n) return;
  const size_t bytes = (n - i) * sizeof(float);
  step(
      [i, bytes](const float* p) {
        F v = {};
        std::memcpy(&v, p + i, bytes);
        return v;
      },
      [i, bytes](float* p, F v) { std::memcpy(p + i, &v, bytes); });
}

// Highest degree first.
INLINE F Polynomial(F x, F y) { return y; }
template <typename... More>
INLINE F Polynomial(F x, F y, float next, More... more) {
  return Polynomial(x, y * x + next, more...);
}

INLINE F WithSign(F x, F magnitude) { return (F)((I)magnitude | ((I)x & (-0x7fffffff - 1))); }
INLINE F Magnitude(F x) { return (F)((I)x & 0x7fffffff); }
// 2^n for n in [-126, 127].
INLINE F Power2(I n) { return (F)((n + 127) << 23); }

INLINE F Exp(F x) {
  const F shift = Splat(0x1.8p23f);  // added, it leaves no bits for a fraction: rounds to the nearest whole number
  x = x > 89 ? Splat(89) : x;
  x = x < -104 ? Splat(-104) : x;
  F shifted = x * 0x1.715476p0f + shift, whole = shifted - shift;
  F r = x - whole * 0x1.63p-1f - whole * -0x1.bd0106p-13f;  // ln(2) in two parts; the first product is exact
  F y = r + r * r * Polynomial(r, Splat(0.00144004705f), 0.00837367307f, 0.0416570939f, 0.16666469f, 0.500000477f);
  I n = (I)shifted - (I)shift, half = n >> 1;  // 2^n alone would overflow, or lose the subnormal numbers
  return (1 + y) * Power2(half) * Power2(n - half);
}

INLINE F Tanh(F x) {
  F a = Magnitude(x), s = a * a;
  F small = a + a * (s * Polynomial(s, Splat(-0.00628900016f), 0.0211325604f, -0.0538806319f, 0.133329749f, -0.333333284f));
  F large = 1 - 2 / (Exp(a + a) + 1);
  return WithSign(x, a < 0.6f ? small : large);
}

// q(x) = -log(1 - erf(x)) on [0.9, 4]; from there on erf rounds to 1.
INLINE F Erf(F x) {
  F a = Magnitude(x), t = a > 4 ? Splat(4) : a;
  F p = Polynomial(a * a, Splat(-0.000628370559f), 0.00505114952f, -0.0268059857f, 0.112828724f, -0.376125902f, 0.128379166f);
  F q = Polynomial(t, Splat(1.6839329e-05f), -0.000376363547f, 0.00384378037f, -0.0241348986f, 0.10657379f, 0.635050476f, 1.12860692f,
                   2.49778768e-05f);
  return WithSign(x, a < 0.9f ? a + a * p : 1 - Exp(-q));
}
