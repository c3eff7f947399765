// The gradient of a depthwise convolution's kernel.
#include <algorithm>

#include "simd.h"

namespace blocks {
namespace {

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

#define BLOCKS_INSTANTIATE(T) \
  template void depthwise_filter_gradient<T>(const Depthwise&, const T*, const T*, float*, const Parallel&);
BLOCKS_INSTANTIATE(float)
BLOCKS_INSTANTIATE(bf16)

}  // namespace blocks
