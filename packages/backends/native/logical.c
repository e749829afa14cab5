/* Comparisons and masks: what the gradients of relu, clip, min, max and where are made of. A mask is a byte, 0 or 1. */
#include "kernels.h"

typedef unsigned char Mask;
typedef Mask m16 __attribute__((vector_size(16), aligned(1)));

/* Four comparisons of four lanes, narrowed to sixteen bytes. */
static inline m16 narrow(i4 a, i4 b, i4 c, i4 d) {
  typedef char c16 __attribute__((vector_size(16)));
  c16 ab = __builtin_shufflevector((c16)a, (c16)b, 0, 4, 8, 12, 16, 20, 24, 28, 0, 4, 8, 12, 16, 20, 24, 28);
  c16 cd = __builtin_shufflevector((c16)c, (c16)d, 0, 4, 8, 12, 16, 20, 24, 28, 0, 4, 8, 12, 16, 20, 24, 28);
  c16 all = __builtin_shufflevector(ab, cd, 0, 1, 2, 3, 4, 5, 6, 7, 16, 17, 18, 19, 20, 21, 22, 23);
  return (m16)all & 1;
}

/* out = a OP b over n elements; `b` is one value when bStep is 0. */
#define COMPARE(name, OP)                                                                                              \
  EXPORT(name) void name(const float* a, const float* b, Mask* out, int n, int bStep) {                                \
    int i = 0;                                                                                                         \
    for (; i + 16 <= n; i += 16) {                                                                                     \
      i4 r[4];                                                                                                         \
      UNROLL for (int v = 0; v < 4; v++) r[v] = load(a + i + 4 * v) OP(bStep ? load(b + i + 4 * v) : splat(*b));              \
      *(m16*)(out + i) = narrow(r[0], r[1], r[2], r[3]);                                                               \
    }                                                                                                                  \
    for (; i < n; i++) out[i] = a[i] OP b[bStep ? i : 0];                                                              \
  }

COMPARE(equal, ==)
COMPARE(notEqual, !=)
COMPARE(less, <)
COMPARE(lessEqual, <=)
COMPARE(greater, >)
COMPARE(greaterEqual, >=)

EXPORT(and) void and(const Mask* a, const Mask* b, Mask* out, int n) {
  for (int i = 0; i < n; i++) out[i] = (a[i] != 0) & (b[i] != 0);
}

EXPORT(not) void not(const Mask* a, Mask* out, int n) {
  for (int i = 0; i < n; i++) out[i] = a[i] == 0;
}

EXPORT(where) void where(const Mask* mask, const float* a, const float* b, float* out, int n) {
  for (int i = 0; i < n; i++) out[i] = mask[i] ? a[i] : b[i];
}
