// Kernels of the ops that a training step of tfjs is made of: batch norm, sums, operands that are repeated, the slope of the error function,
// the step of gradient descent. Compiled for three targets, by targets.h.
#pragma once

#include <cstdint>

namespace leantune {

enum class Binary { add, sub, mul, div };
// Along which axis the second operand is given.
enum class Given { whole, columns, rows, once };

// A batch norm whose output is clipped to [0, max].
struct Relu {
  const float *mean, *factor, *offset;
  float max;
};

// x, dy, y, dx [rows, n], and one value a column in all else. Pointers to sums are added to.
struct Training {
  // Σ (x - shift) and Σ (x - shift)².
  void (*columnMoments)(const float* x, const float* shift, float* sum, float* squares, int64_t rows, int64_t n);
  // Σ dy and Σ dy (x - mean).
  void (*columnProducts)(const float* dy, const float* x, const float* mean, float* sum, float* along, int64_t rows, int64_t n);
  // (x - mean) factor + offset
  void (*normalize)(const float* x, const float* mean, const float* factor, const float* offset, float* y, int64_t rows, int64_t n);
  // (dy - level) factor - (x - mean) slope
  void (*normalizeGrad)(const float* dy, const float* x, const float* mean, const float* factor, const float* slope, const float* level,
                        float* dx, int64_t rows, int64_t n);
  // The same three behind a relu: for dy where it passes it on, else 0.
  void (*columnProductsRelu)(const float* dy, const float* x, const Relu& relu, float* sum, float* along, int64_t rows, int64_t n);
  void (*normalizeRelu)(const float* x, const Relu& relu, float* y, int64_t rows, int64_t n);
  void (*normalizeReluGrad)(const float* dy, const float* x, const Relu& relu, const float* slope, const float* level, float* dx,
                            int64_t rows, int64_t n);
  // a + b, a - b, a b or a / b, of b[row, column], b[column], b[row] or the number b.
  void (*binary)(Binary op, Given b, const float* a, const float* values, float* y, int64_t rows, int64_t n);
  // x, or `low` and `high` where it is beyond them. NaN stays.
  void (*clip)(const float* x, float low, float high, float* y, int64_t n);
  void (*reluGrad)(const float* dy, const float* y, float* dx, int64_t n);
  // The sum of each row.
  void (*rowSums)(const float* x, float* sums, int64_t rows, int64_t n);
  // dy 2 / √π exp(-x²), elementwise.
  void (*erfGrad)(const float* dy, const float* x, float* dx, int64_t n);
  // to = w - rate g.
  void (*descend)(const float* w, const float* g, float rate, float* to, int64_t n);
};

}  // namespace leantune

#define KERNELS "all-training.h"
#define TABLE Training
#include "targets.h"
