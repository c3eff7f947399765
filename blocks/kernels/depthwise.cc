// Depthwise convolution and its two gradients, a vector of channels at a time.
#include <algorithm>
#include <vector>

#include "simd.h"

namespace blocks {
namespace {

constexpr int kTile = 8;  // neighbouring outputs computed at once: one load of a weight serves them all

// One tap of a kernel along a row of outputs: output j reads column j * step + shift of `row`, if that exists.
template <class T>
struct Tap {
  const T* row;
  int shift;
  int weight;   // which entry of the kernel
  int first, last;  // outputs for which the column exists
};

// Sums taps for outputs [begin, end) of one row; `step` columns of the source lie between neighbouring outputs.
template <class T, Activation A>
void line(const std::vector<Tap<T>>& taps, const float* weights, const float* bias, T* out, int count, int channels,
          int step, int out_step) {
  int inner_first = 0, inner_last = count;
  for (const auto& tap : taps) {
    inner_first = std::max(inner_first, tap.first);
    inner_last = std::min(inner_last, tap.last);
  }
  const int64_t stride = int64_t(step) * channels;
  for (int v = 0; v < vectors(channels); ++v) {
    const int o = offset_of(v, channels);
    const Vec start = bias ? load(bias + o) : Vec{};
    auto single = [&](int j) {
      Vec sum = start;
      for (const auto& tap : taps)
        if (j >= tap.first && j < tap.last)
          sum += load(tap.row + (int64_t(j) * step + tap.shift) * channels + o) *
                 load(weights + int64_t(tap.weight) * channels + o);
      store(out + int64_t(j) * out_step * channels + o, activate<A>(sum));
    };
    int j = 0;
    for (; j < std::min(inner_first, count); ++j) single(j);
    for (; j + kTile <= inner_last; j += kTile) {
      Vec sums[kTile];
      for (int i = 0; i < kTile; ++i) sums[i] = start;
      for (const auto& tap : taps) {
        const Vec weight = load(weights + int64_t(tap.weight) * channels + o);
        const T* from = tap.row + (int64_t(j) * step + tap.shift) * channels + o;
        for (int i = 0; i < kTile; ++i) sums[i] += load(from + i * stride) * weight;
      }
      for (int i = 0; i < kTile; ++i) store(out + int64_t(j + i) * out_step * channels + o, activate<A>(sums[i]));
    }
    for (; j + 4 <= inner_last; j += 4) {
      Vec sums[4] = {start, start, start, start};
      for (const auto& tap : taps) {
        const Vec weight = load(weights + int64_t(tap.weight) * channels + o);
        const T* from = tap.row + (int64_t(j) * step + tap.shift) * channels + o;
        for (int i = 0; i < 4; ++i) sums[i] += load(from + i * stride) * weight;
      }
      for (int i = 0; i < 4; ++i) store(out + int64_t(j + i) * out_step * channels + o, activate<A>(sums[i]));
    }
    for (; j < count; ++j) single(j);
  }
}

// floor and ceiling of a quotient with a positive divisor
int down(int a, int b) { return a >= 0 ? a / b : -((-a + b - 1) / b); }
int up(int a, int b) { return -down(-a, b); }

// dKernel += dy * x for the rows [begin, end) of all outputs, a row being (image, y).
template <class T, int KW>
void filter_rows(const Depthwise& d, const T* x, const T* dy, float* total, int64_t begin, int64_t end) {
  for (int64_t row = begin; row < end; ++row) {
    const int64_t image = row / d.out_height;
    const int out_y = int(row % d.out_height);
    const T* gradients = dy + row * d.out_width * d.channels;
    for (int ky = 0; ky < d.kernel_height; ++ky) {
      const int in_y = out_y * d.stride_height + ky - d.top;
      if (in_y < 0 || in_y >= d.height) continue;
      const T* inputs = x + (image * d.height + in_y) * d.width * int64_t(d.channels);
      for (int v = 0; v < vectors(d.channels); ++v) {
        const int o = offset_of(v, d.channels);
        float* at = total + (int64_t(ky) * KW * vectors(d.channels) + v) * kLanes;
        const int64_t next = int64_t(vectors(d.channels)) * kLanes;
        Vec sums[KW];
        for (int kx = 0; kx < KW; ++kx) sums[kx] = load(at + kx * next);
        const int inner_first = std::min(d.out_width, std::max(0, up(d.left, d.stride_width)));
        const int inner_last =
            std::max(inner_first, std::min(d.out_width, down(d.width - KW + d.left, d.stride_width) + 1));
        auto edge = [&](int out_x) {
          const Vec gradient = load(gradients + int64_t(out_x) * d.channels + o);
          for (int kx = 0; kx < KW; ++kx) {
            const int in_x = out_x * d.stride_width + kx - d.left;
            if (in_x >= 0 && in_x < d.width) sums[kx] += gradient * load(inputs + int64_t(in_x) * d.channels + o);
          }
        };
        for (int out_x = 0; out_x < inner_first; ++out_x) edge(out_x);
        const T* from = inputs + (int64_t(inner_first) * d.stride_width - d.left) * d.channels + o;
        const int64_t step = int64_t(d.stride_width) * d.channels;
        for (int out_x = inner_first; out_x < inner_last; ++out_x, from += step) {
          const Vec gradient = load(gradients + int64_t(out_x) * d.channels + o);
          for (int kx = 0; kx < KW; ++kx) sums[kx] += gradient * load(from + int64_t(kx) * d.channels);
        }
        for (int out_x = inner_last; out_x < d.out_width; ++out_x) edge(out_x);
        for (int kx = 0; kx < KW; ++kx) store(at + kx * next, sums[kx]);
      }
    }
  }
}

template <class T>
void filter_rows_of(const Depthwise& d, const T* x, const T* dy, float* total, int64_t begin, int64_t end) {
  switch (d.kernel_width) {
    case 1: return filter_rows<T, 1>(d, x, dy, total, begin, end);
    case 2: return filter_rows<T, 2>(d, x, dy, total, begin, end);
    case 3: return filter_rows<T, 3>(d, x, dy, total, begin, end);
    case 4: return filter_rows<T, 4>(d, x, dy, total, begin, end);
    case 5: return filter_rows<T, 5>(d, x, dy, total, begin, end);
    case 6: return filter_rows<T, 6>(d, x, dy, total, begin, end);
    case 7: return filter_rows<T, 7>(d, x, dy, total, begin, end);
    case 8: return filter_rows<T, 8>(d, x, dy, total, begin, end);
    case 9: return filter_rows<T, 9>(d, x, dy, total, begin, end);
    case 10: return filter_rows<T, 10>(d, x, dy, total, begin, end);
    default: return filter_rows<T, 11>(d, x, dy, total, begin, end);  // the largest that the operation admits
  }
}

}  // namespace

template <class T>
void depthwise(const Depthwise& d, const T* x, const float* kernel, const float* bias, T* y, Activation activation,
               const Parallel& parallel) {
  const int64_t rows = d.batch * d.out_height;
  const int64_t tasks = std::min<int64_t>(rows, parallel.threads * 4);
  parallel.run(tasks, [&](int64_t task) {
    std::vector<Tap<T>> taps;
    for (int64_t row = rows * task / tasks; row < rows * (task + 1) / tasks; ++row) {
      const int64_t image = row / d.out_height;
      taps.clear();
      for (int ky = 0; ky < d.kernel_height; ++ky) {
        const int in_y = int(row % d.out_height) * d.stride_height + ky - d.top;
        if (in_y < 0 || in_y >= d.height) continue;
        for (int kx = 0; kx < d.kernel_width; ++kx) {
          const int first = std::max(0, up(d.left - kx, d.stride_width));
          const int last = std::min(d.out_width, down(d.width - 1 + d.left - kx, d.stride_width) + 1);
          taps.push_back({x + (image * d.height + in_y) * d.width * int64_t(d.channels), kx - d.left,
                          ky * d.kernel_width + kx, first, last});
        }
      }
      with_activation(activation, [&](auto act) {
        line<T, decltype(act)::value>(taps, kernel, bias,
                                      y + row * d.out_width * int64_t(d.channels), d.out_width, d.channels,
                                      d.stride_width, 1);
      });
    }
  });
}

template <class T>
void depthwise_input_gradient(const Depthwise& d, const T* dy, const float* kernel, T* dx, const Parallel& parallel) {
  const int64_t rows = d.batch * d.height;
  const int64_t tasks = std::min<int64_t>(rows, parallel.threads * 4);
  parallel.run(tasks, [&](int64_t task) {
    std::vector<Tap<T>> taps;
    for (int64_t row = rows * task / tasks; row < rows * (task + 1) / tasks; ++row) {
      const int64_t image = row / d.height;
      const int in_y = int(row % d.height);
      // Columns that are equal modulo the stride see the same taps: one line for each remainder.
      for (int phase = 0; phase < std::min(d.stride_width, d.width); ++phase) {
        const int count = (d.width - phase + d.stride_width - 1) / d.stride_width;
        taps.clear();
        for (int ky = 0; ky < d.kernel_height; ++ky) {
          const int above = in_y + d.top - ky;
          if (above < 0 || above % d.stride_height || above / d.stride_height >= d.out_height) continue;
          const T* from = dy + (image * d.out_height + above / d.stride_height) * d.out_width * int64_t(d.channels);
          for (int kx = 0; kx < d.kernel_width; ++kx) {
            const int before = phase + d.left - kx;
            if (((before % d.stride_width) + d.stride_width) % d.stride_width) continue;
            const int shift = before / d.stride_width;  // exact
            taps.push_back({from, shift, ky * d.kernel_width + kx, std::max(0, -shift),
                            std::min(count, d.out_width - shift)});
          }
        }
        line<T, Activation::kNone>(taps, kernel, nullptr,
                                   dx + (row * d.width + phase) * int64_t(d.channels), count, d.channels, 1,
                                   d.stride_width);
      }
    }
  });
}

template <class T>
void depthwise_filter_gradient(const Depthwise& d, const T* x, const T* dy, float* d_kernel, const Parallel& parallel) {
  const int taps = d.kernel_height * d.kernel_width;
  const int count = vectors(d.channels);
  const int64_t size = int64_t(taps) * count * kLanes;
  const int64_t rows = d.batch * d.out_height;
  const int64_t tasks = std::min<int64_t>(rows, parallel.threads * 4);
  float* parts = scratch(kShared, tasks * size);
  parallel.run(tasks, [&](int64_t task) {
    std::memset(parts + task * size, 0, sizeof(float) * size);
    filter_rows_of(d, x, dy, parts + task * size, rows * task / tasks, rows * (task + 1) / tasks);
  });
  for (int tap = 0; tap < taps; ++tap) {
    for (int v = 0; v < count; ++v) {
      Vec sum = {};
      for (int64_t task = 0; task < tasks; ++task)
        sum += load(parts + task * size + (int64_t(tap) * count + v) * kLanes);
      store(d_kernel + int64_t(tap) * d.channels + offset_of(v, d.channels), sum);
    }
  }
}

#define BLOCKS_INSTANTIATE(T)                                                                                    \
  template void depthwise<T>(const Depthwise&, const T*, const float*, const float*, T*, Activation,             \
                             const Parallel&);                                                                   \
  template void depthwise_input_gradient<T>(const Depthwise&, const T*, const float*, T*, const Parallel&);      \
  template void depthwise_filter_gradient<T>(const Depthwise&, const T*, const T*, float*, const Parallel&);
BLOCKS_INSTANTIATE(float)
BLOCKS_INSTANTIATE(bf16)

}  // namespace blocks
