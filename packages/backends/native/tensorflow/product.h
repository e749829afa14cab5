// C = A B, or C += A B, for the small matrices of attention: rows of A and columns of B in registers, B's rows straight from memory.
#pragma once

#include "vector.h"

namespace leantune {

// A matrix of any strides; of B and C the columns lie side by side.
struct Matrix {
  const float* at;
  int64_t row, column;
};

template <int ROWS, int VECTORS>
INLINE void Tile(int64_t depth, const Matrix a, const float* b, int64_t ldb, float* c, int64_t ldc, bool add) {
  F sum[ROWS][VECTORS];
  for (int i = 0; i < ROWS; i++)
    for (int j = 0; j < VECTORS; j++) sum[i][j] = add ? Load(c + i * ldc + j * LANES) : F{};
  for (int64_t p = 0; p < depth; p++, b += ldb) {
    F row[VECTORS];
    for (int j = 0; j < VECTORS; j++) row[j] = Load(b + j * LANES);
    for (int i = 0; i < ROWS; i++) {
      const float x = a.at[i * a.row + p * a.column];
      for (int j = 0; j < VECTORS; j++) sum[i][j] += x * row[j];
    }
  }
  for (int i = 0; i < ROWS; i++)
    for (int j = 0; j < VECTORS; j++) Store(c + i * ldc + j * LANES, sum[i][j]);
}

template <int VECTORS>
INLINE void Panel(int64_t m, int64_t depth, Matrix a, const float* b, int64_t ldb, float* c, int64_t ldc, bool add) {
  int64_t i = 0;
  for (; i + 6 <= m; i += 6, a.at += 6 * a.row) Tile<6, VECTORS>(depth, a, b, ldb, c + i * ldc, ldc, add);
  for (; i < m; i++, a.at += a.row) Tile<1, VECTORS>(depth, a, b, ldb, c + i * ldc, ldc, add);
}

// a [m, depth], b [depth, n], c [m, n].
INLINE void Product(int64_t m, int64_t n, int64_t depth, const Matrix a, const float* b, int64_t ldb, float* c, int64_t ldc,
                    bool add = false) {
  int64_t j = 0;
  for (; j + 2 * LANES <= n; j += 2 * LANES) Panel<2>(m, depth, a, b + j, ldb, c + j, ldc, add);
  for (; j + LANES <= n; j += LANES) Panel<1>(m, depth, a, b + j, ldb, c + j, ldc, add);
  for (; j < n; j++)
    for (int64_t i = 0; i < m; i++) {
      float sum = add ? c[i * ldc + j] : 0;
      for (int64_t p = 0; p < depth; p++) sum += a.at[i * a.row + p * a.column] * b[p * ldb + j];
      c[i * ldc + j] = sum;
    }
}

// out [n, m] = x [m, n] of rows `stride` apart.
INLINE void Transpose(const float* x, int64_t stride, int64_t m, int64_t n, float* out) {
  for (int64_t i = 0; i < m; i++)
    for (int64_t j = 0; j < n; j++) out[j * m + i] = x[i * stride + j];
}

}  // namespace leantune
