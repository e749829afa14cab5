/*
 * Sums over axes, and tiles: what the gradients of broadcast values are made of.
 *
 *     out[o, i] = sum over r of x[o, r, i] / divisor
 *
 * Rows are summed in blocks, and the blocks then added: two levels keep the rounding error of long sums small.
 */
#include "kernels.h"

enum { BLOCK = 512 };

/* out[0..4 * lanes) += column sums of `rows` rows. */
INLINE void columns(const float* x, float* out, int rows, int stride, int lanes) {
  f4 acc[4] = {{0}};
  for (int r = 0; r < rows; r++, x += stride)
    UNROLL for (int v = 0; v < lanes; v++) acc[v] += load(x + 4 * v);
  UNROLL for (int v = 0; v < lanes; v++) store(out + 4 * v, load(out + 4 * v) + acc[v]);
}

static float rowSum(const float* x, int n) {
  f4 total = splat(0);
  int i = 0;
  for (; i + 16 <= n;) {
    f4 acc[4] = {{0}};
    for (int end = min(n, i + 16 * BLOCK); i + 16 <= end; i += 16)
      UNROLL for (int v = 0; v < 4; v++) acc[v] += load(x + i + 4 * v);
    total += (acc[0] + acc[1]) + (acc[2] + acc[3]);
  }
  float sum = (total[0] + total[1]) + (total[2] + total[3]);
  for (; i < n; i++) sum += x[i];
  return sum;
}

EXPORT(sumAxis) void sumAxis(const float* x, float* out, int outer, int reduce, int inner, float divisor) {
  for (int o = 0; o < outer; o++, x += reduce * inner, out += inner) {
    zero(out, inner);
    if (inner == 1) out[0] = rowSum(x, reduce);
    for (int r = 0; r < reduce && inner > 1; r += BLOCK) {
      const float* from = x + r * inner;
      int rows = min(BLOCK, reduce - r), i = 0;
      for (; i + 16 <= inner; i += 16) columns(from + i, out + i, rows, inner, 4);
      for (; i + 4 <= inner; i += 4) columns(from + i, out + i, rows, inner, 1);
      for (; i < inner; i++) {
        float sum = 0;
        for (int at = 0; at < rows; at++) sum += from[at * inner + i];
        out[i] += sum;
      }
    }
    for (int i = 0; i < inner && divisor != 1; i++) out[i] /= divisor;
  }
}

/* Repeats axis 0 of `x` reps[0] times, each of its elements being tiled in turn. `shape` and `reps` end after the last axis that repeats. */
static char* tileAxis(const char* x, char* out, const int* shape, const int* reps, int rank, int element) {
  if (rank == 0) {
    __builtin_memcpy(out, x, element);
    return out + element;
  }
  int size = element;
  for (int axis = 1; axis < rank; axis++) size *= shape[axis];
  char* end = out;
  for (int i = 0; i < shape[0]; i++) end = tileAxis(x + i * size, end, shape + 1, reps + 1, rank - 1, element);
  int once = end - out, total = once * reps[0];
  for (int done = once; done < total; done *= 2) __builtin_memcpy(out + done, out, min(done, total - done));
  return out + total;
}

EXPORT(tile) void tile(const char* x, char* out, int rank, int elementBytes, const Scratch* scratch) {
  tileAxis(x, out, scratch->inRow, scratch->outRow, rank, elementBytes);
}
