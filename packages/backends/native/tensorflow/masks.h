// Masks of one byte a value, for gradients that are dy or 0.
#pragma once

#include "vector.h"

namespace leantune {

// 0 < x <= 6: where relu6 passes a gradient on.
MULTIVERSION void Relu6Mask(const float* x, uint8_t* mask, int64_t n) {
  for (int64_t i = 0; i < n; i++) mask[i] = (x[i] > 0) & (x[i] <= 6);
}

// low <= x <= high.
MULTIVERSION void InRange(const float* x, uint8_t* mask, int64_t n, float low, float high) {
  for (int64_t i = 0; i < n; i++) mask[i] = (x[i] >= low) & (x[i] <= high);
}

// dy where the mask is set, else 0.
MULTIVERSION void Masked(const float* dy, const uint8_t* mask, float* dx, int64_t n) {
  for (int64_t i = 0; i < n; i++) dx[i] = mask[i] ? dy[i] : 0;
}

}  // namespace leantune
