// Means over each image, and products with a gate for each of its channels: squeeze and excitation.
#include <limits>

#include "simd.h"

namespace blocks {
namespace {

constexpr int kBlockVectors = 8;         // vectors that are summed up at a time, a row of the images after the other
constexpr int64_t kBlockPixels = 64;      // that are summed up before they join the rest, for the digits

// Calls run(image, first vector, how many) for all vectors of all images, in parallel.
void each_block(const Gating& g, const Parallel& parallel, const std::function<void(int64_t, int, int)>& run) {
  const int count = num_vectors(g.channels), blocks = (count + kBlockVectors - 1) / kBlockVectors;
  parallel.run(g.batch * blocks, [&](int64_t task) {
    const int first = int(task % blocks) * kBlockVectors;
    run(task / blocks, first, std::min(kBlockVectors, count - first));
  });
}

// The sums over an image's pixels of what term(offset of a vector among the image's entries) returns.
template <class Term>
void sums(const Gating& g, int first, int count, Vec* total, const Term& term) {
  int offsets[kBlockVectors];
  for (int v = 0; v < count; ++v) {
    offsets[v] = vector_offset(first + v, g.channels);
    total[v] = Vec{};
  }
  for (int64_t begin = 0; begin < g.pixels; begin += kBlockPixels) {
    Vec block[kBlockVectors] = {};
    const int64_t end = std::min(g.pixels, begin + kBlockPixels);
    for (int64_t pixel = begin; pixel < end; ++pixel)
      for (int v = 0; v < count; ++v) block[v] += term(pixel * g.channels + offsets[v], offsets[v]);
    for (int v = 0; v < count; ++v) total[v] += block[v];
  }
}

}  // namespace

template <class T>
void image_means(const Gating& g, const T* x, T* means, const Parallel& parallel) {
  // The mean of no pixels is not a number, as in NumPy and TensorFlow.
  const Vec share = splat(g.pixels ? 1.0f / float(g.pixels) : std::numeric_limits<float>::quiet_NaN());
  each_block(g, parallel, [&](int64_t image, int first, int count) {
    const T* from = x + image * g.pixels * g.channels;
    Vec total[kBlockVectors];
    sums(g, first, count, total, [&](int64_t at, int) { return load(from + at); });
    for (int v = 0; v < count; ++v)
      store(means + image * g.channels + vector_offset(first + v, g.channels), total[v] * share);
  });
}

template <class T>
void add_image_means_gradient(const Gating& g, const T* d_means, const T* dx, T* sum, const Parallel& parallel) {
  const Vec share = splat(1.0f / float(g.pixels));
  const int64_t rows = g.batch * g.pixels, tasks = std::min<int64_t>(rows, parallel.threads * 4);
  parallel.run(tasks, [&](int64_t task) {
    for (int64_t row = rows * task / tasks; row < rows * (task + 1) / tasks; ++row) {
      const T *from = dx + row * g.channels, *means = d_means + row / g.pixels * g.channels;
      T* to = sum + row * g.channels;
      int channel = 0;  // dx may be the sum's own memory: no entry twice
      for (; channel + kLanes <= g.channels; channel += kLanes)
        store(to + channel, load(from + channel) + load(means + channel) * share);
      if (const int rest = g.channels - channel)
        store_tail(to + channel, load_tail(from + channel, rest) + load_tail(means + channel, rest) * share, rest);
    }
  });
}

template <class T>
void gate(const Gating& g, const T* x, const T* gates, T* y, const Parallel& parallel) {
  const int64_t rows = g.batch * g.pixels, tasks = std::min<int64_t>(rows, parallel.threads * 4);
  parallel.run(tasks, [&](int64_t task) {
    for (int64_t row = rows * task / tasks; row < rows * (task + 1) / tasks; ++row)
      for (int v = 0; v < num_vectors(g.channels); ++v) {
        const int offset = vector_offset(v, g.channels);
        const int64_t at = row * g.channels + offset;
        store(y + at, load(x + at) * load(gates + row / g.pixels * g.channels + offset));
      }
  });
}

template <class T>
void gate_gradient(const Gating& g, const T* dy, const T* x, const T* gates, T* dx, T* d_gates,
                   const Parallel& parallel) {
  each_block(g, parallel, [&](int64_t image, int first, int count) {
    const int64_t begin = image * g.pixels * g.channels;
    Vec total[kBlockVectors];
    sums(g, first, count, total, [&](int64_t at, int channel) {
      const Vec gradient = load(dy + begin + at);
      store(dx + begin + at, gradient * load(gates + image * g.channels + channel));
      return gradient * load(x + begin + at);
    });
    for (int v = 0; v < count; ++v)
      store(d_gates + image * g.channels + vector_offset(first + v, g.channels), total[v]);
  });
}

#define BLOCKS_INSTANTIATE(T)                                                                        \
  template void image_means<T>(const Gating&, const T*, T*, const Parallel&);                        \
  template void add_image_means_gradient<T>(const Gating&, const T*, const T*, T*, const Parallel&); \
  template void gate<T>(const Gating&, const T*, const T*, T*, const Parallel&);                     \
  template void gate_gradient<T>(const Gating&, const T*, const T*, const T*, T*, T*, const Parallel&);
BLOCKS_INSTANTIATE(float)
BLOCKS_INSTANTIATE(bf16)
#undef BLOCKS_INSTANTIATE

}  // namespace blocks
