// Means over each image, and products with a gate for each of its channels: squeeze and excitation; sums of products
// with several gates, selective kernels and split attention.
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

// The sums over an image's pixels of what term(pixel, vector counted from the first, its channel) returns.
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
      for (int v = 0; v < count; ++v) block[v] += term(pixel, v, offsets[v]);
    for (int v = 0; v < count; ++v) total[v] += block[v];
  }
}

// The softmax over candidates of an image's logits, for `count` vectors of channels from the `first` on:
// shares [candidates][count][kLanes].
template <class T>
void softmax(const T* logits, int candidates, int channels, int first, int count, float* shares) {
  for (int v = 0; v < count; ++v) {
    const T* from = logits + vector_offset(first + v, channels);
    float* to = shares + v * kLanes;
    const int64_t step = int64_t(count) * kLanes;
    Vec largest = load(from), total = {};
    for (int i = 1; i < candidates; ++i) largest = max(largest, load(from + int64_t(i) * channels));
    for (int i = 0; i < candidates; ++i) {
      const Vec shifted = load(from + int64_t(i) * channels) - largest;
      const Vec power = shifted == shifted ? exponential(shifted) : shifted;  // not a number stays one
      store(to + i * step, power);
      total += power;
    }
    for (int i = 0; i < candidates; ++i) store(to + i * step, load(to + i * step) / total);
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
    sums(g, first, count, total,
         [&](int64_t pixel, int, int channel) { return load(from + pixel * g.channels + channel); });
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
    sums(g, first, count, total, [&](int64_t pixel, int, int channel) {
      const int64_t at = begin + pixel * g.channels + channel;
      const Vec gradient = load(dy + at);
      store(dx + at, gradient * load(gates + image * g.channels + channel));
      return gradient * load(x + at);
    });
    for (int v = 0; v < count; ++v)
      store(d_gates + image * g.channels + vector_offset(first + v, g.channels), total[v]);
  });
}

template <class T>
void softmax_sum(const Gating& g, int64_t step, const std::vector<const T*>& candidates, const T* logits, T* y,
                 const Parallel& parallel) {
  const int64_t rows = g.batch * g.pixels, tasks = std::min<int64_t>(rows, parallel.threads * 4);
  const int count = num_vectors(g.channels), number = int(candidates.size());
  parallel.run(tasks, [&](int64_t task) {
    float* shares = scratch(0, int64_t(number) * count * kLanes);
    int64_t image = -1;  // whose shares these are
    for (int64_t row = rows * task / tasks; row < rows * (task + 1) / tasks; ++row) {
      if (row / g.pixels != image) {
        image = row / g.pixels;
        softmax(logits + image * number * g.channels, number, g.channels, 0, count, shares);
      }
      for (int v = 0; v < count; ++v) {
        const int offset = vector_offset(v, g.channels);
        Vec sum = {};
        for (int i = 0; i < number; ++i)
          sum += load(candidates[i] + row * step + offset) * load(shares + (i * count + v) * kLanes);
        store(y + row * g.channels + offset, sum);
      }
    }
  });
}

template <class T>
void softmax_sum_gradient(const Gating& g, int64_t step, const T* dy, const std::vector<const T*>& candidates,
                          const T* logits, const std::vector<T*>& d_candidates, T* d_logits, const Parallel& parallel) {
  const int number = int(candidates.size());
  each_block(g, parallel, [&](int64_t image, int first, int count) {
    const int64_t size = int64_t(number) * count * kLanes;
    float *shares = scratch(0, 2 * size), *products = shares + size;  // of the gradients with each candidate
    softmax(logits + image * number * g.channels, number, g.channels, first, count, shares);
    Vec mean[kBlockVectors] = {};
    for (int i = 0; i < number; ++i) {
      Vec total[kBlockVectors];
      const T* x = candidates[i] + image * g.pixels * step;
      T* dx = d_candidates[i] + image * g.pixels * step;
      sums(g, first, count, total, [&](int64_t pixel, int v, int channel) {
        const Vec gradient = load(dy + (image * g.pixels + pixel) * g.channels + channel);
        store(dx + pixel * step + channel, gradient * load(shares + (i * count + v) * kLanes));
        return gradient * load(x + pixel * step + channel);
      });
      for (int v = 0; v < count; ++v) {
        store(products + (i * count + v) * kLanes, total[v]);
        mean[v] += total[v] * load(shares + (i * count + v) * kLanes);
      }
    }
    for (int i = 0; i < number; ++i)
      for (int v = 0; v < count; ++v) {
        const int64_t at = int64_t(i * count + v) * kLanes;
        store(d_logits + (image * number + i) * g.channels + vector_offset(first + v, g.channels),
              load(shares + at) * (load(products + at) - mean[v]));
      }
  });
}

#define BLOCKS_INSTANTIATE(T)                                                                                        \
  template void image_means<T>(const Gating&, const T*, T*, const Parallel&);                                        \
  template void add_image_means_gradient<T>(const Gating&, const T*, const T*, T*, const Parallel&);                 \
  template void gate<T>(const Gating&, const T*, const T*, T*, const Parallel&);                                     \
  template void gate_gradient<T>(const Gating&, const T*, const T*, const T*, T*, T*, const Parallel&);              \
  template void softmax_sum<T>(const Gating&, int64_t, const std::vector<const T*>&, const T*, T*, const Parallel&); \
  template void softmax_sum_gradient<T>(const Gating&, int64_t, const T*, const std::vector<const T*>&, const T*,    \
                                        const std::vector<T*>&, T*, const Parallel&);
BLOCKS_INSTANTIATE(float)
BLOCKS_INSTANTIATE(bf16)
#undef BLOCKS_INSTANTIATE

}  // namespace blocks
