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

template <int LOG>
INLINE void EncodeByHalves(const float* x, uint8_t* out, int64_t n, int bits, const Steps& steps) {
  alignas(64) float borders[1 << LOG], codes[1 << LOG] = {};
  for (int i = 0; i < 1 << LOG; i++) borders[i] = i < steps.count ? steps.borders[i] : INFINITY;
  std::memcpy(codes, steps.codes, (steps.count + 1) * sizeof(int32_t));
  Encode(out, n, bits, [&](auto load, int64_t start) { return (I)LookUp<LOG>(codes, CountBelow<LOG>(load(x + start), borders)); });
}

// The first code, and what each border that lies below adds to it.
INLINE void EncodeByBorders(const float* x, uint8_t* out, int64_t n, int bits, const Steps& steps, int64_t count) {
  int32_t deltas[FEW];
  for (int64_t i = 0; i < count; i++) deltas[i] = steps.codes[i + 1] - steps.codes[i];
  Encode(out, n, bits, [&](auto load, int64_t start) {
    const F value = load(x + start);
    I code = steps.codes[0] - I{};
    for (int64_t i = 0; i < count; i++) code += (value > steps.borders[i]) & deltas[i];
    return code;
  });
}

static void EncodeSteps(const float* x, uint8_t* out, int64_t n, int bits, const Steps& steps) {
  if (steps.count == 1 && bits == 1) EncodeByBorders(x, out, n, 1, steps, 1);
  else if (steps.count <= FEW) EncodeByBorders(x, out, n, bits, steps, steps.count);
  else if (steps.count < 32) EncodeByHalves<5>(x, out, n, bits, steps);
  else EncodeByHalves<10>(x, out, n, bits, steps);
}

template <typename Level>
INLINE void DecodeLevels(const uint8_t* in, const float* dy, float* out, int64_t n, int bits, Level level) {
  if (dy) Decode(in, n, bits, [&](I code, int64_t at, auto load, auto store) { store(out + at, load(dy + at) * level(code)); });
  else Decode(in, n, bits, [&](I code, int64_t at, auto, auto store) { store(out + at, level(code)); });
}

static void DecodeSteps(const uint8_t* in, const float* dy, float* out, int64_t n, int bits, const float* levels) {
  if (bits == 1) DecodeLevels(in, dy, out, n, 1, [=](I code) { return code != 0 ? Splat(levels[1]) : Splat(levels[0]); });
  else if (bits <= 4) DecodeLevels(in, dy, out, n, bits, [=](I code) { return LookUp<4>(levels, code); });
  else DecodeLevels(in, dy, out, n, 8, [=](I code) { return LookUp<8>(levels, code); });
}
