// What ops on codes have in common.
#pragma once

#include "codes.h"
#include "op.h"
#include "tensorflow/core/platform/denormal.h"

namespace leantune {
namespace {

using tensorflow::errors::InvalidArgument;

const Codes& run = Chosen();

// As Parallel, with the numbers nearest to zero as they are: TensorFlow's threads take them for zero, other backends do not.
template <typename F>
void Exactly(OpKernelContext* context, int64_t units, int64_t cost, F f) {
  Parallel(context, units, cost, [=](int64_t begin, int64_t end) {
    tensorflow::port::ScopedDontFlushDenormal exact;
    f(begin, end);
  });
}

const uint8_t* Words(OpKernelContext* c, int i) { return reinterpret_cast<const uint8_t*>(c->input(i).flat<int32_t>().data()); }

uint8_t* OutputWords(OpKernelContext* c, int64_t bytes) { return reinterpret_cast<uint8_t*>(Output<int32_t>(c, 0, {bytes / 4})); }

// Bits of a code, and whether an input holds the words of so many.
struct CodeOp : OpKernel {
  int64_t bits;
  explicit CodeOp(OpKernelConstruction* c) : OpKernel(c) {
    OP_REQUIRES_OK(c, c->GetAttr("bits", &bits));
    OP_REQUIRES(c, bits == 1 || bits == 2 || bits == 4 || bits == 8 || bits == 16, InvalidArgument("codes of ", bits, " bits"));
  }

  static bool Holds(OpKernelContext* c, int64_t bytes) {
    const int64_t words = c->input(0).NumElements();
    if (words * 4 == bytes) return true;
    c->CtxFailure(InvalidArgument("got ", words, " words of codes; expected ", bytes / 4));
    return false;
  }
};

// The whole rows of n values, and a shorter one behind them.
struct RowOp : CodeOp {
  int64_t group;
  explicit RowOp(OpKernelConstruction* c) : CodeOp(c) {
    OP_REQUIRES_OK(c, c->GetAttr("group", &group));
    OP_REQUIRES(c, group > 0, InvalidArgument("rows of ", group));
  }
  Rows Whole() const { return {group, (int)bits}; }
  Rows Rest(int64_t n) const { return {n % group, (int)bits}; }
  int64_t Bytes(int64_t n) const { return n / group * Whole().Bytes() + (n % group ? Rest(n).Bytes() : 0); }

  // f(first row, rows, their length)
  template <typename F>
  void Each(OpKernelContext* c, int64_t n, F f) const {
    const Rows whole = Whole(), rest = Rest(n);
    Exactly(c, n / group, group, [=](int64_t begin, int64_t end) { f(begin, end - begin, whole); });
    if (rest.n) Exactly(c, 1, rest.n, [=](int64_t, int64_t) { f(n / group, 1, rest); });
  }
};

// dx of whole rows. f(codes, dy, dx, first row, rows)
template <typename F>
void Gradient(OpKernelContext* c, const RowOp& op, F f) {
  const TensorShape& shape = c->input(1).shape();
  const int64_t n = shape.num_elements(), group = op.group;
  OP_REQUIRES(c, n % group == 0, InvalidArgument(n, " values are no rows of ", group));
  if (!CodeOp::Holds(c, op.Bytes(n))) return;
  const uint8_t* in = Words(c, 0);
  const float* dy = Floats(c, 1);
  float* dx = Output(c, 0, shape);
  if (dx) op.Each(c, n, [=](int64_t row, int64_t rows, Rows of) {
    f(in + row * of.Bytes(), dy + row * group, dx + row * group, row, rows, of);
  });
}

}  // namespace
}  // namespace leantune
