/*
 * Element by element: out[r, c] = a[r, c] OP b. `b` is a row [columns] for `Row` kernels; for the others it has the size of
 * `a`, or is one number when bStep is 0. What a batch norm's gradient and its layer's bias need when channels are few.
 */
#include "kernels.h"

#define ROW(name, OP)                                                                                    \
  EXPORT(name) void name(const float* a, const float* b, float* out, int rows, int columns) {            \
    for (int r = 0; r < rows; r++, a += columns, out += columns) {                                       \
      int c = 0;                                                                                         \
      for (; c + 4 <= columns; c += 4) store(out + c, load(a + c) OP load(b + c));                       \
      for (; c < columns; c++) out[c] = a[c] OP b[c];                                                    \
    }                                                                                                    \
  }

ROW(addRow, +)
ROW(subtractRow, -)
ROW(multiplyRow, *)

/* The larger of two, or NaN if either is. */
#define EXTREME(name, OP)                                                                                \
  EXPORT(name) void name(const float* a, const float* b, float* out, int n, int bStep) {                 \
    int i = 0;                                                                                           \
    for (; i + 4 <= n; i += 4) {                                                                         \
      f4 x = load(a + i), y = bStep ? load(b + i) : splat(*b);                                           \
      store(out + i, pick((x OP y) | (x != x), x, y));                                                   \
    }                                                                                                    \
    for (; i < n; i++) {                                                                                 \
      float y = b[bStep ? i : 0];                                                                        \
      out[i] = a[i] OP y || a[i] != a[i] ? a[i] : y;                                                     \
    }                                                                                                    \
  }

EXTREME(maximum, >)
EXTREME(minimum, <)
