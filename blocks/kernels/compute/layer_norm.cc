// Layer normalisation: every row by its own statistics.
#include <algorithm>
#include <cmath>
#include <vector>

#include "columns.h"
#include "simd.h"

namespace blocks {
namespace {

// Sums over the entries of a row; two vectors in turn, so that an addition waits less for the one before it.
template <class Term>
float row_sum(int channels, Term term) {
  Vec sums[2] = {};
  const int count = num_vectors(channels);
  for (int v = 0; v < count; ++v) sums[v % 2] += term(v * kLanes, lanes_of(v, channels));
  return sum_of(sums[0] + sums[1]);
}

// Ones in the first `lanes` entries, zeros in the rest.
Vec ones(int lanes) {
  Vec result;
  for (int i = 0; i < kLanes; ++i) result[i] = i < lanes ? 1.0f : 0.0f;
  return result;
}

}  // namespace

template <class T>
void layer_norm(const T* x, T* y, int64_t rows, int channels, const float* gamma, const float* beta, float epsilon,
                float* mean, float* rstd, const Parallel& parallel) {
  const RowTasks tasks(rows, channels, parallel);
  const float share = 1.0f / float(channels);
  const Vec tail = ones(lanes_of(num_vectors(channels) - 1, channels));
  parallel.run(tasks.count, [&](int64_t task) {
    for (int64_t row = tasks.begin(task); row < tasks.end(task); ++row) {
      const T* from = x + row * channels;
      const float centre = share * row_sum(channels, [&](int c, int lanes) { return load_lanes(from + c, lanes); });
      const float variance = share * row_sum(channels, [&](int c, int lanes) {
                               const Vec difference = load_lanes(from + c, lanes) - centre;
                               return difference * difference * (lanes == kLanes ? splat(1.0f) : tail);
                             });
      const float scale = 1.0f / std::sqrt(variance + epsilon);
      mean[row] = centre;
      rstd[row] = scale;
      for (int v = 0; v < num_vectors(channels); ++v) {
        const int c = v * kLanes, lanes = lanes_of(v, channels);
        const Vec normal = (load_lanes(from + c, lanes) - centre) * scale;
        store_lanes(y + row * channels + c, normal * load_lanes(gamma + c, lanes) + load_lanes(beta + c, lanes), lanes);
      }
    }
  });
}

template <class T>
void layer_norm_gradient(const T* dy, const T* x, T* dx, int64_t rows, int channels, const float* mean,
                         const float* rstd, const float* gamma, float* d_gamma, float* d_beta,
                         const Parallel& parallel) {
  const float share = 1.0f / float(channels);
  const int count = num_vectors(channels);
  std::vector<double> sums = column_sums<2>(rows, channels, parallel, [&](int64_t row, float* accumulators) {
    const T *gradient = dy + row * channels, *from = x + row * channels;
    const float centre = mean[row], scale = rstd[row];
    Vec level = {}, slope = {};
    for (int v = 0; v < count; ++v) {
      const int c = v * kLanes, lanes = lanes_of(v, channels);
      const Vec g = load_lanes(gradient + c, lanes), normal = (load_lanes(from + c, lanes) - centre) * scale;
      float* at = accumulators + 2 * c;
      store(at, load(at) + g * normal);
      store(at + kLanes, load(at + kLanes) + g);
      const Vec inner = g * load_lanes(gamma + c, lanes);
      level += inner;
      slope += inner * normal;
    }
    const float mean_level = sum_of(level) * share, mean_slope = sum_of(slope) * share;
    for (int v = 0; v < count; ++v) {
      const int c = v * kLanes, lanes = lanes_of(v, channels);
      const Vec normal = (load_lanes(from + c, lanes) - centre) * scale;
      const Vec inner = load_lanes(gradient + c, lanes) * load_lanes(gamma + c, lanes);
      store_lanes(dx + row * channels + c, (inner - mean_level - normal * mean_slope) * scale, lanes);
    }
  });
  for (int c = 0; c < channels; ++c) {
    d_gamma[c] = float(sums[c]);
    d_beta[c] = float(sums[channels + c]);
  }
}

#define BLOCKS_INSTANTIATE(T)                                                                                          \
  template void layer_norm<T>(const T*, T*, int64_t, int, const float*, const float*, float, float*, float*,           \
                              const Parallel&);                                                                        \
  template void layer_norm_gradient<T>(const T*, const T*, T*, int64_t, int, const float*, const float*, const float*, \
                                       float*, float*, const Parallel&);
BLOCKS_INSTANTIATE(float)
BLOCKS_INSTANTIATE(bf16)
#undef BLOCKS_INSTANTIATE

}  // namespace blocks
