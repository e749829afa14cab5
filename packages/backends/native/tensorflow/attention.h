// o = softmax(q kᵀ scale) v per head, and its gradient, without the matrix of scores: a block of queries meets all its keys in the cache
// (Dao et al. 2022, arXiv 2205.14135). Heads lie beside each other in a row and are read where they lie; query heads in a group share a
// head of keys (Ainslie et al. 2023, arXiv 2305.13245).
//
//     P = exp(q kᵀ scale - lse)     dv = Pᵀ do     dS = P (do vᵀ - Σ do o) scale     dq = dS k     dk = dSᵀ q

struct Block {
  int64_t start, rows, from, count;  // queries, and the keys that any of them sees
};

INLINE Block BlockAt(const Attention& of, int64_t start) {
  const int64_t rows = of.queries - start < BLOCK ? of.queries - start : BLOCK, first = of.At(start);
  const int64_t oldest = of.causal && of.window > 0 ? first - of.window + 1 : 0, from = oldest > 0 ? oldest : 0;
  return {start, rows, from, (of.causal ? first + rows : of.keys) - from};
}

// Hides padding and keys of other documents; a query that is padding sees what the first document does, as nobody reads it.
INLINE void Hide(float* __restrict row, const int32_t* __restrict documents, int32_t own, int64_t n) {
  for (int64_t key = 0; key < n; key++) {
    const int32_t seen = documents[key] == own;
    row[key] += seen ? 0 : HIDDEN;
  }
}

// Scores of a block: s [rows, count] from its queries and the keys transposed, kt [size, keys].
INLINE void Scores(const Attention& of, const Block& block, const float* q, int64_t ldq, const float* kt, float* s) {
  Product(block.rows, block.count, of.size, {q, ldq, 1}, kt + block.from, of.keys, s, block.count);
  for (int64_t i = 0; i < block.rows; i++) {
    float* row = s + i * block.count;
    Sixteens(block.count, [&](auto load, auto store) { store(row, load(row) * of.scale); });
    const int64_t at = of.At(block.start + i);
    if (of.causal) {
      for (int64_t key = at + 1 - block.from; key < block.count; key++) row[key] += HIDDEN;
      if (of.window > 0)
        for (int64_t key = 0; key < at - of.window + 1 - block.from; key++) row[key] += HIDDEN;
    }
    if (!of.mask) continue;
    Hide(row, of.mask + block.from, of.mask[at] == 0 ? 1 : of.mask[at], block.count);
  }
}

INLINE float MaxOf(const float* x, int64_t n) {
  F highest = Splat(x[0]);
  int64_t i = 0;
  for (; i + LANES <= n; i += LANES) highest = Load(x + i) > highest ? Load(x + i) : highest;
  float most = x[0];
  for (int lane = 0; lane < LANES; lane++) most = highest[lane] > most ? highest[lane] : most;
  for (; i < n; i++) most = x[i] > most ? x[i] : most;
  return most;
}

// One query head: o [queries, size] in rows `ld` apart, lse [queries]. Scratch: kt [size, keys], s [BLOCK, keys].
static void Attend(const Attention& of, const float* q, int64_t ld, const float* k, const float* v, int64_t ldk, float* o, float* lse,
                         float* kt, float* s) {
  Transpose(k, ldk, of.keys, of.size, kt);
  for (int64_t start = 0; start < of.queries; start += BLOCK) {
    const Block block = BlockAt(of, start);
    Scores(of, block, q + start * ld, ld, kt, s);
    for (int64_t i = 0; i < block.rows; i++) {
      float *row = s + i * block.count, top = MaxOf(row, block.count);
      F sums = {};
      Sixteens(block.count, [&](auto load, auto store) { store(row, Exp(load(row) - top)); });
      Sixteens(block.count, [&](auto load, auto) { sums += load(row); });
      const float sum = Sum(sums), share = 1 / sum;
      Sixteens(block.count, [&](auto load, auto store) { store(row, load(row) * share); });
      lse[start + i] = top + std::log(sum);
    }
    Product(block.rows, of.size, block.count, {s, block.count, 1}, v + block.from * ldk, ldk, o + start * ld, ld);
  }
}

// One query head: writes dq, adds to dk and dv. Scratch: kt and vt [size, keys], p and ds [BLOCK, keys].
static void AttendGrad(const Attention& of, const float* q, const float* o, const float* lse, const float* d, int64_t ld, const float* k,
                             const float* v, int64_t ldk, float* dq, float* dk, float* dv, float* kt, float* vt, float* p, float* ds) {
  Transpose(k, ldk, of.keys, of.size, kt);
  Transpose(v, ldk, of.keys, of.size, vt);
  for (int64_t start = 0; start < of.queries; start += BLOCK) {
    const Block block = BlockAt(of, start);
    const int64_t n = block.count, keys = block.from * ldk;
    Scores(of, block, q + start * ld, ld, kt, p);
    Product(block.rows, n, of.size, {d + start * ld, ld, 1}, vt + block.from, of.keys, ds, n);
    for (int64_t i = 0; i < block.rows; i++) {
      const int64_t at = (start + i) * ld;
      float *weights = p + i * n, *row = ds + i * n, along = 0;
      for (int64_t c = 0; c < of.size; c++) along += d[at + c] * o[at + c];
      const float top = lse[start + i];
      Sixteens(n, [&](auto load, auto store) {
        F weight = Exp(load(weights) - top);
        store(weights, weight);
        store(row, weight * (load(row) - along) * of.scale);
      });
    }
    Product(n, of.size, block.rows, {p, 1, n}, d + start * ld, ld, dv + keys, ldk, true);
    Product(block.rows, of.size, n, {ds, n, 1}, k + keys, ldk, dq + start * ld, ld);
    Product(n, of.size, block.rows, {ds, 1, n}, q + start * ld, ld, dk + keys, ldk, true);
  }
}
