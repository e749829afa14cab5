// Codes of step functions: in bits that tell where among rising borders a value lies, and what each stands for.

// Of 2^LOG numbers that at an index.
template <int LOG>
INLINE F LookUp(const float* table, I index) {
#if WIDTH == 16
  if constexpr (LOG == 4) return __builtin_shuffle(Load(table), index);
  if constexpr (LOG == 5) return __builtin_shuffle(Load(table), Load(table + LANES), index);
#endif
  F found;
  for (int i = 0; i < LANES; i++) found[i] = table[index[i]];
  return found;
}

// Up to so many borders are compared with one by one: without AVX-512 looking up costs more.
#if WIDTH == 16
constexpr int64_t FEW = 3;
#else
constexpr int64_t FEW = 31;
#endif

// The number of borders below each of x, by halving. There are 2^LOG - 1, those that are missing infinite.
template <int LOG>
INLINE I CountBelow(F x, const float* borders) {
  I below = {};
  for (int half = 1 << (LOG - 1); half > 0; half /= 2) below = x > LookUp<LOG>(borders, below + (half - 1)) ? below + half : below;
  return below;
}

template <int BITS, int LOG>
INLINE void EncodeByHalves(const float* x, uint8_t* out, int64_t n, const Steps& steps) {
  alignas(64) float borders[1 << LOG];
  alignas(64) float codes[1 << LOG] = {};
  for (int i = 0; i < 1 << LOG; i++) borders[i] = i < steps.count ? steps.borders[i] : INFINITY;
  std::memcpy(codes, steps.codes, (steps.count + 1) * sizeof(int32_t));
  Encode<BITS>(out, n, [&](auto load, int64_t start) { return (I)LookUp<LOG>(codes, CountBelow<LOG>(load(x + start), borders)); });
}

// The first code, and what each border that lies below adds to it.
template <int BITS>
INLINE void EncodeByBorders(const float* x, uint8_t* out, int64_t n, const Steps& steps) {
  float borders[FEW];
  int32_t deltas[FEW];
  for (int64_t i = 0; i < steps.count; i++) borders[i] = steps.borders[i], deltas[i] = steps.codes[i + 1] - steps.codes[i];
  const auto encode = [&](int64_t count) __attribute__((always_inline)) {
    Encode<BITS>(out, n, [&](auto load, int64_t start) {
      const F value = load(x + start);
      I code = steps.codes[0] - I{};
      for (int64_t i = 0; i < count; i++) code += (value > borders[i]) & deltas[i];
      return code;
    });
  };
  if (steps.count == 1) encode(1);
  else encode(steps.count);
}

static void EncodeSteps(const float* x, uint8_t* out, int64_t n, int bits, const Steps& steps) {
  WithBits(bits, [&](auto constant) __attribute__((always_inline)) {
    constexpr int BITS = decltype(constant)::value;
    if (steps.count <= FEW) EncodeByBorders<BITS>(x, out, n, steps);
    else if (steps.count < 32) EncodeByHalves<BITS, 5>(x, out, n, steps);
    else EncodeByHalves<BITS, 8>(x, out, n, steps);
  });
}

static void DecodeSteps(const uint8_t* in, const float* dy, float* out, int64_t n, int bits, const float* levels) {
  WithBits(bits, [&](auto constant) __attribute__((always_inline)) {
    constexpr int BITS = decltype(constant)::value;
    const auto level = [&](I code) __attribute__((always_inline)) {
      if constexpr (BITS == 1) return code != 0 ? Splat(levels[1]) : Splat(levels[0]);
      else return LookUp<BITS <= 4 ? 4 : BITS>(levels, code);
    };
    if (dy) Decode<BITS>(in, n, [&](I code, int64_t at, auto load, auto store) { store(out + at, load(dy + at) * level(code)); });
    else Decode<BITS>(in, n, [&](I code, int64_t at, auto, auto store) { store(out + at, level(code)); });
  });
}
