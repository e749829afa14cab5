// Sums, differences, products and quotients with an operand that may be repeated, activations, sums of rows. Each number is rounded as TensorFlow's own
// ops round it, but for sums, whose order is another, and the gradient of erf.

template <typename Op>
INLINE void EachOf(Given given, const float* a, const float* b, float* y, int64_t rows, int64_t n, Op op) {
  if (given == Given::whole) return Sixteens(rows * n, [=](auto load, auto store) { store(y, op(load(a), load(b))); });
  if (given == Given::once) {
    const F same = Splat(*b);
    return Sixteens(rows * n, [=](auto load, auto store) { store(y, op(load(a), same)); });
  }
  for (int64_t row = 0; row < rows; row++, a += n, y += n) {
    const F same = Splat(given == Given::rows ? b[row] : 0);
    if (given == Given::rows) Sixteens(n, [=](auto load, auto store) { store(y, op(load(a), same)); });
    else Sixteens(n, [=](auto load, auto store) { store(y, op(load(a), load(b))); });
  }
}

static void Apply(Binary op, Given given, const float* a, const float* b, float* y, int64_t rows, int64_t n) {
  switch (op) {
    case Binary::add:
      return EachOf(given, a, b, y, rows, n, [](F a, F b) { return a + b; });
    case Binary::sub:
      return EachOf(given, a, b, y, rows, n, [](F a, F b) { return a - b; });
    case Binary::mul:
      return EachOf(given, a, b, y, rows, n, [](F a, F b) { return a * b; });
    case Binary::div:
      return EachOf(given, a, b, y, rows, n, [](F a, F b) { return a / b; });
  }
}

static void Clip(const float* x, float low, float high, float* y, int64_t n) {
  const F least = Splat(low), most = Splat(high);
  Sixteens(n, [=](auto load, auto store) {
    const F v = load(x), raised = v < least ? least : v;
    store(y, raised > most ? most : raised);
  });
}

// dy where y > 0, else 0.
static void ReluGrad(const float* dy, const float* y, float* dx, int64_t n) {
  Sixteens(n, [=](auto load, auto store) { store(dx, load(y) > 0 ? load(dy) : F{}); });
}

static void RowSums(const float* x, float* sums, int64_t rows, int64_t n) {
  for (int64_t row = 0; row < rows; row++, x += n) {
    F sum[4] = {};
    int64_t i = 0;
    for (; i + 4 * LANES <= n; i += 4 * LANES)
      for (int k = 0; k < 4; k++) sum[k] += Load(x + i + k * LANES);
    Sixteens(n - i, [&](auto load, auto) { sum[0] += load(x + i); });
    sums[row] = Sum((sum[0] + sum[1]) + (sum[2] + sum[3]));
  }
}

// dy 2 / √π exp(-x²)
static void ErfGrad(const float* dy, const float* x, float* dx, int64_t n) {
  Sixteens(n, [=](auto load, auto store) { store(dx, load(dy) * (Exp(load(x) * load(x) * -1) * 1.12837917f)); });
}

static void Descend(const float* w, const float* g, float rate, float* to, int64_t n) {
  Sixteens(n, [=](auto load, auto store) { store(to, load(w) - load(g) * rate); });
}
