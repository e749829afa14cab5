// Batches of codes between words and one number each. Of less than 8 bits they go by bytes, in eight lanes of 64 bits: neighbours of w bits,
// each at the start of its 8, 16 or 32, become one of 2w by v | v >> what lies between them, and back by v | v << the same.

typedef uint64_t Lanes __attribute__((vector_size(64)));

// What eight codes of so many bits are in memory.
template <int BITS>
struct Eight {
  typedef uint8_t Of;
};
template <>
struct Eight<2> {
  typedef uint16_t Of;
};
template <>
struct Eight<4> {
  typedef uint32_t Of;
};

// `bits` ones at the start of every `width`.
constexpr uint64_t Ones(int bits, int width) {
  uint64_t ones = 0;
  for (int at = 0; at < 64; at += width) ones |= ((uint64_t(1) << bits) - 1) << at;
  return ones;
}

template <int BITS>
INLINE void Fold(const uint8_t* codes, uint8_t* out) {
  Lanes v;
  std::memcpy(&v, codes, sizeof v);
  v = (v | v >> (8 - BITS)) & Ones(2 * BITS, 16);
  v = (v | v >> (16 - 2 * BITS)) & Ones(4 * BITS, 32);
  v = v | v >> (32 - 4 * BITS);
  typename Eight<BITS>::Of words[8];
  for (int i = 0; i < 8; i++) words[i] = v[i];
  std::memcpy(out, words, sizeof words);
}

template <int BITS>
INLINE void Unfold(const uint8_t* in, uint8_t* codes) {
  typename Eight<BITS>::Of words[8];
  std::memcpy(words, in, sizeof words);
  Lanes v;
  for (int i = 0; i < 8; i++) v[i] = words[i];
  v = (v | v << (32 - 4 * BITS)) & Ones(4 * BITS, 32);
  v = (v | v << (16 - 2 * BITS)) & Ones(2 * BITS, 16);
  v = (v | v << (8 - BITS)) & Ones(BITS, 8);
  std::memcpy(codes, &v, sizeof v);
}

// The 8 · bits bytes of a batch.
INLINE void Pack(const int32_t* wide, uint8_t* out, int bits) {
  if (bits == 16) {
    uint16_t codes[BATCH];
    for (int i = 0; i < BATCH; i++) codes[i] = wide[i];
    std::memcpy(out, codes, sizeof codes);
    return;
  }
  alignas(64) uint8_t codes[BATCH];
  for (int i = 0; i < BATCH; i++) codes[i] = wide[i];
  if (bits == 1) Fold<1>(codes, out);
  else if (bits == 2) Fold<2>(codes, out);
  else if (bits == 4) Fold<4>(codes, out);
  else std::memcpy(out, codes, sizeof codes);
}

INLINE void Unpack(const uint8_t* in, int32_t* wide, int bits) {
  if (bits == 16) {
    uint16_t codes[BATCH];
    std::memcpy(codes, in, sizeof codes);
    for (int i = 0; i < BATCH; i++) wide[i] = codes[i];
    return;
  }
  alignas(64) uint8_t codes[BATCH];
  if (bits == 1) Unfold<1>(in, codes);
  else if (bits == 2) Unfold<2>(in, codes);
  else if (bits == 4) Unfold<4>(in, codes);
  else std::memcpy(codes, in, sizeof codes);
  for (int i = 0; i < BATCH; i++) wide[i] = codes[i];
}

// Words of n values. code(load, start): the codes of LANES of them, from `start`; load(p) is p at their place.
template <typename Step>
INLINE void Encode(uint8_t* out, int64_t n, int bits, Step code) {
  alignas(64) int32_t wide[BATCH];
  int64_t start = 0;
  for (; start + BATCH <= n; start += BATCH, out += BATCH / 8 * bits) {
    Sixteens(BATCH, [&](auto load, auto store) { store((float*)wide, (F)code(load, start)); });
    Pack(wide, out, bits);
  }
  if (start == n) return;
  uint8_t last[BATCH * 2];
  std::memset(wide, 0, sizeof wide);
  Sixteens(n - start, [&](auto load, auto store) { store((float*)wide, (F)code(load, start)); });
  Pack(wide, last, bits);
  std::memcpy(out, last, CodeBytes(n - start, bits));
}

// The codes of n values. each(codes, start, load, store): of LANES of them, from `start`.
template <typename Step>
INLINE void Decode(const uint8_t* in, int64_t n, int bits, Step each) {
  alignas(64) int32_t wide[BATCH];
  int64_t start = 0;
  for (; start + BATCH <= n; start += BATCH, in += BATCH / 8 * bits) {
    Unpack(in, wide, bits);
    Sixteens(BATCH, [&](auto load, auto store) { each((I)load((float*)wide), start, load, store); });
  }
  if (start == n) return;
  uint8_t last[BATCH * 2] = {};
  std::memcpy(last, in, CodeBytes(n - start, bits));
  Unpack(last, wide, bits);
  Sixteens(n - start, [&](auto load, auto store) { each((I)load((float*)wide), start, load, store); });
}
