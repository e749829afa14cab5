// Ops that write and read codes, one pass each, on TensorFlow's tensors and threads. What they compute is in the headers beside this file.
#include <algorithm>

#include "code-op.h"

namespace leantune {
namespace {

REGISTER_OP("LeantuneEncodeSteps")
    .Input("x: float")
    .Output("words: int32")
    .Attr("borders: list(float)")
    .Attr("codes: list(int)")
    .Attr("bits: int");
REGISTER_OP("LeantuneDecodeSteps").Input("codes: int32").Output("y: float").Attr("levels: list(float)").Attr("shape: shape").Attr("bits: int");
REGISTER_OP("LeantuneTimesSteps").Input("codes: int32").Input("dy: float").Output("dx: float").Attr("levels: list(float)").Attr("bits: int");

struct EncodeStepsOp : CodeOp {
  std::vector<float> borders;
  std::vector<int32_t> codes;
  explicit EncodeStepsOp(OpKernelConstruction* c) : CodeOp(c) {
    OP_REQUIRES_OK(c, c->GetAttr("borders", &borders));
    OP_REQUIRES_OK(c, c->GetAttr("codes", &codes));
    OP_REQUIRES(c, borders.size() < 1024 && codes.size() == borders.size() + 1 && bits <= 8,
                InvalidArgument(codes.size(), " codes of ", bits, " bits between ", borders.size(), " borders"));
  }
  void Compute(OpKernelContext* c) override {
    const float* x = Floats(c, 0);
    const int64_t n = c->input(0).NumElements();
    uint8_t* out = OutputWords(c, CodeBytes(n, bits));
    const Steps steps = {borders.data(), codes.data(), (int64_t)borders.size()};
    if (out) Exactly(c, (n + BATCH - 1) / BATCH, BATCH, [=](int64_t begin, int64_t end) {
      const int64_t at = begin * BATCH;
      run.encodeSteps(x + at, out + at * bits / 8, std::min(n, end * BATCH) - at, bits, steps);
    });
  }
};

struct TimesStepsOp : CodeOp {
  std::vector<float> levels;
  explicit TimesStepsOp(OpKernelConstruction* c) : CodeOp(c) {
    OP_REQUIRES_OK(c, c->GetAttr("levels", &levels));
    OP_REQUIRES(c, bits <= 8, InvalidArgument("steps of ", bits, " bits"));
    levels.resize(256);
  }
  void Decode(OpKernelContext* c, const float* dy, const TensorShape& shape) {
    const int64_t n = shape.num_elements();
    if (!Holds(c, CodeBytes(n, bits))) return;
    const uint8_t* in = Words(c, 0);
    float* out = Output(c, 0, shape);
    if (out) Exactly(c, (n + BATCH - 1) / BATCH, BATCH, [=](int64_t begin, int64_t end) {
      const int64_t at = begin * BATCH;
      run.decodeSteps(in + at * bits / 8, dy ? dy + at : nullptr, out + at, std::min(n, end * BATCH) - at, bits, levels.data());
    });
  }
  void Compute(OpKernelContext* c) override { Decode(c, Floats(c, 1), c->input(1).shape()); }
};

struct DecodeStepsOp : TimesStepsOp {
  TensorShape shape;
  explicit DecodeStepsOp(OpKernelConstruction* c) : TimesStepsOp(c) { OP_REQUIRES_OK(c, c->GetAttr("shape", &shape)); }
  void Compute(OpKernelContext* c) override { Decode(c, nullptr, shape); }
};

REGISTER_OP("LeantuneQuantizeRows").Input("x: float").Output("codes: int32").Attr("bits: int").Attr("group: int").Attr("seed: int");
REGISTER_OP("LeantuneDequantizeRows").Input("codes: int32").Output("x: float").Attr("bits: int").Attr("group: int").Attr("shape: shape");

struct QuantizeRowsOp : RowOp {
  int64_t seed;
  explicit QuantizeRowsOp(OpKernelConstruction* c) : RowOp(c) { OP_REQUIRES_OK(c, c->GetAttr("seed", &seed)); }
  void Compute(OpKernelContext* c) override {
    const float* x = Floats(c, 0);
    const int64_t n = c->input(0).NumElements();
    uint8_t* out = OutputWords(c, Bytes(n));
    if (out) Each(c, n, [=](int64_t row, int64_t rows, Rows of) {
      run.quantizeRows(x + row * group, out + row * Whole().Bytes(), rows, of, row * group, seed);
    });
  }
};

struct DequantizeRowsOp : RowOp {
  TensorShape shape;
  explicit DequantizeRowsOp(OpKernelConstruction* c) : RowOp(c) { OP_REQUIRES_OK(c, c->GetAttr("shape", &shape)); }
  void Compute(OpKernelContext* c) override {
    if (!Holds(c, Bytes(shape.num_elements()))) return;
    const uint8_t* in = Words(c, 0);
    float* out = Output(c, 0, shape);
    if (out) Each(c, shape.num_elements(), [=](int64_t row, int64_t rows, Rows of) {
      run.dequantizeRows(in + row * Whole().Bytes(), out + row * group, rows, of);
    });
  }
};

REGISTER_OP("LeantuneSoftmaxGradRows").Input("codes: int32").Input("dy: float").Output("dx: float").Attr("bits: int").Attr("group: int");
REGISTER_OP("LeantuneNormGradRows")
    .Input("codes: int32")
    .Input("dy: float")
    .Input("mean: float")
    .Input("rstd: float")
    .Input("scale: float")
    .Output("dx: float")
    .Attr("bits: int")
    .Attr("group: int");

struct SoftmaxGradRowsOp : RowOp {
  using RowOp::RowOp;
  void Compute(OpKernelContext* c) override {
    Gradient(c, *this, [](const uint8_t* in, const float* dy, float* dx, int64_t, int64_t rows, Rows of) {
      run.softmaxGradRows(in, dy, dx, rows, of);
    });
  }
};

// Null where it has no element.
const float* Optional(OpKernelContext* c, int i) { return c->input(i).NumElements() ? Floats(c, i) : nullptr; }

// Mean and scale may have no element.
struct NormGradRowsOp : RowOp {
  using RowOp::RowOp;

  // Whether the statistics, and what has one number a column, fit dy; else the context says so.
  bool Fit(OpKernelContext* c) const {
    const int64_t rows = c->input(1).NumElements() / group;
    bool fit = c->input(3).NumElements() == rows && (!Optional(c, 2) || c->input(2).NumElements() == rows);
    if (c->num_inputs() > 4) fit &= !Optional(c, 4) || c->input(4).NumElements() == group;
    if (!fit) c->CtxFailure(InvalidArgument("mean, rstd and scale do not fit rows of ", group));
    return fit;
  }

  void Compute(OpKernelContext* c) override {
    if (!Fit(c)) return;
    const float *mean = Optional(c, 2), *r = Floats(c, 3), *scale = Optional(c, 4);
    Gradient(c, *this, [=](const uint8_t* in, const float* dy, float* dx, int64_t row, int64_t rows, Rows of) {
      run.normGradRows(in, dy, mean ? mean + row : nullptr, r + row, scale, dx, rows, of);
    });
  }
};

REGISTER_OP("LeantuneNormScaleGradRows")
    .Input("codes: int32")
    .Input("dy: float")
    .Input("mean: float")
    .Input("rstd: float")
    .Output("dscale: float")
    .Output("doffset: float")
    .Attr("bits: int")
    .Attr("group: int");

struct NormScaleGradRowsOp : NormGradRowsOp {
  using NormGradRowsOp::NormGradRowsOp;
  void Compute(OpKernelContext* c) override {
    const int64_t n = c->input(1).NumElements(), rows = n / group, width = group;
    OP_REQUIRES(c, n % group == 0, InvalidArgument(n, " values are no rows of ", group));
    if (!Fit(c) || !Holds(c, Bytes(n))) return;
    const uint8_t* in = Words(c, 0);
    const float *dy = Floats(c, 1), *mean = Optional(c, 2), *r = Floats(c, 3);
    float *dscale = Output(c, 0, {width}), *doffset = Output(c, 1, {width});
    if (!dscale || !doffset) return;
    const Rows of = Whole();
    const auto threads = [=](int64_t parts, auto work) { Exactly(c, parts, 3 * n / parts, work); };
    SumsOfParts(c, rows, width, 3, dscale, doffset, threads, [=](int64_t from, int64_t count, float* own) {
      run.normScaleGradRows(in + from * of.Bytes(), dy + from * width, mean ? mean + from : nullptr, r + from, own, own + width,
                            own + 2 * width, count, of);
    });
  }
};

REGISTER_OP("LeantuneRowMoments").Input("x: float").Output("moments: float").Attr("epsilon: float").Attr("centered: bool");

struct RowMomentsOp : OpKernel {
  float epsilon;
  bool centered;
  explicit RowMomentsOp(OpKernelConstruction* c) : OpKernel(c) {
    OP_REQUIRES_OK(c, c->GetAttr("epsilon", &epsilon));
    OP_REQUIRES_OK(c, c->GetAttr("centered", &centered));
  }
  void Compute(OpKernelContext* c) override {
    const TensorShape& shape = c->input(0).shape();
    const int64_t n = shape.dims() ? shape.dim_size(shape.dims() - 1) : 0;
    OP_REQUIRES(c, n > 0, InvalidArgument("x has no last axis"));
    const int64_t rows = shape.num_elements() / n;
    const float *x = Floats(c, 0), eps = epsilon;
    const bool both = centered;
    float* out = Output(c, 0, {both ? 2 : 1, rows});
    if (out) Parallel(c, rows, n, [=](int64_t begin, int64_t end) {
      float* own = out + begin;
      run.rowMoments(x + begin * n, both ? own : nullptr, both ? own + rows : own, end - begin, n, eps);
    });
  }
};

#define POOL_ATTRS(op) op.Attr("bits: int").Attr("shape: shape").Attr("out: shape").Attr("window: list(int)")

POOL_ATTRS(REGISTER_OP("LeantuneMaxPoolIndex").Input("x: float").Output("codes: int32"));
POOL_ATTRS(REGISTER_OP("LeantuneMaxPoolIndexGrad").Input("codes: int32").Input("dy: float").Output("dx: float"));

// Images `shape`, what comes out of them, and of a window: rows, columns, strides down and right, padding above and on the left.
struct MaxPoolOp : CodeOp {
  TensorShape shape, out;
  Pool of;
  explicit MaxPoolOp(OpKernelConstruction* c) : CodeOp(c) {
    std::vector<int64_t> window;
    OP_REQUIRES_OK(c, c->GetAttr("shape", &shape));
    OP_REQUIRES_OK(c, c->GetAttr("out", &out));
    OP_REQUIRES_OK(c, c->GetAttr("window", &window));
    OP_REQUIRES(c, shape.dims() == 4 && out.dims() == 4 && window.size() == 6 && bits <= 8 && window[0] * window[1] <= 1 << bits,
                InvalidArgument("a window that ", bits, " bits do not tell the places of"));
    of = {shape.dim_size(1), shape.dim_size(2), shape.dim_size(3), out.dim_size(1), out.dim_size(2),
          window[0],         window[1],         window[2],         window[3],       window[4],       window[5]};
  }
  int64_t Image() const { return of.height * of.width * of.channels; }
};

struct MaxPoolIndexOp : MaxPoolOp {
  using MaxPoolOp::MaxPoolOp;
  void Compute(OpKernelContext* c) override {
    OP_REQUIRES(c, c->input(0).shape() == shape, InvalidArgument("x is not of the images' shape"));
    const float* x = Floats(c, 0);
    const int64_t n = out.num_elements(), row = of.outWidth * of.channels, rows = row ? n / row : 0;
    uint8_t* words = OutputWords(c, CodeBytes(n, bits));
    Tensor owner;
    OP_REQUIRES_OK(c, c->allocate_temp(tensorflow::DT_UINT8, {n}, &owner));
    uint8_t* taps = owner.flat<uint8_t>().data();
    if (!words) return;
    Exactly(c, rows, row * of.rows * of.columns, [=](int64_t begin, int64_t end) {
      for (; begin < end; begin++) run.maxPoolTaps(of, x + begin / of.outHeight * Image(), begin % of.outHeight, taps + begin * row);
    });
    run.packTaps(taps, words, n, bits);
  }
};

struct MaxPoolIndexGradOp : MaxPoolOp {
  using MaxPoolOp::MaxPoolOp;
  void Compute(OpKernelContext* c) override {
    OP_REQUIRES(c, c->input(1).NumElements() == out.num_elements(), InvalidArgument("dy is not of what came out"));
    if (!Holds(c, CodeBytes(out.num_elements(), bits))) return;
    const uint32_t* in = reinterpret_cast<const uint32_t*>(Words(c, 0));
    const float* dy = Floats(c, 1);
    float* dx = Output(c, 0, shape);
    const int64_t windows = of.outHeight * of.outWidth * of.channels;
    if (dx) Exactly(c, shape.dim_size(0), windows * 4, [=](int64_t begin, int64_t end) {
      for (; begin < end; begin++) run.maxPoolIndexGrad(of, in, dy + begin * windows, dx + begin * Image(), begin * windows, bits);
    });
  }
};

REGISTER("EncodeSteps", EncodeStepsOp);
REGISTER("DecodeSteps", DecodeStepsOp);
REGISTER("TimesSteps", TimesStepsOp);
REGISTER("QuantizeRows", QuantizeRowsOp);
REGISTER("DequantizeRows", DequantizeRowsOp);
REGISTER("SoftmaxGradRows", SoftmaxGradRowsOp);
REGISTER("NormGradRows", NormGradRowsOp);
REGISTER("NormScaleGradRows", NormScaleGradRowsOp);
REGISTER("RowMoments", RowMomentsOp);
REGISTER("MaxPoolIndex", MaxPoolIndexOp);
REGISTER("MaxPoolIndexGrad", MaxPoolIndexGradOp);

}  // namespace
}  // namespace leantune
