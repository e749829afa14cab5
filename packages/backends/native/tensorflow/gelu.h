// GELU in one pass: x (1 + erf(x / √2)) / 2, or with tanh(√(2/π) (x + 0.044715 x³)) for the error function; and dy times its slope.
#pragma once

#include "vector.h"

namespace leantune {

INLINE F Share(F x, bool approximate) {
  F z = approximate ? Tanh(x * (x * x * 0.044715f + 1) * 0.79788456f) : Erf(x * 0.70710678f);
  return (z + 1) * 0.5f;
}

// With h the share: h + x exp(-x² / 2) / √(2π), and with tanh(u) h + 2 x u' h (1 - h).
INLINE F Slope(F x, bool approximate) {
  F h = Share(x, approximate);
  if (!approximate) return h + x * (Exp(x * x * -0.5f) * 0.39894228f);
  return h + x * (x * x * 0.134145f + 1) * 0.79788456f * (h + h) * (1 - h);
}

MULTIVERSION void Gelu(const float* x, float* y, int64_t n, bool approximate) {
  Sixteens(n, [=](auto load, auto store) { store(y, load(x) * Share(load(x), approximate)); });
}

MULTIVERSION void GeluGrad(const float* x, const float* dy, float* dx, int64_t n, bool approximate) {
  Sixteens(n, [=](auto load, auto store) { store(dx, load(dy) * Slope(load(x), approximate)); });
}

}  // namespace leantune
