/* Row-wise helpers: copying and gathering rows, summing them by segment, transposing, clipping that lets NaN through, bias and activation. */
#include "kernels.h"

/* out[i] = x[i], rows of `bytes`, which in x begin `stride` bytes apart. */
EXPORT(copyRows) void copyRows(const char* x, char* out, int rows, int stride, int bytes) {
  enum { SHORT = 64 }; /* a copy of memory costs as much as some words */
  for (int r = 0; r < rows; r++, x += stride, out += bytes) {
    if (bytes % 4 || bytes > SHORT) __builtin_memcpy(out, x, bytes);
    else
      for (int i = 0; i < bytes; i += 4) *(int*)(out + i) = *(const int*)(x + i);
  }
}

/* out[o, i] = x[o, indices[i]], slices of bytes. Returns where an index is out of range, or -1. */
EXPORT(gather) int gather(const char* x, const int* indices, char* out, int outer, int axisSize, int count, int sliceBytes) {
  for (int i = 0; i < count; i++)
    if (indices[i] < 0 || indices[i] >= axisSize) return i;
  for (int o = 0; o < outer; o++, x += axisSize * sliceBytes)
    for (int i = 0; i < count; i++, out += sliceBytes) __builtin_memcpy(out, x + indices[i] * sliceBytes, sliceBytes);
  return -1;
}

/* out[id] += x[row] for each row; ids outside [0, segments) are dropped. */
EXPORT(segmentSum) void segmentSum(const float* x, const int* ids, float* out, int rows, int width, int segments) {
  zero(out, segments * width);
  for (int r = 0; r < rows; r++) {
    if (ids[r] < 0 || ids[r] >= segments) continue;
    float* to = out + ids[r] * width;
    const float* from = x + r * width;
    for (int i = 0; i < width; i++) to[i] += from[i];
  }
}

EXPORT(segmentSumInt) void segmentSumInt(const int* x, const int* ids, int* out, int rows, int width, int segments) {
  zero((float*)out, segments * width);
  for (int r = 0; r < rows; r++) {
    if (ids[r] < 0 || ids[r] >= segments) continue;
    for (int i = 0; i < width; i++) out[ids[r] * width + i] += x[r * width + i];
  }
}

/* out[b, c, r] = x[b, r, c], by squares as wide as a cache line. */
EXPORT(transpose) void transpose(const float* x, float* out, int batch, int rows, int columns) {
  enum { SIDE = 16 };
  for (int b = 0; b < batch; b++, x += rows * columns, out += rows * columns)
    for (int c0 = 0; c0 < columns; c0 += SIDE)
      for (int r0 = 0; r0 < rows; r0 += SIDE) {
        int rEnd = min(rows, r0 + SIDE), cEnd = min(columns, c0 + SIDE), r = r0;
        for (; r + 4 <= rEnd; r += 4) {
          const float* from = x + r * columns;
          int c = c0;
          for (; c + 4 <= cEnd; c += 4) transpose4(out + c * rows + r, rows, from + c, from + columns + c, from + 2 * columns + c, from + 3 * columns + c);
          for (; c < cEnd; c++)
            for (int i = 0; i < 4; i++) out[c * rows + r + i] = from[i * columns + c];
        }
        for (; r < rEnd; r++)
          for (int c = c0; c < cEnd; c++) out[c * rows + r] = x[r * columns + c];
      }
}

/* A comparison with NaN is false, so NaN stays. */
EXPORT(clip) void clip(const float* x, float* out, int n, float low, float high) {
  for (int i = 0; i < n; i++) out[i] = x[i] < low ? low : x[i] > high ? high : x[i];
}

/* 0 none, 1 relu, 2 relu6. NaN stays. */
INLINE f4 activate(f4 v, int activation) {
  if (activation > 0) v = pick(v < splat(0), splat(0), v);
  if (activation == 2) v = pick(v > splat(6), splat(6), v);
  return v;
}

INLINE void finish(float* out, const float* bias, int rows, int width, int activation) {
  for (int r = 0; r < rows; r++, out += width) {
    int i = 0;
    for (; i + 4 <= width; i += 4) store(out + i, activate(bias ? load(out + i) + load(bias + i) : load(out + i), activation));
    for (; i < width; i++) out[i] = activate(splat(bias ? out[i] + bias[i] : out[i]), activation)[0];
  }
}

/* out[row, :] += bias, which may be 0, then the activation. */
EXPORT(addBias) void addBias(float* out, const float* bias, int rows, int width, int activation) {
  if (!bias) width *= rows, rows = 1;
  if (activation == 0) finish(out, bias, rows, width, 0);
  if (activation == 1) finish(out, bias, rows, width, 1);
  if (activation == 2) finish(out, bias, rows, width, 2);
}

EXPORT(scratchBytes) int scratchBytes(void) { return sizeof(Scratch); }
EXPORT(shapeOffset) const int* shapeOffset(const Scratch* scratch) { return scratch->inRow; }
EXPORT(repsOffset) const int* repsOffset(const Scratch* scratch) { return scratch->outRow; }
