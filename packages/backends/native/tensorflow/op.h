// What the ops of this folder are written with.
#pragma once

#include <algorithm>
#include <atomic>
#include <memory>
#include <thread>
#include <vector>

#include "tensorflow/core/framework/op.h"
#include "tensorflow/core/framework/op_kernel.h"

namespace leantune {

// Of the ops that are registered, without `Leantune`: what the addon exports.
inline std::vector<const char*>& Names() {
  static std::vector<const char*> names;
  return names;
}

namespace {

using tensorflow::OpKernel;
using tensorflow::OpKernelConstruction;
using tensorflow::OpKernelContext;
using tensorflow::Tensor;
using tensorflow::TensorShape;

// Once around a loop that waits for another thread: short, but where it takes long others may run.
inline void Pause(int64_t turn) {
#if defined(__x86_64__)
  if (turn % 64 < 63) return __builtin_ia32_pause();
#endif
  std::this_thread::yield();
}

// Parts of work, which threads take one after the other. Shared: a thread may come when all are taken.
template <typename F>
struct Parts {
  const F* run;  // the work of those [begin, end) units
  int64_t units, parts;
  std::atomic<int64_t> next{0}, done{0};
  Parts(const F* run, int64_t units, int64_t parts) : run(run), units(units), parts(parts) {}

  void Work() {
    for (int64_t i; (i = next.fetch_add(1)) < parts; done.fetch_add(1, std::memory_order_release))
      (*run)(units * i / parts, units * (i + 1) / parts);
  }
};

// f(begin, end) on this thread and those of TensorFlow that come in time. `cost` of one unit in processor cycles.
template <typename F>
void Parallel(OpKernelContext* context, int64_t units, int64_t cost, F f) {
  auto* threads = context->device()->tensorflow_cpu_worker_threads();
  constexpr int64_t worth = 16384;  // cycles that are worth a part
  const int64_t parts = std::min({units, 4 * int64_t{threads->num_threads}, units * cost / worth});
  if (threads->num_threads == 1 || parts < 2) {
    if (units > 0) f(0, units);
    return;
  }
  const auto all = std::make_shared<Parts<F>>(&f, units, parts);
  for (int i = 1; i < threads->num_threads && i < parts; i++) threads->workers->Schedule([all] { all->Work(); });
  all->Work();
  for (int64_t turn = 0; all->done.load(std::memory_order_acquire) < parts; turn++) Pause(turn);
}

const float* Floats(OpKernelContext* context, int i) { return context->input(i).flat<float>().data(); }

// Null if there is no memory for it, which the context then says.
template <typename T = float>
T* Output(OpKernelContext* context, int i, const TensorShape& shape) {
  Tensor* out = nullptr;
  const auto status = context->allocate_output(i, shape, &out);
  if (status.ok()) return out->flat<T>().data();
  context->CtxFailure(status);
  return nullptr;
}

// An op whose inputs have the shape of the first, and whose one output has it too.
template <typename T, typename Each>
void Elementwise(OpKernelContext* context, int64_t cost, Each each) {
  const TensorShape& shape = context->input(0).shape();
  for (int i = 1; i < context->num_inputs(); i++)
    OP_REQUIRES(context, context->input(i).shape() == shape, tensorflow::errors::InvalidArgument("inputs of two shapes"));
  T* out = Output<T>(context, 0, shape);
  if (out) Parallel(context, shape.num_elements(), cost, [&](int64_t begin, int64_t end) { each(out + begin, begin, end - begin); });
}

// Two numbers for each of n columns, summed over rows. Each part of the rows has sums of its own: the same ones in every run, and of fewer
// numbers each. threads(parts, work) runs work(begin, end) for all parts; add(from, rows, own) adds to the first two of the `room` rows of `own`.
template <typename Threads, typename Add>
void SumsOfParts(OpKernelContext* context, int64_t rows, int64_t n, int64_t room, float* first, float* second, Threads threads, Add add) {
  const int64_t parts = rows < 64 ? 1 : 16;
  Tensor sums;
  OP_REQUIRES_OK(context, context->allocate_temp(tensorflow::DT_FLOAT, {room * parts * n}, &sums));
  float* part = sums.flat<float>().data();
  std::fill_n(part, sums.NumElements(), 0.0f);
  threads(parts, [=](int64_t begin, int64_t end) {
    for (; begin < end; begin++) {
      const int64_t from = rows * begin / parts;
      add(from, rows * (begin + 1) / parts - from, part + room * begin * n);
    }
  });
  for (int64_t i = 0; i < n; i++) {
    double sum[2] = {0, 0};
    for (int64_t p = 0; p < parts; p++)
      for (int which = 0; which < 2; which++) sum[which] += part[(room * p + which) * n + i];
    first[i] = sum[0];
    second[i] = sum[1];
  }
}

// An op with two bounds.
struct BoundedOp : OpKernel {
  float low, high;
  explicit BoundedOp(OpKernelConstruction* c) : OpKernel(c) {
    OP_REQUIRES_OK(c, c->GetAttr("low", &low));
    OP_REQUIRES_OK(c, c->GetAttr("high", &high));
  }
};

#define REGISTER(name, Kernel)                                                             \
  REGISTER_KERNEL_BUILDER(Name("Leantune" name).Device(tensorflow::DEVICE_CPU), Kernel); \
  const bool registered##Kernel = (Names().push_back(name), true)

}  // namespace
}  // namespace leantune
