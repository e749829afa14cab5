// Codes of rows between their bounds, and the gradients that read them: a row is decoded into the gradient's place, and read again from cache.

INLINE float FloatOf(uint32_t bits) {
  float value;
  std::memcpy(&value, &bits, sizeof value);
  return value;
}
INLINE uint32_t BitsOf(float value) {
  uint32_t bits;
  std::memcpy(&bits, &value, sizeof bits);
  return bits;
}

// In [0, 1), from the place of the value and a seed: Jarzynski and Olano 2020, "Hash functions for GPU rendering" (pcg).
INLINE F Chance(U place, uint32_t seed) {
  const U state = (place ^ seed) * 747796405u + 2891336453u, word = ((state >> ((state >> 28) + 4)) ^ state) * 277803737u;
  return __builtin_convertvector((I)(((word >> 22) ^ word) >> 8), F) * 0x1p-24f;
}

alignas(64) static const int32_t places[BATCH] = {0,  1,  2,  3,  4,  5,  6,  7,  8,  9,  10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21,
                                                  22, 23, 24, 25, 26, 27, 28, 29, 30, 31, 32, 33, 34, 35, 36, 37, 38, 39, 40, 41, 42, 43,
                                                  44, 45, 46, 47, 48, 49, 50, 51, 52, 53, 54, 55, 56, 57, 58, 59, 60, 61, 62, 63};

struct Bounds {
  float low, high;
};

INLINE Bounds BoundsOf(const float* x, int64_t n) {
  F lows = Splat(x[0]), highs = lows;
  int64_t i = 0;
  for (; i + LANES <= n; i += LANES) {
    const F v = Load(x + i);
    lows = v < lows ? v : lows;
    highs = v > highs ? v : highs;
  }
  float low = lows[0], high = highs[0];
  for (int lane = 1; lane < LANES; lane++) low = lows[lane] < low ? lows[lane] : low, high = highs[lane] > high ? highs[lane] : high;
  for (; i < n; i++) low = x[i] < low ? x[i] : low, high = x[i] > high ? x[i] : high;
  return {low, high};
}

// Low is rounded down and step up to bfloat16, so that the codes reach from the least to the most. Nearest code, or with a seed the one
// above with the chance of being nearer to it.
static void QuantizeRow(const float* x, uint8_t* out, int64_t n, int bits, uint32_t place, uint32_t seed) {
  const float last = (1 << bits) - 1;
  auto [low, high] = BoundsOf(x, n);
  uint32_t lowBits = BitsOf(low);
  lowBits = (lowBits + (lowBits >> 31 ? 0xffff : 0)) & 0xffff0000u;
  low = FloatOf(lowBits);
  const uint32_t stepBits = (BitsOf((high - low) / last) + 0xffff) & 0xffff0000u, header = lowBits | stepBits >> 16;
  const float inverse = stepBits ? 1 / FloatOf(stepBits) : 0;
  std::memcpy(out, &header, sizeof header);
  const auto encode = [&](auto rounding) {
    Encode(out + sizeof header, n, bits, [&](auto load, int64_t start) {
      F v = (load(x + start) - low) * inverse + rounding(load, start);
      v = v > 0 ? v : 0;
      v = v < last ? v : last;
      return __builtin_convertvector(v, I);
    });
  };
  if (!seed) encode([](auto, int64_t) { return 0.5f; });
  else encode([&](auto load, int64_t start) { return Chance((U)load((const float*)places) + (uint32_t)(place + start), seed); });
}

static void QuantizeRows(const float* x, uint8_t* out, int64_t rows, const Rows& of, int64_t place, uint32_t seed) {
  for (int64_t row = 0; row < rows; row++, x += of.n, place += of.n, out += of.Bytes()) QuantizeRow(x, out, of.n, of.bits, place, seed);
}

// each(row): after it was decoded.
template <typename Each>
INLINE void EachRow(const uint8_t* in, float* out, int64_t rows, const Rows& of, Each each) {
  for (int64_t row = 0; row < rows; row++, out += of.n, in += of.Bytes()) {
    uint32_t header;
    std::memcpy(&header, in, sizeof header);
    const float low = FloatOf(header & 0xffff0000u), step = FloatOf(header << 16);
    Decode(in + sizeof header, of.n, of.bits, [&](I code, int64_t at, auto, auto store) {
      store(out + at, __builtin_convertvector(code, F) * step + low);
    });
    each(row);
  }
}

static void DequantizeRows(const uint8_t* in, float* out, int64_t rows, const Rows& of) {
  EachRow(in, out, rows, of, [](int64_t) {});
}

// dx = y (dy - Σ dy y / Σ y), y the row read back. Its sum is 1 but for rounding; dividing by it keeps Σ dx = 0.
static void SoftmaxGradRows(const uint8_t* in, const float* dy, float* dx, int64_t rows, const Rows& of) {
  EachRow(in, dx, rows, of, [&](int64_t row) {
    const float* by = dy + row * of.n;
    float* y = dx + row * of.n;
    const float total = SumOf(y, of.n), mean = SumOfProducts(by, y, of.n) / (total ? total : 1);
    Sixteens(of.n, [&](auto load, auto store) { store(y, load(y) * (load(by) - mean)); });
  });
}

// dx = r (g - mean(g) - z mean(g z)), z = (x - m) r, g = dy scale. Without m, z = x r, and mean(g) is left out.
static void NormGradRows(const uint8_t* in, const float* dy, const float* mean, const float* r, const float* scale, float* dx, int64_t rows,
                         const Rows& of) {
  const float count = of.n;
  EachRow(in, dx, rows, of, [&](int64_t row) {
    const float *by = dy + row * of.n, center = mean ? mean[row] : 0, inverse = r[row];
    float* z = dx + row * of.n;
    const auto gradient = [&](auto g) {
      F sum = {}, along = {};
      Sixteens(of.n, [&](auto load, auto store) {
        const F normal = (load(z) - center) * inverse, given = g(load);
        sum += given;
        along += given * normal;
        store(z, normal);
      });
      const float meanG = mean ? Sum(sum) / count : 0, product = Sum(along) / count;
      Sixteens(of.n, [&](auto load, auto store) { store(z, (g(load) - meanG - load(z) * product) * inverse); });
    };
    if (scale) gradient([&](auto load) { return load(by) * load(scale); });
    else gradient([&](auto load) { return load(by); });
  });
}

// Adds Σ dy z to dscale and Σ dy to doffset. `x` is room for a row.
static void NormScaleGradRows(const uint8_t* in, const float* dy, const float* mean, const float* r, float* dscale, float* doffset, float* x,
                              int64_t rows, const Rows& of) {
  for (int64_t row = 0; row < rows; row++, in += of.Bytes(), dy += of.n)
    EachRow(in, x, 1, of, [&](int64_t) {
      const float center = mean ? mean[row] : 0, inverse = r[row];
      Sixteens(of.n, [&](auto load, auto store) {
        const F given = load(dy);
        store(dscale, load(dscale) + given * ((load(x) - center) * inverse));
        store(doffset, load(doffset) + given);
      });
    });
}

// r = 1 / √(variance + ε)
static void RowMoments(const float* x, float* mean, float* r, int64_t rows, int64_t n, float epsilon) {
  for (int64_t row = 0; row < rows; row++, x += n) {
    if (mean) {
      const Moments of = MomentsOf(x, n, epsilon);
      mean[row] = of.mean, r[row] = of.r;
    } else {
      r[row] = 1 / std::sqrt(SumOfProducts(x, x, n) / n + epsilon);
    }
  }
}
