// The gradient of a depthwise convolution's kernel.
#include <algorithm>
#include <vector>

#include "integers.h"
#include "simd.h"

namespace blocks {
namespace {

// Rows of the kernel whose sums are in registers. Kernels of even width, and strides beyond 2, are too rare for what
// the compiler takes to unroll them.
constexpr int kernel_rows(int taps, int stride) {
  const bool common = taps % 2 == 1 && (stride > 0 || taps == 1 || taps > 7);
  return kLanes == 16 && common ? 3 : 1;
}
constexpr int kPositions = 4;                    // outputs that are summed at a time

// The outputs of a row all of whose taps exist: gradients, and the inputs for R rows of the kernel.
template <class T, int R>
struct Inner {
  const T* gradients;
  const T* inputs[R];
  int64_t channels;
  int count, stride;
};

// sums[r][t] += sum over outputs j of inputs[r][j * stride + t] * gradients[j]. S is the stride, or 0 for any.
template <class T, int K, int S, int R>
void add_inner(const Inner<T, R>& inner, Vec (&sums)[R][K]) {
  Vec acc[R][K];  // in registers, once every loop over it is unrolled
#pragma GCC unroll 32
  for (int i = 0; i < R * K; ++i) acc[i / K][i % K] = sums[i / K][i % K];
  const int64_t step = (S ? S : inner.stride) * inner.channels;
  int j = 0;
  for (; S && j + kPositions <= inner.count; j += kPositions) {
    Vec gradients[kPositions];
#pragma GCC unroll 4
    for (int i = 0; i < kPositions; ++i) gradients[i] = load(inner.gradients + (j + i) * inner.channels);
#pragma GCC unroll 3
    for (int r = 0; r < R; ++r) {
      const T* from = inner.inputs[r] + j * step;
#pragma GCC unroll 32
      for (int p = 0; p < (kPositions - 1) * S + K; ++p) {
        const Vec value = load(from + p * inner.channels);
#pragma GCC unroll 12
        for (int t = 0; t < K; ++t)
          if (p >= t && (p - t) % (S ? S : 1) == 0 && (p - t) / (S ? S : 1) < kPositions)
            acc[r][t] += value * gradients[(p - t) / (S ? S : 1)];
      }
    }
  }
  for (; j < inner.count; ++j) {
    const Vec gradient = load(inner.gradients + j * inner.channels);
#pragma GCC unroll 3
    for (int r = 0; r < R; ++r)
#pragma GCC unroll 12
      for (int t = 0; t < K; ++t) acc[r][t] += gradient * load(inner.inputs[r] + j * step + t * inner.channels);
  }
#pragma GCC unroll 32
  for (int i = 0; i < R * K; ++i) sums[i / K][i % K] = acc[i / K][i % K];
}

// A row of the kernel, and the row of inputs that it is multiplied with.
template <class T>
struct RowPair {
  int kernel_row;
  const T* inputs;
};

// total [kernel row][tap][vector][kLanes] += what one row of gradients and R rows of inputs give.
template <class T, int K, int S, int R>
void add_rows(const Depthwise& d, const RowPair<T>* pairs, const T* gradients, float* total) {
  const int64_t channels = d.channels, between = int64_t(num_vectors(d.channels)) * kLanes;
  const int first = std::min(d.out_width, std::max(0, ceil_div(d.pad_left, d.stride_width)));
  const int last = std::max(first, std::min(d.out_width, floor_div(d.width - K + d.pad_left, d.stride_width) + 1));
  for (int v = 0; v < num_vectors(d.channels); ++v) {
    const int o = vector_offset(v, d.channels);
    Vec sums[R][K];
    for (int r = 0; r < R; ++r)
      for (int t = 0; t < K; ++t) sums[r][t] = load(total + (pairs[r].kernel_row * K + t) * between + v * kLanes);
    Inner<T, R> inner = {gradients + first * channels + o, {}, channels, last - first, d.stride_width};
    for (int r = 0; r < R; ++r)
      inner.inputs[r] = pairs[r].inputs + (int64_t(first) * d.stride_width - d.pad_left) * channels + o;
    add_inner<T, K, S, R>(inner, sums);
    for (int j = 0; j < d.out_width; ++j) {
      if (j == first && first < last) j = last;  // those in between have been added
      if (j == d.out_width) break;
      const Vec gradient = load(gradients + j * channels + o);
      for (int t = 0; t < K; ++t) {
        const int column = j * d.stride_width + t - d.pad_left;
        if (column < 0 || column >= d.width) continue;
        for (int r = 0; r < R; ++r) sums[r][t] += gradient * load(pairs[r].inputs + column * channels + o);
      }
    }
    for (int r = 0; r < R; ++r)
      for (int t = 0; t < K; ++t) store(total + (pairs[r].kernel_row * K + t) * between + v * kLanes, sums[r][t]);
  }
}

// total += dy * x for the rows [begin, end) of all outputs, a row being (image, y).
template <class T, int K, int S>
void add_all(const Depthwise& d, const T* x, const T* dy, float* total, int64_t begin, int64_t end) {
  const int64_t x_row = d.width * int64_t(d.channels), dy_row = d.out_width * int64_t(d.channels);
  std::vector<RowPair<T>> pairs;
  for (int64_t row = begin; row < end; ++row) {
    const int64_t image = row / d.out_height;
    const int top = int(row % d.out_height) * d.stride_height - d.pad_top;
    pairs.clear();
    for (int ky = 0; ky < d.kernel_height; ++ky)
      if (top + ky >= 0 && top + ky < d.height) pairs.push_back({ky, x + (image * d.height + top + ky) * x_row});
    const T* gradients = dy + row * dy_row;
    constexpr int kKernelRows = kernel_rows(K, S);
    size_t i = 0;
    for (; i + kKernelRows <= pairs.size(); i += kKernelRows)
      add_rows<T, K, S, kKernelRows>(d, &pairs[i], gradients, total);
    if constexpr (kKernelRows > 2)
      if (i + 2 == pairs.size()) add_rows<T, K, S, 2>(d, &pairs[i], gradients, total), i += 2;
    for (; i < pairs.size(); ++i) add_rows<T, K, S, 1>(d, &pairs[i], gradients, total);
  }
}

template <class T, int K>
void add_all(const Depthwise& d, const T* x, const T* dy, float* total, int64_t begin, int64_t end) {
  if (d.stride_width == 1) return add_all<T, K, 1>(d, x, dy, total, begin, end);
  if (d.stride_width == 2) return add_all<T, K, 2>(d, x, dy, total, begin, end);
  add_all<T, K, 0>(d, x, dy, total, begin, end);
}

template <class T>
void add_all(const Depthwise& d, const T* x, const T* dy, float* total, int64_t begin, int64_t end) {
  switch (d.kernel_width) {
    case 1: return add_all<T, 1, 0>(d, x, dy, total, begin, end);
    case 2: return add_all<T, 2, 0>(d, x, dy, total, begin, end);
    case 3: return add_all<T, 3>(d, x, dy, total, begin, end);
    case 4: return add_all<T, 4, 0>(d, x, dy, total, begin, end);
    case 5: return add_all<T, 5>(d, x, dy, total, begin, end);
    case 6: return add_all<T, 6, 0>(d, x, dy, total, begin, end);
    case 7: return add_all<T, 7>(d, x, dy, total, begin, end);
    case 8: return add_all<T, 8, 0>(d, x, dy, total, begin, end);
    case 9: return add_all<T, 9, 0>(d, x, dy, total, begin, end);
    case 10: return add_all<T, 10, 0>(d, x, dy, total, begin, end);
    default: return add_all<T, 11, 0>(d, x, dy, total, begin, end);  // the largest that the operation admits
  }
}

}  // namespace

template <class T>
void depthwise_filter_gradient(const Depthwise& d, const T* x, const T* dy, float* d_kernel, const Parallel& parallel) {
  const int taps = d.kernel_height * d.kernel_width;
  const int count = num_vectors(d.channels);
  const int64_t size = int64_t(taps) * count * kLanes;
  const int64_t rows = d.batch * d.out_height;
  const int64_t tasks = std::min<int64_t>(rows, parallel.threads * 4);
  float* parts = scratch(kShared, tasks * size);
  parallel.run(tasks, [&](int64_t task) {
    std::memset(parts + task * size, 0, sizeof(float) * size);
    add_all(d, x, dy, parts + task * size, rows * task / tasks, rows * (task + 1) / tasks);
  });
  for (int tap = 0; tap < taps; ++tap) {
    for (int v = 0; v < count; ++v) {
      Vec sum = {};
      for (int64_t task = 0; task < tasks; ++task)
        sum += load(parts + task * size + (int64_t(tap) * count + v) * kLanes);
      store(d_kernel + int64_t(tap) * d.channels + vector_offset(v, d.channels), sum);
    }
  }
}

#define BLOCKS_INSTANTIATE(T) \
  template void depthwise_filter_gradient<T>(const Depthwise&, const T*, const T*, float*, const Parallel&);
BLOCKS_INSTANTIATE(float)
BLOCKS_INSTANTIATE(bf16)
#undef BLOCKS_INSTANTIATE

}  // namespace blocks
