// Ops of our own in TensorFlow's registry, which tfjs-node's binding runs by name like any other: passes of training that TensorFlow
// composes of many. They work on TensorFlow's tensors and threads; what they compute is in the headers beside this file.
//
// Built by scripts/setup-tfjs-node.mjs against the headers and libraries that tfjs-node's addon is built against. An addon of Node:
// loading it registers the ops, and it exports their names.
#include <node_api.h>

#include "kernels.h"
#include "op.h"

namespace leantune {
namespace {

const Kernels& run = Chosen();

REGISTER_OP("LeantuneGelu").Input("x: float").Output("y: float").Attr("approximate: bool");
REGISTER_OP("LeantuneGeluGrad").Input("x: float").Input("dy: float").Output("dx: float").Attr("approximate: bool");

struct GeluOp : OpKernel {
  bool approximate;
  explicit GeluOp(OpKernelConstruction* c) : OpKernel(c) { OP_REQUIRES_OK(c, c->GetAttr("approximate", &approximate)); }
  void Compute(OpKernelContext* c) override {
    const float* x = Floats(c, 0);
    Elementwise<float>(c, 8, [&](float* y, int64_t at, int64_t n) { run.gelu(x + at, y, n, approximate); });
  }
};

struct GeluGradOp : GeluOp {
  using GeluOp::GeluOp;
  void Compute(OpKernelContext* c) override {
    const float *x = Floats(c, 0), *dy = Floats(c, 1);
    Elementwise<float>(c, 12, [&](float* dx, int64_t at, int64_t n) { run.geluGrad(x + at, dy + at, dx, n, approximate); });
  }
};

REGISTER_OP("LeantuneRelu6Mask").Input("x: float").Output("mask: bool");
REGISTER_OP("LeantuneInRange").Input("x: float").Output("mask: bool").Attr("low: float").Attr("high: float");
REGISTER_OP("LeantuneMasked").Input("dy: float").Input("mask: bool").Output("dx: float");

struct Relu6MaskOp : OpKernel {
  using OpKernel::OpKernel;
  void Compute(OpKernelContext* c) override {
    const float* x = Floats(c, 0);
    Elementwise<bool>(c, 1, [&](bool* mask, int64_t at, int64_t n) { run.relu6Mask(x + at, reinterpret_cast<uint8_t*>(mask), n); });
  }
};

struct InRangeOp : BoundedOp {
  using BoundedOp::BoundedOp;
  void Compute(OpKernelContext* c) override {
    const float* x = Floats(c, 0);
    Elementwise<bool>(c, 1, [&](bool* mask, int64_t at, int64_t n) { run.inRange(x + at, reinterpret_cast<uint8_t*>(mask), n, low, high); });
  }
};

struct MaskedOp : OpKernel {
  using OpKernel::OpKernel;
  void Compute(OpKernelContext* c) override {
    const float* dy = Floats(c, 0);
    const uint8_t* mask = reinterpret_cast<const uint8_t*>(c->input(1).flat<bool>().data());
    Elementwise<float>(c, 2, [&](float* dx, int64_t at, int64_t n) { run.masked(dy + at, mask + at, dx, n); });
  }
};

REGISTER_OP("LeantuneSoftmaxGrad").Input("dy: float").Input("y: float").Output("dx: float");

struct SoftmaxGradOp : OpKernel {
  using OpKernel::OpKernel;
  void Compute(OpKernelContext* c) override {
    const TensorShape& shape = c->input(1).shape();
    OP_REQUIRES(c, shape.dims() > 0 && c->input(0).shape() == shape, tensorflow::errors::InvalidArgument("dy is not of y's shape"));
    const int64_t n = shape.dim_size(shape.dims() - 1);
    const float *dy = Floats(c, 0), *y = Floats(c, 1);
    float* dx = Output(c, 0, shape);
    if (!dx || shape.num_elements() == 0) return;
    Parallel(c, shape.num_elements() / n, 2 * n, [=](int64_t begin, int64_t end) {
      run.softmaxGrad(dy + begin * n, y + begin * n, dx + begin * n, end - begin, n);
    });
  }
};

REGISTER_OP("LeantuneLayerNorm").Input("x: float").Input("weight: float").Input("bias: float").Output("y: float").Attr("epsilon: float");
REGISTER_OP("LeantuneLayerNormGrad")
    .Input("x: float")
    .Input("weight: float")
    .Input("dy: float")
    .Output("dx: float")
    .Output("dweight: float")
    .Output("dbias: float")
    .Attr("epsilon: float");

struct LayerNormOp : OpKernel {
  float epsilon;
  explicit LayerNormOp(OpKernelConstruction* c) : OpKernel(c) { OP_REQUIRES_OK(c, c->GetAttr("epsilon", &epsilon)); }

  // The length of a row; 0 if the inputs do not fit.
  int64_t Columns(OpKernelContext* c) {
    const TensorShape& shape = c->input(0).shape();
    const int64_t n = shape.dims() ? shape.dim_size(shape.dims() - 1) : 0;
    if (n > 0 && c->input(1).NumElements() == n) return n;
    c->CtxFailure(tensorflow::errors::InvalidArgument("x does not end in an axis of the weight's length"));
    return 0;
  }

  void Compute(OpKernelContext* c) override {
    const int64_t n = Columns(c);
    if (n == 0) return;
    OP_REQUIRES(c, c->input(2).NumElements() == n, tensorflow::errors::InvalidArgument("the bias is not of the weight's length"));
    const float *x = Floats(c, 0), *w = Floats(c, 1), *b = Floats(c, 2), eps = epsilon;
    float* y = Output(c, 0, c->input(0).shape());
    if (y) Parallel(c, c->input(0).NumElements() / n, 3 * n, [=](int64_t begin, int64_t end) {
      run.layerNorm(x + begin * n, w, b, y + begin * n, end - begin, n, eps);
    });
  }
};

struct LayerNormGradOp : LayerNormOp {
  using LayerNormOp::LayerNormOp;
  void Compute(OpKernelContext* c) override {
    const int64_t n = Columns(c);
    if (n == 0) return;
    OP_REQUIRES(c, c->input(2).shape() == c->input(0).shape(), tensorflow::errors::InvalidArgument("dy is not of x's shape"));
    const float *x = Floats(c, 0), *w = Floats(c, 1), *dy = Floats(c, 2), eps = epsilon;
    float *dx = Output(c, 0, c->input(0).shape()), *dw = Output(c, 1, {n}), *db = Output(c, 2, {n});
    if (!dx || !dw || !db) return;
    const int64_t rows = c->input(0).NumElements() / n;
    const auto threads = [=](int64_t parts, auto work) { Parallel(c, parts, 6 * n * (rows / parts), work); };
    SumsOfParts(c, rows, n, 2, dw, db, threads, [=](int64_t from, int64_t count, float* own) {
      run.layerNormGrad(x + from * n, w, dy + from * n, dx + from * n, own, own + n, count, n, eps);
    });
  }
};

#define ATTENTION_ATTRS(op) \
  op.Attr("heads: int").Attr("kv_heads: int").Attr("scale: float").Attr("causal: bool").Attr("window: int").Attr("masked: bool")

ATTENTION_ATTRS(REGISTER_OP("LeantuneAttention")
                    .Input("q: float")
                    .Input("k: float")
                    .Input("v: float")
                    .Input("mask: int32")
                    .Output("y: float")
                    .Output("lse: float"));
ATTENTION_ATTRS(REGISTER_OP("LeantuneAttentionGrad")
                    .Input("q: float")
                    .Input("k: float")
                    .Input("v: float")
                    .Input("mask: int32")
                    .Input("y: float")
                    .Input("lse: float")
                    .Input("dy: float")
                    .Output("dq: float")
                    .Output("dk: float")
                    .Output("dv: float"));

// q, y [batch, queries, heads · size]; k, v [batch, keys, kvHeads · size]; mask [batch, keys]; lse [batch, heads, queries].
struct AttentionOp : OpKernel {
  Attention given{};
  bool masked;

  explicit AttentionOp(OpKernelConstruction* c) : OpKernel(c) {
    OP_REQUIRES_OK(c, c->GetAttr("heads", &given.heads));
    OP_REQUIRES_OK(c, c->GetAttr("kv_heads", &given.kvHeads));
    OP_REQUIRES_OK(c, c->GetAttr("scale", &given.scale));
    OP_REQUIRES_OK(c, c->GetAttr("causal", &given.causal));
    OP_REQUIRES_OK(c, c->GetAttr("window", &given.window));
    OP_REQUIRES_OK(c, c->GetAttr("masked", &masked));
  }

  // What the inputs say of a sequence; `heads` is 0 if they do not fit.
  Attention Sizes(OpKernelContext* c) {
    const Tensor &q = c->input(0), &k = c->input(1), &v = c->input(2), &mask = c->input(3);
    Attention of = given;
    bool fits = q.dims() == 3 && k.dims() == 3 && v.shape() == k.shape() && q.dim_size(0) == k.dim_size(0) && of.heads > 0 &&
                of.kvHeads > 0 && of.heads % of.kvHeads == 0 && q.dim_size(2) % of.heads == 0;
    if (fits) {
      of.queries = q.dim_size(1);
      of.keys = k.dim_size(1);
      of.size = q.dim_size(2) / of.heads;
      fits = k.dim_size(2) == of.kvHeads * of.size && of.keys >= of.queries && (!masked || mask.NumElements() == q.dim_size(0) * of.keys);
    }
    if (fits) return of;
    c->CtxFailure(tensorflow::errors::InvalidArgument("queries, keys, values and mask do not fit each other"));
    of.heads = 0;
    return of;
  }

  Attention Sequence(OpKernelContext* c, Attention of, int64_t n) const {
    of.mask = masked ? c->input(3).flat<int32_t>().data() + n * of.keys : nullptr;
    return of;
  }

  // Buffers of one thread: floats that TensorFlow's allocator gives and counts.
  static float* Scratch(OpKernelContext* c, int64_t floats, Tensor* owner) {
    const auto status = c->allocate_temp(tensorflow::DT_FLOAT, {floats}, owner);
    if (status.ok()) return owner->flat<float>().data();
    c->SetStatus(status);
    return nullptr;
  }

  void Compute(OpKernelContext* c) override {
    const Attention of = Sizes(c);
    if (of.heads == 0) return;
    const int64_t batch = c->input(0).dim_size(0), ld = of.heads * of.size, ldk = of.kvHeads * of.size;
    const float *q = Floats(c, 0), *k = Floats(c, 1), *v = Floats(c, 2);
    float *y = Output(c, 0, c->input(0).shape()), *lse = Output(c, 1, {batch, of.heads, of.queries});
    if (!y || !lse || of.queries == 0) return;
    Parallel(c, batch * of.heads, of.queries * of.keys * of.size / 8, [=](int64_t begin, int64_t end) {
      Tensor owner;
      float* scratch = Scratch(c, (of.size + BLOCK) * of.keys, &owner);
      for (; scratch && begin < end; begin++) {
        const int64_t n = begin / of.heads, head = begin % of.heads, shared = head / (of.heads / of.kvHeads);
        const int64_t own = n * of.queries * ld + head * of.size, their = n * of.keys * ldk + shared * of.size;
        run.attend(Sequence(c, of, n), q + own, ld, k + their, v + their, ldk, y + own, lse + begin * of.queries, scratch,
               scratch + of.size * of.keys);
      }
    });
  }
};

struct AttentionGradOp : AttentionOp {
  using AttentionOp::AttentionOp;
  void Compute(OpKernelContext* c) override {
    const Attention of = Sizes(c);
    if (of.heads == 0) return;
    const TensorShape& shape = c->input(0).shape();
    const int64_t batch = shape.dim_size(0), ld = of.heads * of.size, ldk = of.kvHeads * of.size, group = of.heads / of.kvHeads;
    OP_REQUIRES(c, c->input(4).shape() == shape && c->input(6).shape() == shape && c->input(5).NumElements() == batch * of.heads * of.queries,
                tensorflow::errors::InvalidArgument("y, lse and dy do not fit the queries"));
    const float *q = Floats(c, 0), *k = Floats(c, 1), *v = Floats(c, 2), *y = Floats(c, 4), *lse = Floats(c, 5), *dy = Floats(c, 6);
    float *dq = Output(c, 0, shape), *dk = Output(c, 1, c->input(1).shape()), *dv = Output(c, 2, c->input(2).shape());
    if (!dq || !dk || !dv) return;
    std::memset(dk, 0, c->input(1).TotalBytes());
    std::memset(dv, 0, c->input(2).TotalBytes());
    if (of.queries == 0) return;
    // A head of keys at a time: its gradient is the sum over the queries that share it.
    Parallel(c, batch * of.kvHeads, group * of.queries * of.keys * of.size / 3, [=](int64_t begin, int64_t end) {
      Tensor owner;
      const int64_t keys = of.keys;
      float* scratch = Scratch(c, 2 * (of.size + BLOCK) * keys, &owner);
      for (; scratch && begin < end; begin++) {
        const int64_t n = begin / of.kvHeads, shared = begin % of.kvHeads, their = n * keys * ldk + shared * of.size;
        for (int64_t head = shared * group; head < (shared + 1) * group; head++) {
          const int64_t own = n * of.queries * ld + head * of.size;
          run.attendGrad(Sequence(c, of, n), q + own, y + own, lse + (n * of.heads + head) * of.queries, dy + own, ld, k + their, v + their, ldk,
                     dq + own, dk + their, dv + their, scratch, scratch + of.size * keys, scratch + 2 * of.size * keys,
                     scratch + (2 * of.size + BLOCK) * keys);
        }
      }
    });
  }
};

REGISTER("Gelu", GeluOp);
REGISTER("GeluGrad", GeluGradOp);
REGISTER("Relu6Mask", Relu6MaskOp);
REGISTER("InRange", InRangeOp);
REGISTER("Masked", MaskedOp);
REGISTER("SoftmaxGrad", SoftmaxGradOp);
REGISTER("LayerNorm", LayerNormOp);
REGISTER("LayerNormGrad", LayerNormGradOp);
REGISTER("Attention", AttentionOp);
REGISTER("AttentionGrad", AttentionGradOp);

}  // namespace
}  // namespace leantune

// { ops: their names }
NAPI_MODULE_INIT() {
  napi_value names, name;
  napi_create_array(env, &names);
  uint32_t i = 0;
  for (const char* of : leantune::Names()) {
    napi_create_string_utf8(env, of, NAPI_AUTO_LENGTH, &name);
    napi_set_element(env, names, i++, name);
  }
  napi_set_named_property(env, exports, "ops", names);
  return exports;
}
