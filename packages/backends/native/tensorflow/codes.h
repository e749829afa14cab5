// Kernels by which values wait for backward as codes of 1, 2, 4, 8 or 16 bits. What each computes, and the words that it reads and writes, is
// at the head of ../codes.c. Compiled for three targets, by targets.h.
#pragma once

#include <cstdint>

namespace leantune {

constexpr int64_t BATCH = 64;  // values at a time: whole words, of any number of bits

// Bytes of n codes, in whole words.
inline int64_t CodeBytes(int64_t n, int bits) { return (n * bits + 31) / 32 * 4; }

// codes[number of borders below x] -> levels[code]
struct Steps {
  const float* borders;  // rising
  const int32_t* codes;
  int64_t count;  // of borders, below 1024; codes are one more
};

// Rows of n values, each a header and its codes. Words begin at the first row that is asked for, as all other pointers do.
struct Rows {
  int64_t n;
  int bits;
  int64_t Bytes() const { return 4 + CodeBytes(n, bits); }
};

// Windows over images [height, width, channels].
struct Pool {
  int64_t height, width, channels, outHeight, outWidth, rows, columns, strideY, strideX, top, left;
};

struct Codes {
  void (*encodeSteps)(const float* x, uint8_t* out, int64_t n, int bits, const Steps& steps);
  // levels[code], times dy where that is not null. `levels` has 2^bits numbers, and at least sixteen.
  void (*decodeSteps)(const uint8_t* in, const float* dy, float* out, int64_t n, int bits, const float* levels);
  // `place` of the first value in its tensor: with a seed values are rounded at random, by their place.
  void (*quantizeRows)(const float* x, uint8_t* out, int64_t rows, const Rows& of, int64_t place, uint32_t seed);
  void (*dequantizeRows)(const uint8_t* in, float* out, int64_t rows, const Rows& of);
  void (*softmaxGradRows)(const uint8_t* in, const float* dy, float* dx, int64_t rows, const Rows& of);
  // `mean` and `scale` may be null.
  void (*normGradRows)(const uint8_t* in, const float* dy, const float* mean, const float* r, const float* scale, float* dx, int64_t rows,
                       const Rows& of);
  // Adds to both; `x` is room for a row.
  void (*normScaleGradRows)(const uint8_t* in, const float* dy, const float* mean, const float* r, float* dscale, float* doffset, float* x,
                            int64_t rows, const Rows& of);
  // Without `mean` that of the square is taken for the variance.
  void (*rowMoments)(const float* x, float* mean, float* r, int64_t rows, int64_t n, float epsilon);
  // One row of windows: a byte for each, the place in it of the largest.
  void (*maxPoolTaps)(const Pool& of, const float* image, int64_t row, uint8_t* taps);
  void (*packTaps)(const uint8_t* taps, uint8_t* out, int64_t n, int bits);
  // One image; `first` is its first window among all.
  void (*maxPoolIndexGrad)(const Pool& of, const uint32_t* in, const float* dy, float* dx, int64_t first, int bits);
};

}  // namespace leantune

#define KERNELS "all-codes.h"
#define TABLE Codes
#include "targets.h"
