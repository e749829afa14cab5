/*
 * Shared by all kernels: four-lane vectors, the window that every convolution and pooling slides over its input, and
 * the scratch memory that the caller lends.
 *
 * The module lives inside the heap of tfjs-backend-wasm (it imports that memory), so it may own no data of its own:
 * no globals, no string literals, no allocation. Its stack and scratch are blocks that the caller got from tfjs's malloc.
 * Written with the compiler's vector extension: one source gives the SIMD module and the plain one for old engines.
 */
#pragma once

#define EXPORT(name) __attribute__((export_name(#name)))

#define INLINE static inline __attribute__((always_inline))
/* Not where the time goes: its code stands once. */
#define ONCE static __attribute__((noinline))
/* Before a loop whose trip count is constant once inlined: its arrays become registers. */
#define UNROLL _Pragma("clang loop unroll(full)")

typedef float f4 __attribute__((vector_size(16)));
typedef int i4 __attribute__((vector_size(16)));
typedef f4 f4u __attribute__((aligned(4)));
typedef i4 i4u __attribute__((aligned(4)));

static inline f4 load(const float* p) { return *(const f4u*)p; }
static inline void store(float* p, f4 v) { *(f4u*)p = v; }
static inline f4 splat(float v) { return (f4){v, v, v, v}; }
static inline i4 splatInt(int v) { return (i4){v, v, v, v}; }
/* Lane by lane, yes where the mask is -1 and no where it is 0. */
static inline f4 pick(i4 mask, f4 yes, f4 no) { return (f4)(((i4)yes & mask) | ((i4)no & ~mask)); }

/* Four rows of four become four columns, `stride` apart. */
static inline void transpose4(float* out, int stride, const float* r0, const float* r1, const float* r2, const float* r3) {
  f4 a = load(r0), b = load(r1), c = load(r2), d = load(r3);
  f4 ab0 = __builtin_shufflevector(a, b, 0, 4, 1, 5), ab1 = __builtin_shufflevector(a, b, 2, 6, 3, 7);
  f4 cd0 = __builtin_shufflevector(c, d, 0, 4, 1, 5), cd1 = __builtin_shufflevector(c, d, 2, 6, 3, 7);
  store(out, __builtin_shufflevector(ab0, cd0, 0, 1, 4, 5));
  store(out + stride, __builtin_shufflevector(ab0, cd0, 2, 3, 6, 7));
  store(out + 2 * stride, __builtin_shufflevector(ab1, cd1, 0, 1, 4, 5));
  store(out + 3 * stride, __builtin_shufflevector(ab1, cd1, 2, 3, 6, 7));
}

static inline int min(int a, int b) { return a < b ? a : b; }
static inline int max(int a, int b) { return a > b ? a : b; }

/* NDHWC everywhere; 2-D kernels have depth 1. Offsets and strides count elements. */
typedef struct {
  int batch;
  int inD, inH, inW, inC;
  int outD, outH, outW, outC;
  int kD, kH, kW;
  int strideD, strideH, strideW;
  int dilationD, dilationH, dilationW;
  int padD, padH, padW; /* before the first element */
} Window;

enum { MR = 4, NR = 8, KC = 256, MC = 64, NC = 256, PAIRS = 1024 };

typedef struct {
  Window window;
  int inRow[PAIRS];
  int outRow[PAIRS];
  float packA[MC * KC];
  float packB[KC * NC];
} Scratch;

/* Row i of a matrix starts at base[rows ? rows[i] : i * stride]. */
typedef struct {
  float* base;
  const int* rows;
  int stride;
} Rows;

static inline float* row(Rows m, int i) { return m.base + (m.rows ? m.rows[i] : i * m.stride); }

/* C[m, n] (+)= A[m, k] B[k, n]. transA: the rows of `a` run along k; transB: the rows of `b` run along n. */
void gemm(int m, int n, int k, Rows a, int transA, Rows b, int transB, Rows c, int accumulate, Scratch* scratch);

void zero(float* p, int n);
