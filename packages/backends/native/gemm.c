/*
 * Matrix product over indirect rows, for all four transposes: the one loop nest under matMul, the 1x1 convolutions, and
 * both gradients of every convolution.
 *
 * B is packed in panels of NR columns, KC x NC at a time, so that the micro-kernel streams it from cache; A is read in
 * place where its rows run along k, and packed where they run along m. After Goto and van de Geijn,
 * "Anatomy of high-performance matrix multiplication" (ACM TOMS 34, 2008).
 */
#include "kernels.h"

void zero(float* p, int n) { __builtin_memset(p, 0, n * sizeof(float)); }

/* Panels [n / NR][k][NR], the last one filled up with zeros. */
static void packB(float* out, Rows b, int trans, int k0, int kc, int n0, int nc) {
  for (int n = 0; n < nc; n += NR, out += kc * NR) {
    int width = min(NR, nc - n);
    if (trans) {
      int k = 0;
      if (width == NR)
        for (; k + 4 <= kc; k += 4)
          for (int j = 0; j < NR; j += 4) {
            int at = n0 + n + j;
            transpose4(out + k * NR + j, NR, row(b, at) + k0 + k, row(b, at + 1) + k0 + k, row(b, at + 2) + k0 + k, row(b, at + 3) + k0 + k);
          }
      for (; k < kc; k++)
        for (int j = 0; j < NR; j++) out[k * NR + j] = j < width ? row(b, n0 + n + j)[k0 + k] : 0;
    } else {
      for (int k = 0; k < kc; k++) {
        const float* from = row(b, k0 + k) + n0 + n;
        float* to = out + k * NR;
        if (width == NR) {
          store(to, load(from));
          store(to + 4, load(from + 4));
        } else {
          for (int j = 0; j < NR; j++) to[j] = j < width ? from[j] : 0;
        }
      }
    }
  }
}

/* Panels [m / MR][k][MR] of an A whose rows run along k. */
static void packA(float* out, Rows a, int k0, int kc, int m0, int mc) {
  for (int m = 0; m < mc; m += MR, out += kc * MR) {
    int height = min(MR, mc - m);
    for (int k = 0; k < kc; k++) {
      const float* from = row(a, k0 + k) + m0 + m;
      float* to = out + k * MR;
      if (height == MR) {
        store(to, load(from));
      } else {
        for (int i = 0; i < MR; i++) to[i] = i < height ? from[i] : 0;
      }
    }
  }
}

/* One MR x NR tile; a[i] advances by aStep along k, b by bStep. */
INLINE void micro(int kc, const float* const a[MR], int aStep, const float* b, int bStep, f4 acc[MR][2]) {
  for (int k = 0; k < kc; k++, b += bStep) {
    f4 b0 = load(b), b1 = load(b + 4);
    UNROLL for (int i = 0; i < MR; i++) {
      f4 v = splat(a[i][k * aStep]);
      acc[i][0] += v * b0;
      acc[i][1] += v * b1;
    }
  }
}

static void tile(int kc, const float* const a[MR], int aStep, const float* b, int bStep, Rows c, int m, int height, int n, int width, int accumulate) {
  f4 acc[MR][2] = {{{0}}};
  micro(kc, a, aStep, b, bStep, acc);
  if (width == NR) {
    UNROLL for (int i = 0; i < MR; i++) {
      if (i >= height) continue;
      float* to = row(c, m + i) + n;
      store(to, accumulate ? load(to) + acc[i][0] : acc[i][0]);
      store(to + 4, accumulate ? load(to + 4) + acc[i][1] : acc[i][1]);
    }
    return;
  }
  for (int i = 0; i < height; i++) {
    float* to = row(c, m + i) + n;
    for (int j = 0; j < width; j++) {
      float v = acc[i][j >> 2][j & 3];
      to[j] = accumulate ? to[j] + v : v;
    }
  }
}

void gemm(int m, int n, int k, Rows a, int transA, Rows b, int transB, Rows c, int accumulate, Scratch* scratch) {
  for (int n0 = 0; n0 < n; n0 += NC) {
    int nc = min(NC, n - n0);
    for (int k0 = 0; k0 < k; k0 += KC) {
      int kc = min(KC, k - k0), add = accumulate || k0 > 0;
      packB(scratch->packB, b, transB, k0, kc, n0, nc);
      for (int m0 = 0; m0 < m; m0 += MC) {
        int mc = min(MC, m - m0);
        if (transA) packA(scratch->packA, a, k0, kc, m0, mc);
        for (int i = 0; i < mc; i += MR) {
          const float* from[MR];
          for (int r = 0; r < MR; r++) from[r] = transA ? scratch->packA + i * kc + r : row(a, m0 + min(i + r, mc - 1)) + k0;
          for (int j = 0; j < nc; j += NR)
            tile(kc, from, transA ? MR : 1, scratch->packB + j * kc, NR, c, m0 + i, min(MR, mc - i), n0 + j, min(NR, nc - j), add);
        }
      }
    }
  }
}

/* Row-major [m, n] = a b, where a is [m, k], or [k, m] when transA; b is [k, n], or [n, k] when transB. */
EXPORT(matMul) void matMul(float* a, float* b, float* c, int m, int n, int k, int transA, int transB, Scratch* scratch) {
  Rows ra = {a, 0, transA ? m : k}, rb = {b, 0, transB ? k : n}, rc = {c, 0, n};
  if (k == 0) zero(c, m * n);
  gemm(m, n, k, ra, transA, rb, transB, rc, 0, scratch);
}

EXPORT(matMulInt) void matMulInt(const int* a, const int* b, int* c, int m, int n, int k, int transA, int transB) {
  for (int i = 0; i < m; i++)
    for (int j = 0; j < n; j++) {
      int sum = 0;
      for (int l = 0; l < k; l++) sum += a[transA ? l * m + i : i * k + l] * b[transB ? j * k + l : l * n + j];
      c[i * n + j] = sum;
    }
}
