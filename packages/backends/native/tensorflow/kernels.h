// Kernels of training that are not codes; codes.h has those. Compiled for three targets, by targets.h.
#pragma once

#include <cstdint>

namespace leantune {

struct Attention {
  int64_t queries, keys, heads, kvHeads, size;  // of one sequence; `size` of a head
  float scale;
  bool causal;
  int64_t window;       // with causal: a query sees so many keys, itself included; 0: all
  const int32_t* mask;  // [keys]: 0 for padding, else the document; null: one document

  // The key at a query: the last query is at the last key.
  int64_t At(int64_t query) const { return keys - queries + query; }
};

constexpr int64_t BLOCK = 48;            // queries at a time
constexpr float HIDDEN = -1e9f;          // e to this power is 0, and unlike infinity it leaves a number where all keys are hidden

struct Kernels {
  void (*gelu)(const float* x, float* y, int64_t n, bool approximate);
  void (*geluGrad)(const float* x, const float* dy, float* dx, int64_t n, bool approximate);
  void (*relu6Mask)(const float* x, uint8_t* mask, int64_t n);
  void (*inRange)(const float* x, uint8_t* mask, int64_t n, float low, float high);
  void (*masked)(const float* dy, const uint8_t* mask, float* dx, int64_t n);
  void (*softmaxGrad)(const float* dy, const float* y, float* dx, int64_t rows, int64_t n);
  void (*layerNorm)(const float* x, const float* w, const float* b, float* y, int64_t rows, int64_t n, float epsilon);
  void (*layerNormGrad)(const float* x, const float* w, const float* dy, float* dx, float* dw, float* db, int64_t rows, int64_t n,
                        float epsilon);
  void (*attend)(const Attention& of, const float* q, int64_t ld, const float* k, const float* v, int64_t ldk, float* o, float* lse,
                 float* kt, float* s);
  void (*attendGrad)(const Attention& of, const float* q, const float* o, const float* lse, const float* d, int64_t ld, const float* k,
                     const float* v, int64_t ldk, float* dq, float* dk, float* dv, float* kt, float* vt, float* p, float* ds);
};

}  // namespace leantune

#define KERNELS "all-kernels.h"
#define TABLE Kernels
#include "targets.h"
