// Batch normalisation with its activation and residual sum, in as few passes over memory as it can be done.
#include <algorithm>
#include <functional>
#include <vector>

#include "row_tasks.h"
#include "simd.h"

namespace blocks {
namespace {

constexpr int64_t kBlock = 128;  // rows summed in float before the sums go to double

// Adds sums [vector][first or second][kLanes] to those of each channel.
void add_to_channels(const float* sums, int channels, double* first, double* second) {
  for (int channel = 0; channel < channels; ++channel) {
    const int v = channel / kLanes, lane = channel - vector_offset(v, channels);  // the last vector has others too
    first[channel] += sums[v * 2 * kLanes + lane];
    second[channel] += sums[(v * 2 + 1) * kLanes + lane];
  }
}

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
    add_to_channels(sums, channels, first, second);
  }
}

// Adds to two sums of each channel what the rows [begin, end) give.
using AddRows = std::function<void(int64_t begin, int64_t end, double* first, double* second)>;

// Sums of all rows, those of tasks that run in parallel: first of each channel, then second of each.
std::vector<double> sums_of_tasks(int64_t rows, int channels, const Parallel& parallel, const AddRows& add_rows) {
  const RowTasks tasks(rows, channels, parallel);
  std::vector<double> parts(tasks.count * 2 * channels, 0.0);
  parallel.run(tasks.count, [&](int64_t task) {
    double* part = parts.data() + task * 2 * channels;
    add_rows(tasks.begin(task), tasks.end(task), part, part + channels);
  });
  std::vector<double> sums(2 * channels, 0.0);
  for (int64_t task = 0; task < tasks.count; ++task)
    for (int i = 0; i < 2 * channels; ++i) sums[i] += parts[task * 2 * channels + i];
  return sums;
}

// Runs two_sums in parallel.
template <class Terms>
std::vector<double> all_sums(int64_t rows, int channels, const Parallel& parallel, Terms terms) {
  return sums_of_tasks(rows, channels, parallel, [=](int64_t begin, int64_t end, double* first, double* second) {
    two_sums(begin, end, channels, first, second, terms);
  });
}

// Channels from an offset on: a whole vector of them, or all where there are fewer.
template <bool Narrow, class T>
Vec load_channels(const T* from, int channels) {
  if constexpr (Narrow) return load_tail(from, channels);
  else return load(from);
}

template <bool Narrow, class T>
void store_channels(T* to, Vec value, int channels) {
  if constexpr (Narrow) store_tail(to, value, channels);
  else store(to, value);
}

// Of an activation that is the compiler's constant, or a variable.
template <Activation A>
Vec activated(std::integral_constant<Activation, A>, Vec z) {
  return activate<A>(z);
}

[[gnu::noinline]] Vec activated(Activation activation, Vec z) {
  with_activation(activation, [&](auto act) { z = activate<act>(z); });
  return z;
}

template <Activation A>
Vec gradient_of(std::integral_constant<Activation, A>, Vec z, Vec gradient) {
  return activate_gradient<A>(z, gradient);
}

[[gnu::noinline]] Vec gradient_of(Activation activation, Vec z, Vec gradient) {
  with_activation(activation, [&](auto act) { gradient = activate_gradient<act>(z, gradient); });
  return gradient;
}

// Calls `body` with the activation as a constant of the compiler's, so that it is compiled into the loop; if Narrow, as
// a variable: so few channels are too rare for loops of their own for each activation.
template <bool Narrow, class Body>
void with_activation_of(Activation activation, Body body) {
  if constexpr (Narrow) body(activation);
  else with_activation(activation, body);
}

// The gradient before an activation, which is taken at what linear() computes again, or at y where a residual was
// added.
template <bool Narrow, class Act, class T, class Linear>
Vec before_activation(Act act, const T* dy, const T* y, int64_t at, int channels, Linear linear) {
  const Vec gradient = load_channels<Narrow>(dy + at, channels);
  if (act == Activation::kNone) return gradient;
  return gradient_of(act, y ? load_channels<Narrow>(y + at, channels) : linear(), gradient);
}

template <bool Narrow, class T>
void take_moments(const T* x, int64_t rows, int channels, float* mean, float* variance, const Parallel& parallel) {
  // Sums of differences from the first row: the variance loses no digits to a mean far from zero.
  std::vector<float> shift(channels);
  for (int c = 0; c < channels; ++c) shift[c] = scalar(x[c]);
  const std::vector<double> sums = all_sums(rows, channels, parallel, [&](int v, int64_t row, Vec& a, Vec& b) {
    const int offset = vector_offset(v, channels);
    const Vec value = load_channels<Narrow>(x + row * channels + offset, channels) -
                      load_channels<Narrow>(shift.data() + offset, channels);
    a += value;
    b += value * value;
  });
  for (int c = 0; c < channels; ++c) {
    const double mean_difference = sums[c] / rows;
    mean[c] = float(shift[c] + mean_difference);
    variance[c] = float(std::max(0.0, sums[channels + c] / rows - mean_difference * mean_difference));
  }
}

template <bool Narrow, class T>
void apply_affine(const T* x, const T* residual, T* y, int64_t rows, int channels, const float* scale,
                  const float* offset, Activation activation, const Parallel& parallel) {
  const RowTasks tasks(rows, channels, parallel);
  const int count = num_vectors(channels);
  parallel.run(tasks.count, [&](int64_t task) {
    const int64_t end = tasks.end(task);
    with_activation_of<Narrow>(activation, [&](auto act) {
      for (int64_t row = tasks.begin(task); row < end; ++row) {
        for (int v = 0; v < count; ++v) {
          const int o = vector_offset(v, channels);
          const int64_t at = row * channels + o;
          Vec z = load_channels<Narrow>(x + at, channels) * load_channels<Narrow>(scale + o, channels) +
                  load_channels<Narrow>(offset + o, channels);
          if (residual) z += load_channels<Narrow>(residual + at, channels);
          store_channels<Narrow>(y + at, activated(act, z), channels);
        }
      }
    });
  });
}

template <bool Narrow, class T>
void take_norm_gradient(const T* dy, const T* x, const T* y, T* dx, T* d_residual, int64_t rows, int channels,
                        const float* mean, const float* rstd, const float* gamma, const float* beta, float* d_gamma,
                        float* d_beta, Activation activation, const Parallel& parallel) {
  std::vector<float> scale(channels), offset(channels), slope(channels), level(channels);
  for (int c = 0; c < channels; ++c) {
    scale[c] = gamma[c] * rstd[c];
    offset[c] = beta[c] - mean[c] * scale[c];
  }
  auto inner = [&](auto act, int64_t at, int o, Vec value) {
    return before_activation<Narrow>(act, dy, y, at, channels, [&] {
      return value * load_channels<Narrow>(scale.data() + o, channels) +
             load_channels<Narrow>(offset.data() + o, channels);
    });
  };
  std::vector<double> sums;
  with_activation_of<Narrow>(activation, [&](auto act) {
    sums = all_sums(rows, channels, parallel, [&](int v, int64_t row, Vec& a, Vec& b) {
      const int o = vector_offset(v, channels);
      const int64_t at = row * channels + o;
      const Vec value = load_channels<Narrow>(x + at, channels);
      const Vec g = inner(act, at, o, value);
      a += g;
      b += g * (value - load_channels<Narrow>(mean + o, channels));
    });
  });
  for (int c = 0; c < channels; ++c) {
    d_beta[c] = float(sums[c]);
    d_gamma[c] = float(sums[channels + c] * rstd[c]);
    slope[c] = float(-sums[channels + c] * rstd[c] * rstd[c] / rows * scale[c]);
    level[c] = float(-sums[c] / rows * scale[c]);
  }
  const RowTasks tasks(rows, channels, parallel);
  const int count = num_vectors(channels);
  parallel.run(tasks.count, [&](int64_t task) {
    const int64_t end = tasks.end(task);
    with_activation_of<Narrow>(activation, [&](auto act) {
      for (int64_t row = tasks.begin(task); row < end; ++row) {
        for (int v = 0; v < count; ++v) {
          const int o = vector_offset(v, channels);
          const int64_t at = row * channels + o;
          const Vec value = load_channels<Narrow>(x + at, channels);
          const Vec g = inner(act, at, o, value);
          if (d_residual) store_channels<Narrow>(d_residual + at, g, channels);
          store_channels<Narrow>(dx + at,
                                 g * load_channels<Narrow>(scale.data() + o, channels) +
                                     (value - load_channels<Narrow>(mean + o, channels)) *
                                         load_channels<Narrow>(slope.data() + o, channels) +
                                     load_channels<Narrow>(level.data() + o, channels),
                                 channels);
        }
      }
    });
  });
}

template <bool Narrow, class T>
void take_affine_gradient(const T* dy, const T* x, const T* y, T* dx, T* d_residual, int64_t rows, int channels,
                          const float* scale, const float* offset, float* d_scale, float* d_offset,
                          Activation activation, const Parallel& parallel) {
  std::vector<double> sums;
  with_activation_of<Narrow>(activation, [&](auto act) {
    sums = all_sums(rows, channels, parallel, [&](int v, int64_t row, Vec& a, Vec& b) {
      const int o = vector_offset(v, channels);
      const int64_t at = row * channels + o;
      const Vec value = load_channels<Narrow>(x + at, channels);
      const Vec g = before_activation<Narrow>(act, dy, y, at, channels, [&] {
        return value * load_channels<Narrow>(scale + o, channels) + load_channels<Narrow>(offset + o, channels);
      });
      a += g;
      b += g * value;
      if (d_residual) store_channels<Narrow>(d_residual + at, g, channels);
      store_channels<Narrow>(dx + at, g * load_channels<Narrow>(scale + o, channels), channels);
    });
  });
  for (int c = 0; c < channels; ++c) {
    d_offset[c] = float(sums[c]);
    d_scale[c] = float(sums[channels + c]);
  }
}

}  // namespace

template <class T>
void moments(const T* x, int64_t rows, int channels, float* mean, float* variance, const Parallel& parallel) {
  const auto run = channels < kLanes ? take_moments<true, T> : take_moments<false, T>;
  run(x, rows, channels, mean, variance, parallel);
}

template <class T>
void affine(const T* x, const T* residual, T* y, int64_t rows, int channels, const float* scale, const float* offset,
            Activation activation, const Parallel& parallel) {
  const auto run = channels < kLanes ? apply_affine<true, T> : apply_affine<false, T>;
  run(x, residual, y, rows, channels, scale, offset, activation, parallel);
}

template <class T>
void norm_gradient(const T* dy, const T* x, const T* y, T* dx, T* d_residual, int64_t rows, int channels,
                   const float* mean, const float* rstd, const float* gamma, const float* beta, float* d_gamma,
                   float* d_beta, Activation activation, const Parallel& parallel) {
  const auto run = channels < kLanes ? take_norm_gradient<true, T> : take_norm_gradient<false, T>;
  run(dy, x, y, dx, d_residual, rows, channels, mean, rstd, gamma, beta, d_gamma, d_beta, activation, parallel);
}

template <class T>
void affine_gradient(const T* dy, const T* x, const T* y, T* dx, T* d_residual, int64_t rows, int channels,
                     const float* scale, const float* offset, float* d_scale, float* d_offset, Activation activation,
                     const Parallel& parallel) {
  const auto run = channels < kLanes ? take_affine_gradient<true, T> : take_affine_gradient<false, T>;
  run(dy, x, y, dx, d_residual, rows, channels, scale, offset, d_scale, d_offset, activation, parallel);
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
