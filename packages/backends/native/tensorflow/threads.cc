// TensorFlow's threads on the CPU, so that short ops gain from them. Its own pool lets every thread look for work for a while before it
// sleeps: when an op ends on two cores, both are taken by threads that look, and the one that waits for the op, and is to run the next, gets
// none until they tire. Here one thread less looks than there are cores. The pool takes the place of the device's own, from the op
// `LeantuneThreads` on, for all ops of TensorFlow.
#define EIGEN_USE_THREADS
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <deque>
#include <functional>
#include <mutex>
#include <thread>

#include "op.h"
#include "tensorflow/core/platform/denormal.h"
#include "tensorflow/core/platform/threadpool.h"
#include "tensorflow/core/platform/threadpool_interface.h"
#include "unsupported/Eigen/CXX11/Tensor"

namespace leantune {
namespace {

constexpr std::chrono::microseconds PATIENCE{100};  // for which a thread looks: JavaScript takes about as long from op to op

// Lives as long as the process, as TensorFlow's device does.
class Threads : public tensorflow::thread::ThreadPoolInterface {
 public:
  explicit Threads(int count) : count_(count) {
    for (int i = 0; i < count; i++) std::thread([this, i] { Work(i); }).detach();
  }

  void Schedule(std::function<void()> task) override {
    bool wake;
    {
      std::lock_guard<std::mutex> lock(mutex_);
      tasks_.push_back(std::move(task));
      waiting_.store(tasks_.size(), std::memory_order_release);
      wake = static_cast<int>(tasks_.size()) > looking_.load();
    }
    if (wake) more_.notify_one();
  }

  int NumThreads() const override { return count_; }
  int CurrentThreadId() const override { return Of() == this ? Id() : -1; }

 private:
  static int& Id() {
    static thread_local int id = -1;
    return id;
  }
  static const Threads*& Of() {
    static thread_local const Threads* of = nullptr;
    return of;
  }

  void Work(int id) {
    tensorflow::port::SetDenormalState({true, true});  // as in TensorFlow's own threads
    Id() = id;
    Of() = this;
    for (;;) {
      Look();
      Next()();
    }
  }

  // Until there is a task, if few others look and patience lasts.
  void Look() {
    if (looking_.fetch_add(1) < count_ - 1) {
      const auto end = std::chrono::steady_clock::now() + PATIENCE;
      for (int64_t turn = 0; waiting_.load(std::memory_order_acquire) == 0 && std::chrono::steady_clock::now() < end; turn++) Pause(turn);
    }
    looking_.fetch_sub(1);
  }

  std::function<void()> Next() {
    std::unique_lock<std::mutex> lock(mutex_);
    more_.wait(lock, [this] { return !tasks_.empty(); });
    auto task = std::move(tasks_.front());
    tasks_.pop_front();
    waiting_.store(tasks_.size(), std::memory_order_release);
    return task;
  }

  const int count_;
  std::mutex mutex_;
  std::condition_variable more_;
  std::deque<std::function<void()>> tasks_;
  std::atomic<size_t> waiting_{0};
  std::atomic<int> looking_{0};
};

REGISTER_OP("LeantuneThreads").SetIsStateful();

struct ThreadsOp : OpKernel {
  using OpKernel::OpKernel;
  void Compute(OpKernelContext* c) override {
    auto* device = c->device()->UnderlyingDevice();
    auto* workers = new tensorflow::DeviceBase::CpuWorkerThreads(*device->tensorflow_cpu_worker_threads());
    if (workers->num_threads < 2) return;
    workers->workers = new tensorflow::thread::ThreadPool(new Threads(workers->num_threads));
    device->set_tensorflow_cpu_worker_threads(workers);
    device->set_eigen_cpu_device(new Eigen::ThreadPoolDevice(workers->workers->AsEigenThreadPool(), workers->num_threads));
  }
};

REGISTER("Threads", ThreadsOp);

}  // namespace
}  // namespace leantune
