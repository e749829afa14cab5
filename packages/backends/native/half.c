/*
 * Half precision: float32 to IEEE 754 binary16 or bfloat16 and back, to nearest, ties to even, eight values at a time. Two values a
 * word, the first in its lower half.
 */
#include "kernels.h"

typedef unsigned u4 __attribute__((vector_size(16)));

/* binary16 of the float32 with these bits, in the lower half of each lane. */
INLINE u4 narrow16(u4 bits) {
  u4 size = bits & 0x7fffffffu;
  u4 normal = (size - 0x38000000u + 0xfffu + ((size >> 13) & 1)) >> 13;
  /* 0.5 has its last bit at 2^-24, the unit of binary16's subnormals: adding rounds to it. */
  u4 small = (u4)((f4)size + splat(0.5f)) - 0x3f000000u;
  u4 half = (u4)pick((i4)size < 0x38800000, (f4)small, (f4)normal);
  half = (u4)pick((i4)size >= 0x477ff000, (f4)splatInt(0x7c00), (f4)half);
  half = (u4)pick((i4)size > 0x7f800000, (f4)splatInt(0x7e00), (f4)half);
  return half | ((bits >> 16) & 0x8000u);
}

INLINE u4 widen16(u4 half) {
  u4 size = half & 0x7fffu;
  /* The exponents' biases differ by 112; a product by 2^112 also makes subnormals right. */
  u4 bits = (u4)((f4)(size << 13) * splat(5.192296858534828e33f));
  bits |= (u4)((i4)size >= 0x7c00) & 0x7f800000u;
  return bits | ((half & 0x8000u) << 16);
}

INLINE u4 narrowB(u4 bits) {
  u4 half = (bits + 0x7fffu + ((bits >> 16) & 1)) >> 16;
  u4 nan = ((bits >> 16) & 0x8000u) | 0x7fc0u;
  return (u4)pick((i4)(bits & 0x7fffffffu) > 0x7f800000, (f4)nan, (f4)half);
}

INLINE u4 narrow4(u4 bits, int brain) { return brain ? narrowB(bits) : narrow16(bits); }
INLINE u4 widen4(u4 half, int brain) { return brain ? half << 16 : widen16(half); }

INLINE void encode(const float* x, unsigned* out, int n, int brain) {
  int i = 0;
  for (; i + 8 <= n; i += 8) {
    u4 a = narrow4((u4)load(x + i), brain), b = narrow4((u4)load(x + i + 4), brain);
    u4 even = __builtin_shufflevector(a, b, 0, 2, 4, 6), odd = __builtin_shufflevector(a, b, 1, 3, 5, 7);
    store((float*)out + i / 2, (f4)(even | (odd << 16)));
  }
  for (; i < n; i += 2) {
    unsigned low = narrow4((u4)splat(x[i]), brain)[0];
    unsigned high = i + 1 < n ? narrow4((u4)splat(x[i + 1]), brain)[0] : 0;
    out[i / 2] = low | (high << 16);
  }
}

INLINE void decode(const unsigned* in, float* out, int n, int brain) {
  int i = 0;
  for (; i + 8 <= n; i += 8) {
    u4 words = (u4)load((const float*)in + i / 2);
    f4 low = (f4)widen4(words & 0xffffu, brain), high = (f4)widen4(words >> 16, brain);
    store(out + i, __builtin_shufflevector(low, high, 0, 4, 1, 5));
    store(out + i + 4, __builtin_shufflevector(low, high, 2, 6, 3, 7));
  }
  for (; i < n; i++) {
    unsigned half = in[i / 2] >> (i % 2 * 16) & 0xffffu;
    out[i] = ((f4)widen4((u4){half, half, half, half}, brain))[0];
  }
}

INLINE void round(const float* x, float* out, int n, int brain) {
  int i = 0;
  for (; i + 4 <= n; i += 4) store(out + i, (f4)widen4(narrow4((u4)load(x + i), brain), brain));
  for (; i < n; i++) out[i] = ((f4)widen4(narrow4((u4)splat(x[i]), brain), brain))[0];
}

EXPORT(encodeHalf) void encodeHalf(const float* x, unsigned* out, int n, int brain) {
  if (brain) encode(x, out, n, 1);
  else encode(x, out, n, 0);
}

EXPORT(decodeHalf) void decodeHalf(const unsigned* in, float* out, int n, int brain) {
  if (brain) decode(in, out, n, 1);
  else decode(in, out, n, 0);
}

/* `out` may be `x`. */
EXPORT(roundHalf) void roundHalf(const float* x, float* out, int n, int brain) {
  if (brain) round(x, out, n, 1);
  else round(x, out, n, 0);
}
