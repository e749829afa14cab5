/*
 * Values that wait for backward as codes of 1, 2, 4 or 8 bits, 32 / bits of them in a word, the first in the lowest bits.
 *
 * Steps: code = codes[how many borders lie below x]; what is read back is levels[code], times dy. Rows: stretches of `group`
 * values, each a header and ceil(group * bits / 32) words. The header holds two bfloat16: low in its upper half, rounded down,
 * and step in its lower half, rounded up, so that x = low + code * step covers the row.
 */
#include "kernels.h"

typedef unsigned Word;

static inline int words(int n, int bits) { return (n * bits + 31) / 32; }

static inline float asFloat(Word bits) {
  union { Word w; float f; } u = {.w = bits};
  return u.f;
}
static inline Word asWord(float value) {
  union { float f; Word w; } u = {.f = value};
  return u.w;
}

/* Codes of four values at once: deltas[0] + sum of deltas[k] over the borders k that lie below. */
INLINE i4 codes4(f4 x, const float* borders, const int* deltas, int count) {
  i4 code = splatInt(deltas[0]);
  for (int k = 0; k < count; k++) code += (x > splat(borders[k])) & splatInt(deltas[k + 1]);
  return code;
}

INLINE void encode(const float* x, Word* out, int n, int bits, const float* borders, const int* deltas, int count) {
  int per = 32 / bits;
  const i4 lanes = {0, bits, 2 * bits, 3 * bits};
  for (; n >= per; n -= per, x += per) {
    i4 word = splatInt(0);
    UNROLL for (int i = 0; i < per; i += 4) word |= codes4(load(x + i), borders, deltas, count) << (lanes + i * bits);
    *out++ = (Word)(word[0] | word[1] | word[2] | word[3]);
  }
  if (n == 0) return;
  Word word = 0;
  for (int i = 0; i < n; i++) word |= (Word)codes4(splat(x[i]), borders, deltas, count)[0] << (i * bits);
  *out = word;
}

EXPORT(encodeSteps) void encodeSteps(const float* x, Word* out, int n, int bits, const float* borders, const int* deltas, int count) {
  if (bits == 1 && count == 1) encode(x, out, n, 1, borders, deltas, 1);
  else if (bits == 1) encode(x, out, n, 1, borders, deltas, count);
  else if (bits == 2) encode(x, out, n, 2, borders, deltas, count);
  else encode(x, out, n, 4, borders, deltas, count);
}

/* The same for long tables, of 8 bits, by halving. */
EXPORT(encodeStepsByHalves) void encodeStepsByHalves(const float* x, Word* out, int n, const float* borders, const int* codes, int count) {
  zero((float*)out, words(n, 8));
  for (int i = 0; i < n; i++) {
    int low = 0, high = count;
    while (low < high) {
      int middle = (low + high) / 2;
      if (x[i] > borders[middle]) low = middle + 1;
      else high = middle;
    }
    out[i / 4] |= (Word)codes[low] << (i % 4 * 8);
  }
}

INLINE void decode(const Word* in, const float* dy, float* out, int n, int bits, const float* levels) {
  int per = 32 / bits;
  Word mask = (1u << bits) - 1;
  for (int i = 0; i < n; i += per) {
    Word word = *in++;
    int end = min(n, i + per);
    for (int j = i; j < end; j++, word >>= bits) out[j] = dy ? dy[j] * levels[word & mask] : levels[word & mask];
  }
}

/* out = levels[code], or dy * levels[code] where dy is not 0. */
EXPORT(decodeSteps) void decodeSteps(const Word* in, const float* dy, float* out, int n, int bits, const float* levels) {
  if (bits == 1) decode(in, dy, out, n, 1, levels);
  else if (bits == 2) decode(in, dy, out, n, 2, levels);
  else if (bits == 4) decode(in, dy, out, n, 4, levels);
  else decode(in, dy, out, n, 8, levels);
}

/* In [0, 1), from the place of the value and a seed: Jarzynski and Olano 2020, "Hash functions for GPU rendering" (pcg). */
static inline float chance(Word place, Word seed) {
  Word state = (place ^ seed) * 747796405u + 2891336453u;
  Word word = ((state >> ((state >> 28) + 4)) ^ state) * 277803737u;
  return (float)(((word >> 22) ^ word) >> 8) * 0x1p-24f;
}

/* Smallest and largest of a row. */
static inline void range(const float* x, int n, float* low, float* high) {
  f4 l = splat(x[0]), h = l;
  int i = 0;
  for (; i + 4 <= n; i += 4) {
    f4 v = load(x + i);
    l = pick(v < l, v, l), h = pick(v > h, v, h);
  }
  *low = l[0], *high = h[0];
  for (int k = 1; k < 4; k++) *low = l[k] < *low ? l[k] : *low, *high = h[k] > *high ? h[k] : *high;
  for (; i < n; i++) *low = x[i] < *low ? x[i] : *low, *high = x[i] > *high ? x[i] : *high;
}

/* Nearest code, or with a seed the one above with the chance of being nearer to it. */
EXPORT(quantizeRows) void quantizeRows(const float* x, Word* out, int n, int group, int bits, Word seed) {
  int per = 32 / bits, last = bits == 16 ? 65535 : (1 << bits) - 1;
  for (int start = 0; start < n; start += group) {
    int size = min(group, n - start);
    const float* row = x + start;
    float low, high;
    range(row, size, &low, &high);
    Word lowBits = asWord(low), sign = lowBits >> 31;
    lowBits = (lowBits + (sign ? 0xffff : 0)) & 0xffff0000u;
    low = asFloat(lowBits);
    Word stepBits = (asWord((high - low) / (float)last) + 0xffff) & 0xffff0000u;
    float inverse = stepBits ? 1 / asFloat(stepBits) : 0, limit = (float)last;
    *out++ = lowBits | stepBits >> 16;
    for (int i = 0; i < size; i += per) {
      Word word = 0;
      int end = min(size, i + per);
      for (int j = i; j < end; j++) {
        float v = (row[j] - low) * inverse + (seed ? chance((Word)(start + j), seed) : 0.5f);
        v = v > 0 ? v : 0;
        v = v < limit ? v : limit;
        word |= (Word)v << ((j - i) * bits);
      }
      *out++ = word;
    }
  }
}

INLINE void dequantize(const Word* in, float* out, int n, int bits) {
  float low = asFloat(*in & 0xffff0000u), step = asFloat(*in << 16);
  int per = 32 / bits;
  Word mask = (1u << bits) - 1;
  for (int i = 0; i < n; i += per) {
    Word word = *++in;
    int end = min(n, i + per);
    for (int j = i; j < end; j++, word >>= bits) out[j] = low + (float)(word & mask) * step;
  }
}

static inline void dequantizeRow(const Word* in, float* out, int n, int bits) {
  if (bits == 4) dequantize(in, out, n, 4);
  else if (bits == 8) dequantize(in, out, n, 8);
  else dequantize(in, out, n, bits);
}

EXPORT(dequantizeRows) void dequantizeRows(const Word* in, float* out, int n, int group, int bits) {
  for (int start = 0; start < n; start += group) {
    int size = min(group, n - start);
    dequantizeRow(in, out + start, size, bits);
    in += 1 + words(size, bits);
  }
}

/* Sums of rows in eight parts: in float32 a plain sum loses digits. */
INLINE float dot(const float* a, const float* b, int n) {
  f4 s = splat(0), t = splat(0);
  int i = 0;
  for (; i + 8 <= n; i += 8) {
    s += b ? load(a + i) * load(b + i) : load(a + i);
    t += b ? load(a + i + 4) * load(b + i + 4) : load(a + i + 4);
  }
  s += t;
  float sum = s[0] + s[1] + s[2] + s[3];
  for (; i < n; i++) sum += b ? a[i] * b[i] : a[i];
  return sum;
}

/* dx = y (dy - sum(dy y) / sum(y)), y the row read back. Its sum is 1 but for rounding; dividing by it keeps sum(dx) = 0. */
EXPORT(softmaxGradRows) void softmaxGradRows(const Word* in, const float* dy, float* dx, int n, int group, int bits) {
  for (int start = 0; start < n; start += group, dy += group, dx += group) {
    dequantizeRow(in, dx, group, bits);
    in += 1 + words(group, bits);
    float total = dot(dx, 0, group), mean = dot(dy, dx, group) / (total ? total : 1);
    for (int i = 0; i < group; i++) dx[i] *= dy[i] - mean;
  }
}

/*
 * dx = r (g - mean(g) - z mean(g z)), z = (x - m) r, g = dy scale: layer norm over rows, x read back. Without `m`, z = x r and
 * mean(g) is left out: RMS norm. `scale` may be 0.
 */
EXPORT(normGradRows) void normGradRows(const Word* in, const float* dy, const float* m, const float* r, const float* scale, float* dx, int n, int group, int bits) {
  for (int start = 0; start < n; start += group, dy += group, dx += group) {
    dequantizeRow(in, dx, group, bits);
    in += 1 + words(group, bits);
    float center = m ? *m++ : 0, inverse = *r++, sum = 0, product = 0;
    if (scale) {
      for (int i = 0; i < group; i++) {
        float g = dy[i] * scale[i];
        dx[i] = (dx[i] - center) * inverse;
        sum += g;
        product += g * dx[i];
      }
    } else {
      for (int i = 0; i < group; i++) dx[i] = (dx[i] - center) * inverse;
      sum = dot(dy, 0, group), product = dot(dy, dx, group);
    }
    sum = m ? sum / (float)group : 0;
    product /= (float)group;
    for (int i = 0; i < group; i++) dx[i] = inverse * ((scale ? dy[i] * scale[i] : dy[i]) - sum - dx[i] * product);
  }
}
