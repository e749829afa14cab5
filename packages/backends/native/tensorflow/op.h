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

#define REGISTER(name, Kernel)                                                             \
  REGISTER_KERNEL_BUILDER(Name("Leantune" name).Device(tensorflow::DEVICE_CPU), Kernel); \
  const bool registered##Kernel = (Names().push_back(name), true)

}  // namespace
}  // namespace leantune
