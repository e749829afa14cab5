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

static void ColumnProducts(const float* dy, const float* x, const float* mean, float* sum, float* along, int64_t rows, int64_t n) {
  EachFewRows(rows, n, [=](int64_t row, int64_t few, auto load, auto store) __attribute__((always_inline)) {
    const F middle = load(mean);
    const float *by = dy + row * n, *at = x + row * n;
    F s = {}, p = {};
    for (int64_t i = 0; i < few; i++, by += n, at += n) {
      const F d = load(by);
      s += d;
      p += d * (load(at) - middle);
    }
    store(sum, load(sum) + s);
    store(along, load(along) + p);
  });
}

static void Normalize(const float* x, const float* mean, const float* factor, const float* offset, float* y, int64_t rows, int64_t n) {
  for (int64_t row = 0; row < rows; row++, x += n, y += n)
    Sixteens(n, [=](auto load, auto store) { store(y, (load(x) - load(mean)) * load(factor) + load(offset)); });
}

static void NormalizeGrad(const float* dy, const float* x, const float* mean, const float* factor, const float* slope, const float* level,
                          float* dx, int64_t rows, int64_t n) {
  for (int64_t row = 0; row < rows; row++, dy += n, x += n, dx += n)
    Sixteens(n, [=](auto load, auto store) {
      store(dx, (load(dy) - load(level)) * load(factor) - (load(x) - load(mean)) * load(slope));
    });
}
