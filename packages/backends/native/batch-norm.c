/*
 * Batch normalization (arXiv 1502.03167) of rows of channels, in inference and in training, and behind it a ReLU that clips to [0, most].
 *
 *     y = (x - mean) f + offset                f = scale / sqrt(variance + epsilon)
 *     dx = (g - mean(g)) f - (x - mean) f mean(g (x - mean)) / (variance + epsilon)
 *
 * g is 0 where y <= low or y > most, y made again from x, and else dy. Where there is no ReLU, `most` is given as below 0, and the bounds
 * are NaN, with which no comparison holds: one loop serves both. Rows are summed in blocks, as in reduce.c; moments around the mean of the
 * first rows, so that a variance does not drown in a large mean. scale and offset may be 0.
 */
#include "kernels.h"

enum { BLOCK = 512, CHUNK = KC * NC / 4, FIRST = 16 };

/* What some channels are normalized by, from the first of them on, of at most CHUNK. */
typedef struct {
  const float* mean;
  float *f, *offset, *slope, *level; /* in scratch memory; the last two for gradients */
  float low, most;
} Norm;

static Norm normOf(const float* mean, const float* variance, const float* scale, const float* offset, int count, float epsilon, float most, Scratch* scratch) {
  float* f = scratch->packB;
  Norm norm = {mean, f, f + CHUNK, f + 2 * CHUNK, f + 3 * CHUNK, most < 0 ? __builtin_nanf("") : 0, most < 0 ? __builtin_nanf("") : most};
  for (int c = 0; c < count; c++) {
    norm.f[c] = (scale ? scale[c] : 1) / __builtin_sqrtf(variance[c] + epsilon);
    norm.offset[c] = offset ? offset[c] : 0;
  }
  return norm;
}

/* Four channels, or one of them four times. */
INLINE f4 read(const float* p, int one) { return one ? splat(*p) : load(p); }
INLINE void write(float* p, f4 v, int one) {
  if (one) *p = v[0];
  else store(p, v);
}

/* Channels of one row, from c on. Returns where it ended. A comparison with NaN is false, so NaN stays. */
INLINE int normalizeRow(const Norm* norm, const float* x, float* y, int c, int count, int one) {
  f4 low = splat(norm->low), most = splat(norm->most);
  for (; c + (one ? 1 : 4) <= count; c += one ? 1 : 4) {
    f4 v = (read(x + c, one) - read(norm->mean + c, one)) * read(norm->f + c, one) + read(norm->offset + c, one);
    v = pick(v < low, low, v);
    write(y + c, pick(v > most, most, v), one);
  }
  return c;
}

EXPORT(batchNorm) void batchNorm(const float* x, const float* mean, const float* variance, const float* scale, const float* offset, float* y, int rows, int channels, float epsilon, float most, Scratch* scratch) {
  for (int c = 0; c < channels; c += CHUNK) {
    int count = min(channels - c, CHUNK);
    Norm norm = normOf(mean + c, variance + c, scale ? scale + c : 0, offset ? offset + c : 0, count, epsilon, most, scratch);
    for (int r = 0; r < rows; r++) {
      int at = r * channels + c;
      normalizeRow(&norm, x + at, y + at, normalizeRow(&norm, x + at, y + at, 0, count, 0), count, 1);
    }
  }
}

/* sum += x - around, squares += (x - around)^2, of some rows of 4 * lanes channels, or of one. */
INLINE void moments(const float* x, const float* around, float* sum, float* squares, int rows, int channels, int lanes, int one) {
  f4 from[4], s[4] = {{0}}, q[4] = {{0}};
  UNROLL for (int v = 0; v < lanes; v++) from[v] = read(around + 4 * v, one);
  for (int r = 0; r < rows; r++, x += channels)
    UNROLL for (int v = 0; v < lanes; v++) {
      f4 d = read(x + 4 * v, one) - from[v];
      s[v] += d;
      q[v] += d * d;
    }
  UNROLL for (int v = 0; v < lanes; v++) {
    write(sum + 4 * v, read(sum + 4 * v, one) + s[v], one);
    write(squares + 4 * v, read(squares + 4 * v, one) + q[v], one);
  }
}

/* Mean and variance of the batch, and the two moving ones, moved. */
EXPORT(batchNormMoments) void batchNormMoments(const float* x, float* mean, float* variance, const float* meanBefore, const float* varianceBefore, float* meanAfter, float* varianceAfter, int rows, int channels, float momentum) {
  float* around = meanAfter; /* until it is written */
  int few = min(rows, FIRST);
  zero(mean, channels);
  zero(variance, channels);
  zero(around, channels);
  for (int r = 0; r < few; r++)
    for (int c = 0; c < channels; c++) around[c] += x[r * channels + c] / few;
  for (int r = 0; r < rows; r += BLOCK) {
    const float* from = x + r * channels;
    int some = min(BLOCK, rows - r), c = 0;
    for (; c + 16 <= channels; c += 16) moments(from + c, around + c, mean + c, variance + c, some, channels, 4, 0);
    for (; c + 4 <= channels; c += 4) moments(from + c, around + c, mean + c, variance + c, some, channels, 1, 0);
    for (; c < channels; c++) moments(from + c, around + c, mean + c, variance + c, some, channels, 1, 1);
  }
  for (int c = 0; c < channels; c++) {
    float d = mean[c] / rows, v = variance[c] / rows - d * d;
    mean[c] = around[c] + d;
    variance[c] = v < 0 ? 0 : v;
    meanAfter[c] = meanBefore[c] - (meanBefore[c] - mean[c]) * (1 - momentum);
    varianceAfter[c] = varianceBefore[c] - (varianceBefore[c] - variance[c]) * (1 - momentum);
  }
}

/* dy where it passes, at channel c, of x - mean = d. */
INLINE f4 passed(const Norm* norm, f4 dy, f4 d, int c, int one) {
  f4 y = d * read(norm->f + c, one) + read(norm->offset + c, one);
  return (f4)((i4)dy & ~((y <= splat(norm->low)) | (y > splat(norm->most))));
}

/* sum += g, along += g (x - mean), of some rows of 4 * lanes channels from c on, or of one. */
INLINE void slopes(const Norm* norm, const float* dy, const float* x, float* sum, float* along, int c, int rows, int channels, int lanes, int one) {
  f4 s[2] = {{0}}, p[2] = {{0}};
  for (int r = 0; r < rows; r++, dy += channels, x += channels)
    UNROLL for (int v = 0; v < lanes; v++) {
      int at = c + 4 * v;
      f4 d = read(x + at, one) - read(norm->mean + at, one), g = passed(norm, read(dy + at, one), d, at, one);
      s[v] += g;
      p[v] += g * d;
    }
  UNROLL for (int v = 0; v < lanes; v++) {
    int at = c + 4 * v;
    write(sum + at, read(sum + at, one) + s[v], one);
    write(along + at, read(along + at, one) + p[v], one);
  }
}

INLINE int gradientRow(const Norm* norm, const float* dy, const float* x, float* dx, int c, int count, int one) {
  for (; c + (one ? 1 : 4) <= count; c += one ? 1 : 4) {
    f4 d = read(x + c, one) - read(norm->mean + c, one), g = passed(norm, read(dy + c, one), d, c, one);
    write(dx + c, (g - read(norm->level + c, one)) * read(norm->f + c, one) - d * read(norm->slope + c, one), one);
  }
  return c;
}

EXPORT(batchNormGradient) void batchNormGradient(const float* dy, const float* x, const float* mean, const float* variance, const float* scale, const float* offset, float* dx, float* dscale, float* doffset, int rows, int channels, float epsilon, float most, Scratch* scratch) {
  zero(dscale, channels);
  zero(doffset, channels);
  for (int c0 = 0; c0 < channels; c0 += CHUNK, dy += CHUNK, x += CHUNK, dx += CHUNK, dscale += CHUNK, doffset += CHUNK) {
    int count = min(channels - c0, CHUNK);
    Norm norm = normOf(mean + c0, variance + c0, scale ? scale + c0 : 0, offset ? offset + c0 : 0, count, epsilon, most, scratch);
    for (int r = 0; r < rows; r += BLOCK) {
      int at = r * channels, some = min(BLOCK, rows - r), c = 0;
      for (; c + 8 <= count; c += 8) slopes(&norm, dy + at, x + at, doffset, dscale, c, some, channels, 2, 0);
      for (; c + 4 <= count; c += 4) slopes(&norm, dy + at, x + at, doffset, dscale, c, some, channels, 1, 0);
      for (; c < count; c++) slopes(&norm, dy + at, x + at, doffset, dscale, c, some, channels, 1, 1);
    }
    for (int c = 0; c < count; c++) {
      float spread = variance[c0 + c] + epsilon;
      norm.slope[c] = norm.f[c] * dscale[c] / (rows * spread);
      norm.level[c] = doffset[c] / rows;
      dscale[c] /= __builtin_sqrtf(spread);
    }
    for (int r = 0; r < rows; r++) {
      int at = r * channels;
      gradientRow(&norm, dy + at, x + at, dx + at, gradientRow(&norm, dy + at, x + at, dx + at, 0, count, 0), count, 1);
    }
  }
}
