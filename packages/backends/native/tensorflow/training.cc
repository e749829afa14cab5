// Ops that a training step of tfjs is made of, one pass over memory for each that is needed: batch norm with its moving statistics and its
// gradient, sums, operands that are repeated, the gradient of the error function, gradient descent.
#include <numeric>
#include <vector>

#include "op.h"
#include "training.h"

namespace leantune {
namespace {

const Training& run = Chosen();

// Rows of channels as rows of some of them side by side, so that a row is whole registers.
struct Columns {
  int64_t rows, n, channels;
  Columns(int64_t rows, int64_t channels) : rows(rows), n(channels), channels(channels) {
    const int64_t together = 16 / std::gcd<int64_t>(channels, 16);
    if (rows % together == 0) {
      this->rows = rows / together;
      n = channels * together;
    }
  }
  int64_t Count() const { return rows * n / channels; }  // of the values of a channel

  template <typename Value>
  std::vector<float> Each(Value value) const {
    std::vector<float> all(n);
    for (int64_t i = 0; i < n; i++) all[i] = i < channels ? value(i) : all[i - channels];
    return all;
  }

  // f(first row, rows) on TensorFlow's threads.
  template <typename F>
  void Rows(OpKernelContext* c, F f) const {
    Parallel(c, rows, n, [=](int64_t begin, int64_t end) { f(begin, end - begin); });
  }

  // Two sums a channel of what `add` adds up for a part of the rows. The parts are the same ones in every run.
  template <typename F>
  std::vector<double> Sums(OpKernelContext* c, F add) const {
    const int64_t parts = std::min<int64_t>({32, rows, 1 + rows * n / 32768});
    std::vector<float> each(2 * n * parts);
    float* own = each.data();
    Parallel(c, parts, 2 * n * (rows / parts), [=](int64_t begin, int64_t end) {
      for (; begin < end; begin++) {
        const int64_t from = rows * begin / parts, to = rows * (begin + 1) / parts;
        add(from, to - from, own + 2 * begin * n, own + (2 * begin + 1) * n);
      }
    });
    std::vector<double> sums(2 * channels);
    for (int64_t i = 0; i < 2 * parts; i++)
      for (int64_t j = 0; j < n; j++) sums[i % 2 * channels + j % channels] += each[i * n + j];
    return sums;
  }
};

// The rows of channels of input `i`, or an error that the context says; then there are no channels.
Columns ColumnsOf(OpKernelContext* c, int i, std::initializer_list<int> vectors) {
  const TensorShape& shape = c->input(i).shape();
  const int64_t channels = shape.dims() ? shape.dim_size(shape.dims() - 1) : 0;
  bool fits = shape.num_elements() > 0;
  for (int v : vectors) fits = fits && c->input(v).NumElements() == channels;
  if (fits) return {shape.num_elements() / channels, channels};
  c->CtxFailure(tensorflow::errors::InvalidArgument("x is empty, or its last axis is not as long as what has one value a channel"));
  return {0, 0};
}

struct BatchNormOp : OpKernel {
  float epsilon;
  explicit BatchNormOp(OpKernelConstruction* c) : OpKernel(c) { OP_REQUIRES_OK(c, c->GetAttr("epsilon", &epsilon)); }
  double Inverse(double variance) const { return 1 / std::sqrt(variance + epsilon); }
};

#define REGISTER_BATCH_NORM(name)             \
  REGISTER_OP(name)                           \
      .Input("x: float")                      \
      .Input("scale: float")  /* or empty: 1 */  \
      .Input("offset: float") /* or empty: 0 */ \
      .Input("moving_mean: float")            \
      .Input("moving_variance: float")        \
      .Output("y: float")                     \
      .Output("mean: float")                  \
      .Output("variance: float")              \
      .Output("moved_mean: float")            \
      .Output("moved_variance: float")        \
      .Attr("epsilon: float")                 \
      .Attr("momentum: float")

REGISTER_BATCH_NORM("LeantuneBatchNormTrain");
REGISTER_BATCH_NORM("LeantuneBatchNormReluTrain").Attr("max: float");

template <bool RELU>
struct BatchNormTrainOp : BatchNormOp {
  float momentum, max = 0;
  explicit BatchNormTrainOp(OpKernelConstruction* c) : BatchNormOp(c) {
    OP_REQUIRES_OK(c, c->GetAttr("momentum", &momentum));
    if (RELU) OP_REQUIRES_OK(c, c->GetAttr("max", &max));
  }

  void Compute(OpKernelContext* c) override {
    const Columns of = ColumnsOf(c, 0, {3, 4});
    const int64_t channels = of.channels;
    if (channels == 0) return;
    for (int i : {1, 2})
      OP_REQUIRES(c, c->input(i).NumElements() == 0 || c->input(i).NumElements() == channels,
                  tensorflow::errors::InvalidArgument("scale and offset have one value a channel, or none"));
    const float *x = Floats(c, 0), *scale = c->input(1).NumElements() ? Floats(c, 1) : nullptr;
    const float* offset = c->input(2).NumElements() ? Floats(c, 2) : nullptr;
    float *y = Output(c, 0, c->input(0).shape()), *statistics[4];
    for (int i = 0; i < 4; i++) statistics[i] = Output(c, 1 + i, {channels});
    if (!c->status().ok()) return;
    auto [mean, variance, movedMean, movedVariance] = statistics;
    // Around the mean of the first rows: a sum of squares loses the digits that mean and values share.
    const int64_t few = std::min<int64_t>(16, of.Count());
    const auto shift = of.Each([=](int64_t i) {
      double sum = 0;
      for (int64_t row = 0; row < few; row++) sum += x[row * channels + i];
      return sum / few;
    });
    const float* from = shift.data();
    const auto sums = of.Sums(c, [=](int64_t row, int64_t rows, float* sum, float* squares) {
      run.columnMoments(x + row * of.n, from, sum, squares, rows, of.n);
    });
    for (int64_t i = 0; i < channels; i++) {
      const double d = sums[i] / of.Count();
      mean[i] = from[i] + d;
      variance[i] = std::max(0.0, sums[channels + i] / of.Count() - d * d);
      const float *before = Floats(c, 3), *spread = Floats(c, 4);
      movedMean[i] = before[i] - (before[i] - mean[i]) * (1 - momentum);
      movedVariance[i] = spread[i] - (spread[i] - variance[i]) * (1 - momentum);
    }
    const auto middle = of.Each([=](int64_t i) { return mean[i]; });
    const auto factor = of.Each([=](int64_t i) { return Inverse(variance[i]) * (scale ? scale[i] : 1); });
    const auto level = of.Each([=](int64_t i) { return offset ? offset[i] : 0; });
    const float *m = middle.data(), *f = factor.data(), *o = level.data();
    of.Rows(c, [=, this](int64_t row, int64_t rows) {
      const int64_t at = row * of.n;
      if (RELU) run.normalizeRelu(x + at, {m, f, o, max}, y + at, rows, of.n);
      else run.normalize(x + at, m, f, o, y + at, rows, of.n);
    });
  }
};

#define REGISTER_BATCH_NORM_GRAD(name)          \
  REGISTER_OP(name)                             \
      .Input("dy: float")                       \
      .Input("x: float")                        \
      .Input("mean: float")                     \
      .Input("variance: float")                 \
      .Input("scale: float") /* or empty: 1 */  \
      .Output("dx: float")                      \
      .Output("dscale: float")                  \
      .Output("doffset: float")                 \
      .Attr("epsilon: float")

REGISTER_BATCH_NORM_GRAD("LeantuneBatchNormTrainGrad");
REGISTER_BATCH_NORM_GRAD("LeantuneBatchNormReluTrainGrad").Input("offset: float").Attr("max: float");  // or empty: 0

template <bool RELU>
struct BatchNormTrainGradOp : BatchNormOp {
  float max = 0;
  explicit BatchNormTrainGradOp(OpKernelConstruction* c) : BatchNormOp(c) {
    if (RELU) OP_REQUIRES_OK(c, c->GetAttr("max", &max));
  }

  // dx = r scale (g - mean(g) - x̂ mean(g x̂)), x̂ = (x - mean) r, g = dy, or what relu passes on of it
  void Compute(OpKernelContext* c) override {
    const Columns of = ColumnsOf(c, 1, {2, 3});
    const int64_t channels = of.channels;
    if (channels == 0) return;
    const TensorShape& shape = c->input(1).shape();
    OP_REQUIRES(c, c->input(0).shape() == shape, tensorflow::errors::InvalidArgument("dy is not of x's shape"));
    for (int i = 4; i < c->num_inputs(); i++)
      OP_REQUIRES(c, c->input(i).NumElements() == 0 || c->input(i).NumElements() == channels,
                  tensorflow::errors::InvalidArgument("scale and offset have one value a channel, or none"));
    const float *dy = Floats(c, 0), *x = Floats(c, 1), *mean = Floats(c, 2), *variance = Floats(c, 3);
    const float* scale = c->input(4).NumElements() ? Floats(c, 4) : nullptr;
    const float* offset = RELU && c->input(5).NumElements() ? Floats(c, 5) : nullptr;
    float *dx = Output(c, 0, shape), *dscale = Output(c, 1, {channels}), *doffset = Output(c, 2, {channels});
    if (!c->status().ok()) return;
    const auto by = [=, this](int64_t i) { return Inverse(variance[i]) * (scale ? scale[i] : 1); };
    const auto middle = of.Each([=](int64_t i) { return mean[i]; });
    const auto factor = of.Each(by);
    const auto bottom = of.Each([=](int64_t i) { return offset ? offset[i] : 0; });
    const Relu relu = {middle.data(), factor.data(), bottom.data(), max};
    const auto sums = of.Sums(c, [=](int64_t row, int64_t rows, float* sum, float* along) {
      const int64_t at = row * of.n;
      if (RELU) run.columnProductsRelu(dy + at, x + at, relu, sum, along, rows, of.n);
      else run.columnProducts(dy + at, x + at, relu.mean, sum, along, rows, of.n);
    });
    const double *whole = sums.data(), *along = whole + channels, count = of.Count();
    for (int64_t i = 0; i < channels; i++) {
      dscale[i] = along[i] * Inverse(variance[i]);
      doffset[i] = whole[i];
    }
    const auto slope = of.Each([=, this](int64_t i) { return by(i) * along[i] / (count * (variance[i] + epsilon)); });
    const auto level = of.Each([=](int64_t i) { return whole[i] / count; });
    const float *s = slope.data(), *l = level.data();
    of.Rows(c, [=](int64_t row, int64_t rows) {
      const int64_t at = row * of.n;
      if (RELU) run.normalizeReluGrad(dy + at, x + at, relu, s, l, dx + at, rows, of.n);
      else run.normalizeGrad(dy + at, x + at, relu.mean, relu.factor, s, l, dx + at, rows, of.n);
    });
  }
};

// Σ x over all axes but the last, and Σ a b.
REGISTER_OP("LeantuneSumRows").Input("x: float").Output("sum: float");
REGISTER_OP("LeantuneSumOfProducts").Input("a: float").Input("b: float").Output("sum: float");

struct SumRowsOp : OpKernel {
  using OpKernel::OpKernel;
  void Compute(OpKernelContext* c) override {
    const Columns of = ColumnsOf(c, 0, {});
    if (of.channels == 0) return;
    const bool product = c->num_inputs() == 2;
    OP_REQUIRES(c, !product || c->input(1).shape() == c->input(0).shape(), tensorflow::errors::InvalidArgument("inputs of two shapes"));
    const float *a = Floats(c, 0), *b = product ? Floats(c, 1) : nullptr;
    float* sum = Output(c, 0, {of.channels});
    if (!sum) return;
    const std::vector<float> zeros(of.n);
    const float* zero = zeros.data();
    const auto sums = of.Sums(c, [=](int64_t row, int64_t rows, float* whole, float* other) {
      if (b) run.columnProducts(a + row * of.n, b + row * of.n, zero, other, whole, rows, of.n);
      else run.columnMoments(a + row * of.n, zero, whole, other, rows, of.n);
    });
    for (int64_t i = 0; i < of.channels; i++) sum[i] = sums[i];
  }
};

struct SumOfProductsOp : SumRowsOp {
  using SumRowsOp::SumRowsOp;
};

// a [rows, n]; b whole, or given for columns, for rows or once.
REGISTER_OP("LeantuneBinary").Input("a: float").Input("b: float").Output("y: float").Attr("op: int").Attr("given: int");

struct BinaryOp : OpKernel {
  int op, given;
  explicit BinaryOp(OpKernelConstruction* c) : OpKernel(c) {
    OP_REQUIRES_OK(c, c->GetAttr("op", &op));
    OP_REQUIRES_OK(c, c->GetAttr("given", &given));
  }
  void Compute(OpKernelContext* c) override {
    const TensorShape& shape = c->input(0).shape();
    const Given of{given};
    const bool byRows = of == Given::rows || of == Given::columns;
    const int64_t size = shape.num_elements(), n = byRows && shape.dims() ? shape.dim_size(shape.dims() - 1) : 1;
    const int64_t rows = size / std::max<int64_t>(n, 1), expected[] = {size, n, rows, 1};
    OP_REQUIRES(c, size > 0 && c->input(1).NumElements() == expected[given], tensorflow::errors::InvalidArgument("b does not fit a"));
    const float *a = Floats(c, 0), *b = Floats(c, 1);
    float* y = Output(c, 0, shape);
    const bool moves = of == Given::whole || of == Given::rows;
    if (y) Parallel(c, rows, n, [=](int64_t begin, int64_t end) {
      run.binary(Binary(op), of, a + begin * n, moves ? b + begin : b, y + begin * n, end - begin, n);
    });
  }
};

// a [blocks, rows, n]; b [blocks, n], the same for all rows of a block: a mask of attention, say.
REGISTER_OP("LeantuneBlockBinary").Input("a: float").Input("b: float").Output("y: float").Attr("op: int");

struct BlockBinaryOp : OpKernel {
  int op;
  explicit BlockBinaryOp(OpKernelConstruction* c) : OpKernel(c) { OP_REQUIRES_OK(c, c->GetAttr("op", &op)); }
  void Compute(OpKernelContext* c) override {
    const TensorShape& shape = c->input(0).shape();
    const int64_t size = shape.num_elements(), given = c->input(1).NumElements(), n = shape.dims() ? shape.dim_size(shape.dims() - 1) : 0;
    OP_REQUIRES(c, size > 0 && given > 0 && given % n == 0 && size % given == 0, tensorflow::errors::InvalidArgument("b does not fit a"));
    const int64_t rows = size / given;
    const float *a = Floats(c, 0), *b = Floats(c, 1);
    float* y = Output(c, 0, shape);
    if (y) Parallel(c, size / n, n, [=](int64_t row, int64_t end) {
      while (row < end) {
        const int64_t block = row / rows, stop = std::min(end, (block + 1) * rows);
        run.binary(Binary(op), Given::columns, a + row * n, b + block * n, y + row * n, stop - row, n);
        row = stop;
      }
    });
  }
};

// [outer, rows, columns, n] to [outer, columns, rows, n]: tokens and heads change places. `axis` is that of the rows.
REGISTER_OP("LeantuneSwapAxes").Input("x: float").Output("y: float").Attr("axis: int");

struct SwapAxesOp : OpKernel {
  int axis;
  explicit SwapAxesOp(OpKernelConstruction* c) : OpKernel(c) { OP_REQUIRES_OK(c, c->GetAttr("axis", &axis)); }
  void Compute(OpKernelContext* c) override {
    TensorShape shape = c->input(0).shape();
    OP_REQUIRES(c, axis >= 0 && axis + 2 < shape.dims() && shape.num_elements() > 0,
                tensorflow::errors::InvalidArgument("x is empty, or has no two axes to swap before its last"));
    const int64_t rows = shape.dim_size(axis), columns = shape.dim_size(axis + 1);
    int64_t n = 1;
    for (int i = axis + 2; i < shape.dims(); i++) n *= shape.dim_size(i);
    shape.set_dim(axis, columns);
    shape.set_dim(axis + 1, rows);
    const float* x = Floats(c, 0);
    float* y = Output(c, 0, shape);
    if (y) Parallel(c, shape.num_elements() / (rows * n), rows * n, [=](int64_t unit, int64_t end) {
      for (; unit < end; unit++) {
        const float* from = x + (unit / columns * rows * columns + unit % columns) * n;
        float* to = y + unit * rows * n;
        for (int64_t row = 0; row < rows; row++) std::memcpy(to + row * n, from + row * columns * n, n * sizeof(float));
      }
    });
  }
};

// Relu and relu6 are clips.
REGISTER_OP("LeantuneClip").Input("x: float").Output("y: float").Attr("low: float").Attr("high: float");
REGISTER_OP("LeantuneReluGrad").Input("dy: float").Input("y: float").Output("dx: float");

struct ClipOp : BoundedOp {
  using BoundedOp::BoundedOp;
  void Compute(OpKernelContext* c) override {
    const float* x = Floats(c, 0);
    Elementwise<float>(c, 1, [&](float* y, int64_t at, int64_t n) { run.clip(x + at, low, high, y, n); });
  }
};

// Σ x over the last axis.
REGISTER_OP("LeantuneRowSums").Input("x: float").Output("sums: float");

struct RowSumsOp : OpKernel {
  using OpKernel::OpKernel;
  void Compute(OpKernelContext* c) override {
    TensorShape shape = c->input(0).shape();
    const int64_t size = shape.num_elements(), n = shape.dims() ? shape.dim_size(shape.dims() - 1) : 0;
    OP_REQUIRES(c, size > 0, tensorflow::errors::InvalidArgument("x is empty, or has no axis"));
    shape.RemoveLastDims(1);
    const float* x = Floats(c, 0);
    float* sums = Output(c, 0, shape);
    if (sums) Parallel(c, size / n, n, [=](int64_t begin, int64_t end) { run.rowSums(x + begin * n, sums + begin, end - begin, n); });
  }
};

REGISTER_OP("LeantuneErfGrad").Input("dy: float").Input("x: float").Output("dx: float");

template <void (*Training::*KERNEL)(const float*, const float*, float*, int64_t)>
struct GradOp : OpKernel {
  using OpKernel::OpKernel;
  void Compute(OpKernelContext* c) override {
    const float *dy = Floats(c, 0), *x = Floats(c, 1);
    Elementwise<float>(c, 4, [&](float* dx, int64_t at, int64_t n) { (run.*KERNEL)(dy + at, x + at, dx, n); });
  }
};

using ErfGradOp = GradOp<&Training::erfGrad>;
using ReluGradOp = GradOp<&Training::reluGrad>;

REGISTER_OP("LeantuneDescend").Input("weights: float").Input("gradient: float").Input("rate: float").Output("moved: float");

struct DescendOp : OpKernel {
  using OpKernel::OpKernel;
  void Compute(OpKernelContext* c) override {
    const Tensor& weights = c->input(0);
    OP_REQUIRES(c, c->input(1).shape() == weights.shape() && c->input(2).NumElements() == 1,
                tensorflow::errors::InvalidArgument("the gradient is not of the weights' shape, or the rate not one number"));
    const float *w = Floats(c, 0), *g = Floats(c, 1), rate = Floats(c, 2)[0];
    float* to = Output(c, 0, weights.shape());
    if (to) Parallel(c, weights.NumElements(), 1, [=](int64_t begin, int64_t end) { run.descend(w + begin, g + begin, rate, to + begin, end - begin); });
  }
};

using BatchNormTrain = BatchNormTrainOp<false>;
using BatchNormReluTrain = BatchNormTrainOp<true>;
using BatchNormTrainGrad = BatchNormTrainGradOp<false>;
using BatchNormReluTrainGrad = BatchNormTrainGradOp<true>;

REGISTER("BatchNormTrain", BatchNormTrain);
REGISTER("BatchNormReluTrain", BatchNormReluTrain);
REGISTER("BatchNormTrainGrad", BatchNormTrainGrad);
REGISTER("BatchNormReluTrainGrad", BatchNormReluTrainGrad);
REGISTER("SumRows", SumRowsOp);
REGISTER("SumOfProducts", SumOfProductsOp);
REGISTER("Binary", BinaryOp);
REGISTER("BlockBinary", BlockBinaryOp);
REGISTER("SwapAxes", SwapAxesOp);
REGISTER("Clip", ClipOp);
REGISTER("RowSums", RowSumsOp);
REGISTER("ErfGrad", ErfGradOp);
REGISTER("ReluGrad", ReluGradOp);
REGISTER("Descend", DescendOp);

}  // namespace
}  // namespace leantune
