// Compiles the header KERNELS, whose kernels fill a TABLE named `kernels`, for AVX-512, for AVX2 and for what every processor has; the
// processor picks. The compiler splits vectors by the target of the function it finds them in, before anything is inlined, so each target
// has all of the code to itself. WIDTH is how many floats one of its registers has.
#include <cmath>
#include <cstdint>
#include <cstring>

#define INLINE static inline __attribute__((always_inline))

namespace leantune {

namespace plain {
#define WIDTH 4
#include KERNELS
#undef WIDTH
}

#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__)
#pragma GCC push_options
#pragma GCC target("arch=haswell")
namespace avx2 {
#define WIDTH 8
#include KERNELS
#undef WIDTH
}
#pragma GCC pop_options
#pragma GCC push_options
#pragma GCC target("arch=skylake-avx512")
namespace avx512 {
#define WIDTH 16
#include KERNELS
#undef WIDTH
}
#pragma GCC pop_options
#endif

static const TABLE& Chosen() {
#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__)
  if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq") &&
      __builtin_cpu_supports("avx512vl"))
    return avx512::kernels;
  if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) return avx2::kernels;
#endif
  return plain::kernels;
}

}  // namespace leantune
