// Kernels by rows of n columns, each with values of its own: batch norm (Ioffe and Szegedy 2015, arXiv 1502.03167) and gradient descent.

// Rows whose sums stay in registers.
constexpr int64_t FEW_ROWS = 8;

// step(row, rows, load, store) on some columns of rows at a time.
template <typename Step>
INLINE void EachFewRows(int64_t rows, int64_t n, Step step) {
  for (int64_t row = 0; row < rows; row += FEW_ROWS) {
    const int64_t few = rows - row < FEW_ROWS ? rows - row : FEW_ROWS;
    Sixteens(n, [&](auto load, auto store) __attribute__((always_inline)) { step(row, few, load, store); });
  }
}

static void ColumnMoments(const float* x, const float* shift, float* sum, float* squares, int64_t rows, int64_t n) {
  EachFewRows(rows, n, [=](int64_t row, int64_t few, auto load, auto store) __attribute__((always_inline)) {
    const F from = load(shift);
    const float* at = x + row * n;
    F s = {}, q = {};
    for (int64_t i = 0; i < few; i++, at += n) {
      const F d = load(at) - from;
      s += d;
      q += d * d;
    }
    store(sum, load(sum) + s);
    store(squares, load(squares) + q);
  });
}

INLINE F Normalized(F x, F mean, F factor, F offset) { return (x - mean) * factor + offset; }
// dy where relu passes it on, whose output is clipped to [0, most]; else 0.
INLINE F Passed(F dy, F normalized, F most) { return (F)((I)dy & (normalized > 0) & (normalized <= most)); }

// Σ g and Σ g (x - mean), g = of(dy, x, load).
template <typename Of>
INLINE void SumProducts(const float* dy, const float* x, const float* mean, float* sum, float* along, int64_t rows, int64_t n, Of of) {
  EachFewRows(rows, n, [=](int64_t row, int64_t few, auto load, auto store) __attribute__((always_inline)) {
    const F middle = load(mean);
    const float *by = dy + row * n, *at = x + row * n;
    F s = {}, p = {};
    for (int64_t i = 0; i < few; i++, by += n, at += n) {
      const F v = load(at), d = of(load(by), v, load);
      s += d;
      p += d * (v - middle);
    }
    store(sum, load(sum) + s);
    store(along, load(along) + p);
  });
}

static void ColumnProducts(const float* dy, const float* x, const float* mean, float* sum, float* along, int64_t rows, int64_t n) {
  SumProducts(dy, x, mean, sum, along, rows, n, [](F dy, F, auto) __attribute__((always_inline)) { return dy; });
}

static void ColumnProductsRelu(const float* dy, const float* x, const Relu& relu, float* sum, float* along, int64_t rows, int64_t n) {
  const F most = Splat(relu.max);
  SumProducts(dy, x, relu.mean, sum, along, rows, n, [=](F dy, F x, auto load) __attribute__((always_inline)) {
    return Passed(dy, Normalized(x, load(relu.mean), load(relu.factor), load(relu.offset)), most);
  });
}

static void Normalize(const float* x, const float* mean, const float* factor, const float* offset, float* y, int64_t rows, int64_t n) {
  for (int64_t row = 0; row < rows; row++, x += n, y += n)
    Sixteens(n, [=](auto load, auto store) { store(y, Normalized(load(x), load(mean), load(factor), load(offset))); });
}

static void NormalizeRelu(const float* x, const Relu& relu, float* y, int64_t rows, int64_t n) {
  const F most = Splat(relu.max);
  for (int64_t row = 0; row < rows; row++, x += n, y += n)
    Sixteens(n, [=](auto load, auto store) {
      const F v = Normalized(load(x), load(relu.mean), load(relu.factor), load(relu.offset)), raised = v < 0 ? F{} : v;
      store(y, raised > most ? most : raised);
    });
}

// dx, g = of(dy, x, load).
template <typename Of>
INLINE void GradOfNormalize(const float* dy, const float* x, const float* mean, const float* factor, const float* slope, const float* level,
                            float* dx, int64_t rows, int64_t n, Of of) {
  for (int64_t row = 0; row < rows; row++, dy += n, x += n, dx += n)
    Sixteens(n, [=](auto load, auto store) __attribute__((always_inline)) {
      const F v = load(x);
      store(dx, (of(load(dy), v, load) - load(level)) * load(factor) - (v - load(mean)) * load(slope));
    });
}

static void NormalizeGrad(const float* dy, const float* x, const float* mean, const float* factor, const float* slope, const float* level,
                          float* dx, int64_t rows, int64_t n) {
  GradOfNormalize(dy, x, mean, factor, slope, level, dx, rows, n, [](F dy, F, auto) __attribute__((always_inline)) { return dy; });
}

static void NormalizeReluGrad(const float* dy, const float* x, const Relu& relu, const float* slope, const float* level, float* dx, int64_t rows,
                              int64_t n) {
  const F most = Splat(relu.max);
  GradOfNormalize(dy, x, relu.mean, relu.factor, slope, level, dx, rows, n, [=](F dy, F x, auto load) __attribute__((always_inline)) {
    return Passed(dy, Normalized(x, load(relu.mean), load(relu.factor), load(relu.offset)), most);
  });
}
