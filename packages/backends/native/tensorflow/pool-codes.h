// Max pooling that waits as the place of the largest in its window; of equal ones the first. Padding is nothing.

// Calls each(tap, at) for the taps of a window that lie in the image, in order; `at` is the place of channel 0.
template <typename Each>
INLINE void EachTap(const Pool& of, int64_t row, int64_t column, Each each) {
  for (int64_t tap = 0; tap < of.rows * of.columns; tap++) {
    const int64_t y = row * of.strideY - of.top + tap / of.columns, x = column * of.strideX - of.left + tap % of.columns;
    if (y >= 0 && y < of.height && x >= 0 && x < of.width) each(tap, (y * of.width + x) * of.channels);
  }
}

static void MaxPoolTaps(const Pool& of, const float* image, int64_t row, uint8_t* taps) {
  for (int64_t column = 0; column < of.outWidth; column++, taps += of.channels)
    for (int64_t from = 0; from < of.channels; from += BATCH) {
      const int64_t n = of.channels - from < BATCH ? of.channels - from : BATCH;
      float best[BATCH];
      int32_t places[BATCH] = {};
      bool first = true;
      EachTap(of, row, column, [&](int64_t tap, int64_t at) {
        const float* x = image + at + from;
        for (int64_t c = 0; c < n; c++) {
          const bool larger = first | (x[c] > best[c]);
          best[c] = larger ? x[c] : best[c];
          places[c] = larger ? (int32_t)tap : places[c];
        }
        first = false;
      });
      for (int64_t c = 0; c < n; c++) taps[from + c] = places[c];
    }
}

static void PackTaps(const uint8_t* taps, uint8_t* out, int64_t n, int bits) {
  for (int64_t start = 0; start < n; start += BATCH, out += BATCH / 8 * bits) {
    const int64_t count = n - start < BATCH ? n - start : BATCH;
    int32_t wide[BATCH] = {};
    uint8_t words[BATCH * 2];
    for (int64_t i = 0; i < count; i++) wide[i] = taps[start + i];
    Pack(wide, words, bits);
    std::memcpy(out, words, CodeBytes(count, bits));
  }
}

static void MaxPoolIndexGrad(const Pool& of, const uint32_t* in, const float* dy, float* dx, int64_t first, int bits) {
  const int64_t per = 32 / bits;
  std::memset(dx, 0, of.height * of.width * of.channels * sizeof(float));
  for (int64_t row = 0; row < of.outHeight; row++)
    for (int64_t column = 0; column < of.outWidth; column++)
      for (int64_t c = 0; c < of.channels; c++, first++, dy++) {
        const int64_t tap = (in[first / per] >> (first % per * bits)) & ((1u << bits) - 1);
        const int64_t y = row * of.strideY - of.top + tap / of.columns, x = column * of.strideX - of.left + tap % of.columns;
        if (y >= 0 && y < of.height && x >= 0 && x < of.width) dx[(y * of.width + x) * of.channels + c] += *dy;
      }
}
