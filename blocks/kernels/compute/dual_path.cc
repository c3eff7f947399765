// Dual paths: what a block computes joins a residual path, to which it is added, and a dense one, to which it is
// appended.
#include "row_tasks.h"
#include "simd.h"

namespace blocks {

template <class T>
void merge_paths(const DualPath& d, const T* paths, const T* added, const T* appended, T* y, const Parallel& parallel) {
  const RowTasks tasks(d.pixels, d.outputs(), parallel);
  parallel.run(tasks.count, [&](int64_t task) {
    for (int64_t pixel = tasks.begin(task); pixel < tasks.end(task); ++pixel) {
      const T *from = paths + pixel * d.path_channels(), *terms = added + pixel * d.added_step;
      T* to = y + pixel * d.outputs();
      int c = 0;
      for (; c + kLanes <= d.residual; c += kLanes) store(to + c, load(from + c) + load(terms + c));
      if (const int rest = d.residual - c; rest > 0)
        store_tail(to + c, load_tail(from + c, rest) + load_tail(terms + c, rest), rest);
      std::memcpy(to + d.residual, from + d.residual, sizeof(T) * d.dense);
      std::memcpy(to + d.path_channels(), appended + pixel * d.appended_step, sizeof(T) * d.growth);
    }
  });
}

template <class T>
void merge_paths_gradient(const DualPath& d, const T* dy, T* d_paths, T* d_added, T* d_appended,
                          const Parallel& parallel) {
  const RowTasks tasks(d.pixels, d.outputs(), parallel);
  parallel.run(tasks.count, [&](int64_t task) {
    for (int64_t pixel = tasks.begin(task); pixel < tasks.end(task); ++pixel) {
      const T* from = dy + pixel * d.outputs();
      std::memcpy(d_paths + pixel * d.path_channels(), from, sizeof(T) * d.path_channels());
      std::memcpy(d_added + pixel * d.added_step, from, sizeof(T) * d.residual);
      std::memcpy(d_appended + pixel * d.appended_step, from + d.path_channels(), sizeof(T) * d.growth);
    }
  });
}

#define BLOCKS_INSTANTIATE(T)                                                                       \
  template void merge_paths<T>(const DualPath&, const T*, const T*, const T*, T*, const Parallel&); \
  template void merge_paths_gradient<T>(const DualPath&, const T*, T*, T*, T*, const Parallel&);
BLOCKS_INSTANTIATE(float)
BLOCKS_INSTANTIATE(bf16)
#undef BLOCKS_INSTANTIATE

}  // namespace blocks
