// Sixty-four codes between bytes and words, in eight lanes of 64 bits. Neighbours of w bits, each at the start of its 8, 16 or 32, become one
// of 2w: by v | v >> what lies between them, and back by v | v << the same.

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

// A byte for a code, two for one of 16 bits.
template <int BITS>
struct Code {
  typedef uint8_t Type;
};
template <>
struct Code<16> {
  typedef uint16_t Type;
};

// `bits` ones at the start of every `width`.
constexpr uint64_t Ones(int bits, int width) {
  uint64_t ones = 0;
  for (int at = 0; at < 64; at += width) ones |= ((uint64_t(1) << bits) - 1) << at;
  return ones;
}

template <int BITS>
INLINE void Pack(const typename Code<BITS>::Type* codes, uint8_t* out) {
  if constexpr (BITS >= 8) {
    std::memcpy(out, codes, BATCH * BITS / 8);
  } else {
    Lanes v;
    std::memcpy(&v, codes, sizeof v);
    v = (v | v >> (8 - BITS)) & Ones(2 * BITS, 16);
    v = (v | v >> (16 - 2 * BITS)) & Ones(4 * BITS, 32);
    v = v | v >> (32 - 4 * BITS);
    typename Eight<BITS>::Of words[8];
    for (int i = 0; i < 8; i++) words[i] = v[i];
    std::memcpy(out, words, sizeof words);
  }
}

template <int BITS>
INLINE void Unpack(const uint8_t* in, typename Code<BITS>::Type* codes) {
  if constexpr (BITS >= 8) {
    std::memcpy(codes, in, BATCH * BITS / 8);
  } else {
    typename Eight<BITS>::Of words[8];
    std::memcpy(words, in, sizeof words);
    Lanes v;
    for (int i = 0; i < 8; i++) v[i] = words[i];
    v = (v | v << (32 - 4 * BITS)) & Ones(4 * BITS, 32);
    v = (v | v << (16 - 2 * BITS)) & Ones(2 * BITS, 16);
    v = (v | v << (8 - BITS)) & Ones(BITS, 8);
    std::memcpy(codes, &v, sizeof v);
  }
}

// Calls f with `bits` as a constant.
template <typename Of>
INLINE void WithBits(int bits, Of f) {
  if (bits == 1) f(std::integral_constant<int, 1>{});
  else if (bits == 2) f(std::integral_constant<int, 2>{});
  else if (bits == 4) f(std::integral_constant<int, 4>{});
  else if (bits == 8) f(std::integral_constant<int, 8>{});
  else f(std::integral_constant<int, 16>{});
}

// Words of n values. code(load, start): the codes of sixteen, at `start` and on; load(p) is p at their place.
template <int BITS, typename Step>
INLINE void Encode(uint8_t* out, int64_t n, Step code) {
  for (int64_t start = 0; start < n; start += BATCH, out += BATCH * BITS / 8) {
    const int64_t count = n - start < BATCH ? n - start : BATCH;
    alignas(64) int32_t wide[BATCH];
    alignas(64) typename Code<BITS>::Type codes[BATCH];
    if (count < BATCH) std::memset(wide, 0, sizeof wide);
    Sixteens(count, [&](auto load, auto store) { store((float*)wide, (F)code(load, start)); });
    for (int i = 0; i < BATCH; i++) codes[i] = wide[i];
    if (count == BATCH) {
      Pack<BITS>(codes, out);
    } else {
      uint8_t last[BATCH * BITS / 8];
      Pack<BITS>(codes, last);
      std::memcpy(out, last, CodeBytes(count, BITS));
    }
  }
}

// The codes of n values. each(codes, start, load, store): of sixteen, at `start` and on.
template <int BITS, typename Step>
INLINE void Decode(const uint8_t* in, int64_t n, Step each) {
  for (int64_t start = 0; start < n; start += BATCH, in += BATCH * BITS / 8) {
    const int64_t count = n - start < BATCH ? n - start : BATCH;
    alignas(64) typename Code<BITS>::Type codes[BATCH];
    alignas(64) int32_t wide[BATCH];
    if (count == BATCH) {
      Unpack<BITS>(in, codes);
    } else {
      uint8_t last[BATCH * BITS / 8] = {};
      std::memcpy(last, in, CodeBytes(count, BITS));
      Unpack<BITS>(last, codes);
    }
    for (int i = 0; i < BATCH; i++) wide[i] = codes[i];
    Sixteens(count, [&](auto load, auto store) { each((I)load((float*)wide), start, load, store); });
  }
}
