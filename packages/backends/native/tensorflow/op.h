// What the ops of this folder are written with.
#pragma once

#include <vector>

#include "tensorflow/core/framework/op.h"
#include "tensorflow/core/framework/op_kernel.h"
#include "tensorflow/core/util/work_sharder.h"

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

// f(begin, end) on TensorFlow's threads. `cost` of one unit in processor cycles.
template <typename F>
void Parallel(OpKernelContext* context, int64_t units, int64_t cost, F f) {
  auto* threads = context->device()->tensorflow_cpu_worker_threads();
  tensorflow::Shard(threads->num_threads, threads->workers, units, cost, f);
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
