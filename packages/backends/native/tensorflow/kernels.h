// The kernels of this folder, compiled for AVX-512, for AVX2 and for what every processor has; the processor picks. The compiler splits
// vectors by the target of the function it finds them in, before anything is inlined, so each target has all of the code to itself.
#pragma once

#include <cmath>
#include <cstdint>
#include <cstring>

namespace leantune {

#define INLINE static inline __attribute__((always_inline))

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

namespace plain {
#include "all-kernels.h"
}

#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__)
#pragma GCC push_options
#pragma GCC target("arch=haswell")
namespace avx2 {
#include "all-kernels.h"
}
#pragma GCC pop_options
#pragma GCC push_options
#pragma GCC target("arch=skylake-avx512")
namespace avx512 {
#include "all-kernels.h"
}
#pragma GCC pop_options
#endif

inline const Kernels& Chosen() {
#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__)
  if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq") &&
      __builtin_cpu_supports("avx512vl"))
    return avx512::kernels;
  if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) return avx2::kernels;
#endif
  return plain::kernels;
}

}  // namespace leantune
