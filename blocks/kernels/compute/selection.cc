// Channels of images in another order, some left out or repeated, and the gradient.
#include <vector>

#include "row_tasks.h"
#include "simd.h"

namespace blocks {

template <class T>
void select_channels(const Selection& s, const T* x, T* y, const Parallel& parallel) {
  const RowTasks tasks(s.pixels, s.selected(), parallel);
  parallel.run(tasks.count, [&](int64_t task) {
    const int32_t* const index = s.index.data();
    const int channels = s.channels, selected = s.selected();
    for (int64_t pixel = tasks.begin(task); pixel < tasks.end(task); ++pixel) {
      const T* from = x + pixel * channels;
      T* to = y + pixel * selected;
      for (int i = 0; i < selected; ++i) to[i] = from[index[i]];
    }
  });
}

template <class T>
void select_channels_gradient(const Selection& s, const T* dy, T* dx, const Parallel& parallel) {
  const RowTasks tasks(s.pixels, s.selected(), parallel);
  parallel.run(tasks.count, [&](int64_t task) {
    const int32_t* const index = s.index.data();
    const int channels = s.channels, selected = s.selected();
    std::vector<float> sums(num_vectors(channels) * kLanes);
    for (int64_t pixel = tasks.begin(task); pixel < tasks.end(task); ++pixel) {
      const T* from = dy + pixel * selected;
      T* to = dx + pixel * channels;
      std::memset(sums.data(), 0, sizeof(float) * sums.size());
      for (int i = 0; i < selected; ++i) sums[index[i]] += scalar(from[i]);
      int c = 0;
      for (; c + kLanes <= channels; c += kLanes) store(to + c, load(sums.data() + c));
      if (c < channels) store_tail(to + c, load(sums.data() + c), channels - c);
    }
  });
}

#define BLOCKS_INSTANTIATE(T)                                                        \
  template void select_channels<T>(const Selection&, const T*, T*, const Parallel&); \
  template void select_channels_gradient<T>(const Selection&, const T*, T*, const Parallel&);
BLOCKS_INSTANTIATE(float)
BLOCKS_INSTANTIATE(bf16)
#undef BLOCKS_INSTANTIATE

}  // namespace blocks
