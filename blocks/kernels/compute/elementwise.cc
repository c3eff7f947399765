// Activations that no other operation applies, and the gradient of biases.
#include <algorithm>
#include <vector>

#include "columns.h"
#include "simd.h"

namespace blocks {
namespace {

// Calls run(offset, lanes) for each vector of `count` entries, in parallel.
template <class Run>
void each_vector(int64_t count, const Parallel& parallel, Run run) {
  const int64_t vectors = (count + kLanes - 1) / kLanes;
  const int64_t tasks = std::max<int64_t>(1, std::min<int64_t>(parallel.threads * 4, count / 16384));
  parallel.run(tasks, [&](int64_t task) {
    const int64_t begin = vectors * task / tasks, end = vectors * (task + 1) / tasks;
    const int64_t whole = std::min(end, count / kLanes);
    for (int64_t v = begin; v < whole; ++v) run(v * kLanes, kLanes);
    if (end > whole) run(whole * kLanes, int(count % kLanes));
  });
}

}  // namespace

template <class T>
void activation(const T* x, T* y, int64_t count, Activation kind, const Parallel& parallel) {
  with_activation(kind, [&](auto act) {
    each_vector(count, parallel,
                [&](int64_t at, int lanes) { store_lanes(y + at, activate<act>(load_lanes(x + at, lanes)), lanes); });
  });
}

template <class T>
void activation_gradient(const T* dy, const T* x, T* dx, int64_t count, Activation kind, const Parallel& parallel) {
  with_activation(kind, [&](auto act) {
    each_vector(count, parallel, [&](int64_t at, int lanes) {
      store_lanes(dx + at, activate_gradient<act>(load_lanes(x + at, lanes), load_lanes(dy + at, lanes)), lanes);
    });
  });
}

template <class T>
void bias_gradient(const T* dy, int64_t rows, int channels, float* d_bias, const Parallel& parallel) {
  const std::vector<double> sums = column_sums<1>(rows, channels, parallel, [&](int64_t row, float* accumulators) {
    for (int v = 0; v < num_vectors(channels); ++v) {
      float* at = accumulators + v * kLanes;
      store(at, load(at) + load_lanes(dy + row * channels + v * kLanes, lanes_of(v, channels)));
    }
  });
  std::copy(sums.begin(), sums.end(), d_bias);
}

#define BLOCKS_INSTANTIATE(T)                                                                         \
  template void activation<T>(const T*, T*, int64_t, Activation, const Parallel&);                    \
  template void activation_gradient<T>(const T*, const T*, T*, int64_t, Activation, const Parallel&); \
  template void bias_gradient<T>(const T*, int64_t, int, float*, const Parallel&);
BLOCKS_INSTANTIATE(float)
BLOCKS_INSTANTIATE(bf16)
#undef BLOCKS_INSTANTIATE

}  // namespace blocks
