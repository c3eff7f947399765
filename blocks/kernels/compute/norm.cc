// Batch normalisation with its activation and residual sum, in as few passes over memory as it can be done.
#include <algorithm>
#include <vector>

#include "simd.h"

namespace blocks {
namespace {

constexpr int64_t kBlock = 128;  // rows summed in float before the sums go to double

// Rows cut into equal tasks: enough of them that threads which others slow down don't hold up the rest.
struct RowTasks {
  int64_t count, rows;  // tasks, and rows of each
  RowTasks(int64_t all_rows, int channels, const Parallel& parallel) {
    const int64_t min_rows = std::max<int64_t>(1, 16384 / channels);
    count = std::max<int64_t>(1, std::min<int64_t>(parallel.threads * 4, all_rows / min_rows));
    rows = (all_rows + count - 1) / count;
  }
};

// Two sums over rows for each vector of channels, `terms(vector, row)` giving what is added.
template <class Terms>
void two_sums(int64_t begin, int64_t end, int channels, double* first, double* second, Terms terms) {
  const int count = num_vectors(channels);
  float* sums = scratch(0, int64_t(count) * kLanes * 2);
  for (int64_t start = begin; start < end; start += kBlock) {
    std::memset(sums, 0, sizeof(float) * count * kLanes * 2);
    const int64_t stop = std::min(end, start + kBlock);
    int64_t row = start;
    for (; row + 4 <= stop; row += 4) {
      for (int v = 0; v < count; ++v) {
        float* at = sums + v * 2 * kLanes;
        Vec a = load(at), b = load(at + kLanes);
        for (int i = 0; i < 4; ++i) terms(v, row + i, a, b);
        store(at, a);
        store(at + kLanes, b);
      }
    }
    for (; row < stop; ++row) {
      for (int v = 0; v < count; ++v) {
        float* at = sums + v * 2 * kLanes;
        Vec a = load(at), b = load(at + kLanes);
        terms(v, row, a, b);
        store(at, a);
        store(at + kLanes, b);
      }
    }
    for (int v = 0; v < count; ++v) {
      for (int lane = v * kLanes < channels - kLanes || channels % kLanes == 0 ? 0 : kLanes - channels % kLanes;
           lane < kLanes; ++lane) {
        const int channel = vector_offset(v, channels) + lane;
        first[channel] += sums[v * 2 * kLanes + lane];
        second[channel] += sums[(v * 2 + 1) * kLanes + lane];
      }
    }
  }
}

// Runs two_sums in parallel and adds up the sums of the tasks.
template <class Terms>
void all_sums(int64_t rows, int channels, const Parallel& parallel, std::vector<double>& sums, Terms terms) {
  const RowTasks row_tasks(rows, channels, parallel);
  std::vector<double> parts(row_tasks.count * 2 * channels, 0.0);
  parallel.run(row_tasks.count, [&](int64_t task) {
    double* part = parts.data() + task * 2 * channels;
    two_sums(task * row_tasks.rows, std::min(rows, (task + 1) * row_tasks.rows), channels, part, part + channels,
             terms);
  });
  sums.assign(2 * channels, 0.0);
  for (int64_t task = 0; task < row_tasks.count; ++task)
    for (int i = 0; i < 2 * channels; ++i) sums[i] += parts[task * 2 * channels + i];
}

// The gradient before an activation, which is taken at z, or at y where z had a residual.
template <Activation A, class T>
Vec before_activation(const T* dy, const T* y, int64_t at, Vec z) {
  const Vec gradient = load(dy + at);
  if (A == Activation::kNone) return gradient;
  return activate_gradient<A>(y ? load(y + at) : z, gradient);
}

}  // namespace

template <class T>
void moments(const T* x, int64_t rows, int channels, float* mean, float* variance, const Parallel& parallel) {
  // Sums of differences from the first row: the variance loses no digits to a mean far from zero.
  std::vector<float> shift(channels);
  for (int c = 0; c < channels; ++c) shift[c] = scalar(x[c]);
  std::vector<double> sums;
  all_sums(rows, channels, parallel, sums, [&](int v, int64_t row, Vec& a, Vec& b) {
    const int offset = vector_offset(v, channels);
    const Vec value = load(x + row * channels + offset) - load(shift.data() + offset);
    a += value;
    b += value * value;
  });
  for (int c = 0; c < channels; ++c) {
    const double mean_difference = sums[c] / rows;
    mean[c] = float(shift[c] + mean_difference);
    variance[c] = float(std::max(0.0, sums[channels + c] / rows - mean_difference * mean_difference));
  }
}

template <class T>
void affine(const T* x, const T* residual, T* y, int64_t rows, int channels, const float* scale, const float* offset,
            Activation activation, const Parallel& parallel) {
  const RowTasks row_tasks(rows, channels, parallel);
  const int count = num_vectors(channels);
  parallel.run(row_tasks.count, [&](int64_t task) {
    const int64_t end = std::min(rows, (task + 1) * row_tasks.rows);
    with_activation(activation, [&](auto act) {
      constexpr Activation A = act;
      for (int64_t row = task * row_tasks.rows; row < end; ++row) {
        for (int v = 0; v < count; ++v) {
          const int o = vector_offset(v, channels);
          const int64_t at = row * channels + o;
          Vec z = load(x + at) * load(scale + o) + load(offset + o);
          if (residual) z += load(residual + at);
          store(y + at, activate<A>(z));
        }
      }
    });
  });
}

template <class T>
void norm_gradient(const T* dy, const T* x, const T* y, T* dx, T* d_residual, int64_t rows, int channels,
                   const float* mean, const float* rstd, const float* gamma, const float* beta, float* d_gamma,
                   float* d_beta, Activation activation, const Parallel& parallel) {
  std::vector<float> scale(channels), offset(channels), slope(channels), level(channels);
  for (int c = 0; c < channels; ++c) {
    scale[c] = gamma[c] * rstd[c];
    offset[c] = beta[c] - mean[c] * scale[c];
  }
  auto inner = [&](auto act, int64_t at, int o, Vec value) {
    return before_activation<act>(dy, y, at, value * load(scale.data() + o) + load(offset.data() + o));
  };
  std::vector<double> sums;
  with_activation(activation, [&](auto act) {
    all_sums(rows, channels, parallel, sums, [&](int v, int64_t row, Vec& a, Vec& b) {
      const int o = vector_offset(v, channels);
      const int64_t at = row * channels + o;
      const Vec value = load(x + at);
      const Vec g = inner(act, at, o, value);
      a += g;
      b += g * (value - load(mean + o));
    });
  });
  for (int c = 0; c < channels; ++c) {
    d_beta[c] = float(sums[c]);
    d_gamma[c] = float(sums[channels + c] * rstd[c]);
    slope[c] = float(-sums[channels + c] * rstd[c] * rstd[c] / rows * scale[c]);
    level[c] = float(-sums[c] / rows * scale[c]);
  }
  const RowTasks row_tasks(rows, channels, parallel);
  const int count = num_vectors(channels);
  parallel.run(row_tasks.count, [&](int64_t task) {
    const int64_t end = std::min(rows, (task + 1) * row_tasks.rows);
    with_activation(activation, [&](auto act) {
      for (int64_t row = task * row_tasks.rows; row < end; ++row) {
        for (int v = 0; v < count; ++v) {
          const int o = vector_offset(v, channels);
          const int64_t at = row * channels + o;
          const Vec value = load(x + at);
          const Vec g = inner(act, at, o, value);
          if (d_residual) store(d_residual + at, g);
          store(dx + at, g * load(scale.data() + o) + (value - load(mean + o)) * load(slope.data() + o) +
                             load(level.data() + o));
        }
      }
    });
  });
}

template <class T>
void affine_gradient(const T* dy, const T* x, const T* y, T* dx, T* d_residual, int64_t rows, int channels,
                     const float* scale, const float* offset, float* d_scale, float* d_offset, Activation activation,
                     const Parallel& parallel) {
  std::vector<double> sums;
  with_activation(activation, [&](auto act) {
    all_sums(rows, channels, parallel, sums, [&](int v, int64_t row, Vec& a, Vec& b) {
      const int o = vector_offset(v, channels);
      const int64_t at = row * channels + o;
      const Vec value = load(x + at);
      const Vec g = before_activation<act>(dy, y, at, value * load(scale + o) + load(offset + o));
      a += g;
      b += g * value;
      if (d_residual) store(d_residual + at, g);
      store(dx + at, g * load(scale + o));
    });
  });
  for (int c = 0; c < channels; ++c) {
    d_offset[c] = float(sums[c]);
    d_scale[c] = float(sums[channels + c]);
  }
}

#define BLOCKS_INSTANTIATE(T)                                                                                      \
  template void moments<T>(const T*, int64_t, int, float*, float*, const Parallel&);                               \
  template void affine<T>(const T*, const T*, T*, int64_t, int, const float*, const float*, Activation,            \
                          const Parallel&);                                                                        \
  template void norm_gradient<T>(const T*, const T*, const T*, T*, T*, int64_t, int, const float*, const float*,   \
                                 const float*, const float*, float*, float*, Activation, const Parallel&);         \
  template void affine_gradient<T>(const T*, const T*, const T*, T*, T*, int64_t, int, const float*, const float*, \
                                   float*, float*, Activation, const Parallel&);
BLOCKS_INSTANTIATE(float)
BLOCKS_INSTANTIATE(bf16)
#undef BLOCKS_INSTANTIATE

}  // namespace blocks
