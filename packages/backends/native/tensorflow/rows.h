// Kernels by rows of n values: layer norm (Ba et al. 2016, arXiv 1607.06450) with its gradient, and the gradient of softmax. A row is
// read from memory once and again from cache.
#pragma once

#include <cmath>

#include "vector.h"

namespace leantune {

INLINE float SumOf(const float* x, int64_t n) {
  F sum = {};
  Sixteens(n, [&](auto load, auto) { sum += load(x); });
  return Sum(sum);
}

INLINE float SumOfProducts(const float* a, const float* b, int64_t n) {
  F sum = {};
  Sixteens(n, [&](auto load, auto) { sum += load(a) * load(b); });
  return Sum(sum);
}

struct Moments {
  float mean, r;
};

// The mean, and 1 / √(variance + ε). The variance in two passes: one would lose digits where the mean is large.
INLINE Moments MomentsOf(const float* x, int64_t n, float epsilon) {
  const float mean = SumOf(x, n) / n;
  F sum = {};
  int64_t i = 0;
  for (; i + LANES <= n; i += LANES) sum += (Load(x + i) - mean) * (Load(x + i) - mean);
  float variance = Sum(sum);
  for (; i < n; i++) variance += (x[i] - mean) * (x[i] - mean);
  return {mean, 1 / std::sqrt(variance / n + epsilon)};
}

// y = w (x - mean) r + b
MULTIVERSION void LayerNorm(const float* x, const float* w, const float* b, float* y, int64_t rows, int64_t n, float epsilon) {
  for (int64_t row = 0; row < rows; row++, x += n, y += n) {
    const auto [mean, r] = MomentsOf(x, n, epsilon);
    Sixteens(n, [&](auto load, auto store) { store(y, (load(x) - mean) * r * load(w) + load(b)); });
  }
}

// With x̂ = (x - mean) r and g = w dy: dx = r (g - mean(g) - x̂ mean(g x̂)). Adds Σ dy x̂ to dw and Σ dy to db.
MULTIVERSION void LayerNormGrad(const float* x, const float* w, const float* dy, float* dx, float* dw, float* db, int64_t rows, int64_t n,
                                float epsilon) {
  for (int64_t row = 0; row < rows; row++, x += n, dy += n, dx += n) {
    const auto [mean, r] = MomentsOf(x, n, epsilon);
    F g = {}, along = {};
    Sixteens(n, [&](auto load, auto store) {
      F d = load(dy), normal = (load(x) - mean) * r, wd = load(w) * d;
      g += wd;
      along += wd * normal;
      store(dw, load(dw) + d * normal);
      store(db, load(db) + d);
    });
    const float meanG = Sum(g) / n, meanAlong = Sum(along) / n;
    Sixteens(n, [&](auto load, auto store) {
      store(dx, r * (load(w) * load(dy) - meanG - (load(x) - mean) * r * meanAlong));
    });
  }
}

// dx = y (dy - Σ dy y)
MULTIVERSION void SoftmaxGrad(const float* dy, const float* y, float* dx, int64_t rows, int64_t n) {
  for (int64_t row = 0; row < rows; row++, dy += n, y += n, dx += n) {
    const float along = SumOfProducts(dy, y, n);
    Sixteens(n, [&](auto load, auto store) { store(dx, load(y) * (load(dy) - along)); });
  }
}

}  // namespace leantune
