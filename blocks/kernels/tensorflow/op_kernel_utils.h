// What TensorFlow's side of the kernels shares: tensors, attributes, checks and the thread pool.
#pragma once

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "tensorflow/core/framework/op_kernel.h"
#include "tensorflow/core/platform/threadpool.h"

#include <cmath>
#include <cstring>
#include <string>
#include <type_traits>
#include <vector>

#include "../dispatch/levels.h"
#include "../dispatch/thread_pool.h"
#include "geometry.h"

namespace blocks {

using tensorflow::OpKernel;
using tensorflow::OpKernelConstruction;
using tensorflow::OpKernelContext;
using tensorflow::Tensor;
using tensorflow::TensorShape;

template <class... Parts>
absl::Status InvalidArgument(const Parts&... parts) {
  return absl::InvalidArgumentError(absl::StrCat(parts...));
}

template <class T>
struct Stored {
  typedef float type;
};
template <>
struct Stored<Eigen::bfloat16> {
  typedef bf16 type;
};

// The kernels for tensors of T.
template <class T>
const TypedKernels<typename Stored<T>::type>& kernels_for() {
  if constexpr (std::is_same<T, Eigen::bfloat16>::value) return kernels().bf16_kernels;
  else return kernels().float_kernels;
}

template <class T>
const typename Stored<T>::type* in(OpKernelContext* context, int index) {
  return static_cast<const typename Stored<T>::type*>(context->input(index).data());
}

template <class T>
typename Stored<T>::type* out(OpKernelContext* context, int index, const TensorShape& shape) {
  Tensor* tensor = nullptr;
  if (auto status = context->allocate_output(index, shape, &tensor); !status.ok()) {
    context->CtxFailure(status);
    return nullptr;
  }
  return static_cast<typename Stored<T>::type*>(tensor->data());
}

// The constructor is deprecated, but what replaces it is not in all releases of TensorFlow that are supported.
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wdeprecated-declarations"
inline tensorflow::thread::ThreadPool::SchedulingParams one_at_a_time() {
  using tensorflow::thread::ThreadPool;
  return ThreadPool::SchedulingParams(ThreadPool::SchedulingStrategy::kFixedBlockSize, std::nullopt, 1);
}
#pragma GCC diagnostic pop

// As many threads as TensorFlow computes with: those of our pool, or TensorFlow's where another call has the pool.
inline Parallel parallel_of(OpKernelContext* context) {
  auto* workers = context->device()->tensorflow_cpu_worker_threads();
  const int threads = workers->num_threads;
  auto* pool = workers->workers;
  return {threads, [pool, threads](int64_t tasks, const std::function<void(int64_t)>& run) {
            if (threads == 1 || tasks == 1) {
              for (int64_t task = 0; task < tasks; ++task) run(task);
              return;
            }
            if (try_parallel_for(threads, tasks, run)) return;
            pool->ParallelFor(tasks, one_at_a_time(), [&run](int64_t begin, int64_t end) {
              for (int64_t task = begin; task < end; ++task) run(task);
            });
          }};
}

inline Activation activation_of(OpKernelConstruction* context) {
  std::string name;
  if (auto status = context->GetAttr("activation", &name); !status.ok()) context->CtxFailure(status);
  if (name == "relu") return Activation::kRelu;
  if (name == "relu6") return Activation::kRelu6;
  if (name == "hard_silu") return Activation::kHardSilu;
  if (name == "silu") return Activation::kSilu;
  if (name == "gelu") return Activation::kGelu;
  if (!name.empty()) context->CtxFailure(InvalidArgument("unknown activation: ", name));
  return Activation::kNone;
}

// Sets how many windows an axis has. Where there is one, the stride has no meaning and becomes 1: however large it was,
// the kernels' multiples of it are small.
inline void set_windows(OpKernelContext* context, const char* window, int64_t size, int before, int after, int taps,
                        int& stride, int& count) {
  int64_t windows = 0;
  if (auto status = windows_along(window, size, before, after, taps, stride, &windows); !status.ok())
    return context->CtxFailure(status);
  count = int(windows);
  if (count == 1) stride = 1;
}

inline void check_vector(OpKernelContext* context, int index, int64_t channels) {
  OP_REQUIRES(context, context->input(index).NumElements() == channels,
              InvalidArgument("input ", index, " has ", context->input(index).NumElements(), " entries for ", channels,
                              " channels"));
}

inline void check_channels(OpKernelContext* context, int64_t channels, int64_t minimum = kernels().min_channels) {
  OP_REQUIRES(context, channels >= minimum,
              InvalidArgument("this kernel takes ", minimum, " channels or more, got ", channels));
}

// The last axis' size; 0, of which no kernel makes anything, for a scalar.
inline int64_t channels_of(const TensorShape& shape) { return shape.dims() ? shape.dim_size(shape.dims() - 1) : 0; }

// A gradient of weights to which no image contributes.
inline void clear(float* gradient, const TensorShape& shape) {
  std::memset(gradient, 0, sizeof(float) * shape.num_elements());
}

// The residual is a list of no or one tensor, the last input.
inline bool has_residual(OpKernelContext* context, int index) { return context->num_inputs() > index; }

// A shape, given as the last input.
inline bool shape_input(OpKernelContext* c, TensorShape& shape) {
  const Tensor& sizes = c->input(c->num_inputs() - 1);
  const auto* from = static_cast<const int32_t*>(sizes.data());
  for (int64_t i = 0; i < sizes.NumElements() && c->status().ok(); ++i)
    if (auto status = shape.AddDimWithStatus(from[i]); !status.ok()) c->CtxFailure(status);
  return c->status().ok();
}

inline TensorShape with_channels(TensorShape shape, int64_t channels) {
  if (shape.dims()) shape.set_dim(shape.dims() - 1, channels);
  return shape;
}

#define BLOCKS_KERNEL(NAME, CLASS)                                                                             \
  REGISTER_KERNEL_BUILDER(Name(NAME).Device(tensorflow::DEVICE_CPU).TypeConstraint<float>("T"), CLASS<float>); \
  REGISTER_KERNEL_BUILDER(Name(NAME).Device(tensorflow::DEVICE_CPU).TypeConstraint<Eigen::bfloat16>("T"),      \
                          CLASS<Eigen::bfloat16>);

}  // namespace blocks
