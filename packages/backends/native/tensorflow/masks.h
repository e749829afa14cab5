// Masks of one byte a value, for gradients that are dy or 0.

// 0 < x <= 6: where relu6 passes a gradient on.
static void Relu6Mask(const float* __restrict x, uint8_t* __restrict mask, int64_t n) {
  for (int64_t i = 0; i < n; i++) mask[i] = (x[i] > 0) & (x[i] <= 6);
}

// low <= x <= high.
static void InRange(const float* __restrict x, uint8_t* __restrict mask, int64_t n, float low, float high) {
  for (int64_t i = 0; i < n; i++) mask[i] = (x[i] >= low) & (x[i] <= high);
}

// dy where the mask is set, else 0.
static void Masked(const float* __restrict dy, const uint8_t* __restrict mask, float* __restrict dx, int64_t n) {
  for (int64_t i = 0; i < n; i++) {
    const float given = dy[i];  // read in any case: a branch on the mask would be guessed wrong half of the time
    dx[i] = mask[i] ? given : 0;
  }
}
