// Pointwise convolution as matrix products: panels of the weights are packed, rows of the images are read in place.
#include <algorithm>
#include <vector>

#include "rows.h"

namespace blocks {

namespace {

// While a tile sums up its rows, it prefetches those of the next tile.
TilePrefetch next_rows(const float* a, int64_t a_row, int64_t rows) {
  const int64_t tile = balanced_rows(rows) * a_row;
  return TilePrefetch(a + tile, kCacheLine, tile * 4);
}

// Where the rows are near already, it prefetches its part of the next panel of weights.
TilePrefetch next_panel(const float* panel, int64_t depth, int64_t rows) {
  const int64_t tiles = (rows + kTileRows - 1) / kTileRows;
  const int64_t step = std::min<int64_t>(kCacheLine, kTileColumns * 4 / tiles);
  return TilePrefetch(panel + depth * kTileColumns, step, depth * step);
}

// One matrix (depth, columns) a group: entry (k, c) of group g's is data[g * group_stride + k * row_stride + c *
// column_stride].
struct Matrices {
  const float* data;
  int64_t group_stride, row_stride, column_stride;
};

// y (rows, groups * columns) = x (rows, groups * depth) times one matrix a group.
template <class T>
struct GroupedGemm {
  int64_t rows;
  int groups, depth, columns;
  const T* x;
  Matrices b;
  Epilogue<T> epilogue;
  T* y;

  int64_t x_row() const { return int64_t(groups) * depth; }
  int64_t y_row() const { return int64_t(groups) * columns; }
  int64_t panel_size() const { return int64_t(depth) * kTileColumns; }
  bool in_place() const { return float_or_null(x) && !aliased(x_row()); }  // whether tiles can read x itself
  int64_t a_row() const { return in_place() ? x_row() : padded_row(x_row()); }

  // Rows from `row` on, in one group's panel: those of a (its group's, a_row apart) times the packed panel.
  void multiply(const float* a, const float* packed, TilePrefetch prefetch, int64_t row, int64_t count, int group,
                int panel) const {
    const GemmSegment segment{a, packed};
    const int first = group * columns + panel * kTileColumns;
    rows_of_panel({&segment, 1, depth, a_row(), 1, kTileColumns, prefetch},
                  std::min(kTileColumns, columns - panel * kTileColumns), y + row * y_row() + first, y_row(), count,
                  epilogue.shifted(row * y_row()), first);
  }
};

// Where the weights outweigh the images: a task packs some panels, a few at a time so that it reads long parts of the
// weights' rows, and takes all images through them.
template <class T>
void multiply_panels(const GroupedGemm<T>& gemm, const Parallel& parallel) {
  const int64_t rows = gemm.rows, x_row = gemm.x_row(), a_row = gemm.a_row();
  const float* a = float_or_null(gemm.x);
  if (!gemm.in_place()) {
    float* wide = scratch(kShared, rows * a_row);
    const int64_t tasks = std::min<int64_t>(rows, parallel.threads);
    parallel.run(tasks, [&](int64_t task) {
      const int64_t begin = rows * task / tasks;
      widen(gemm.x + begin * x_row, rows * (task + 1) / tasks - begin, x_row, x_row, wide + begin * a_row, a_row);
    });
    a = wide;
  }
  const int count = num_panels(gemm.columns);
  const int panels_of_task = std::max(1, std::min(4, gemm.groups * count / (parallel.threads * 2)));
  const int tasks_of_group = (count + panels_of_task - 1) / panels_of_task;
  parallel.run(int64_t(gemm.groups) * tasks_of_group, [&](int64_t task) {
    const int group = int(task / tasks_of_group), begin = int(task % tasks_of_group) * panels_of_task;
    const int end = std::min(count, begin + panels_of_task);
    float* packed = scratch(2, panels_of_task * gemm.panel_size());
    pack_several(gemm.b.data + group * gemm.b.group_stride, gemm.depth, gemm.columns, gemm.b.row_stride,
                 gemm.b.column_stride, begin, end, packed);
    const float* group_a = a + int64_t(group) * gemm.depth;
    const TilePrefetch prefetch = gemm.groups == 1 ? next_rows(group_a, a_row, rows) : TilePrefetch();
    for (int panel = begin; panel < end; ++panel)
      gemm.multiply(group_a, packed + (panel - begin) * gemm.panel_size(), prefetch, 0, rows, group, panel);
  });
}

// Else all panels are packed first, and a task takes rows through them, in chunks that stay in the cache meanwhile.
template <class T>
void multiply_rows(const GroupedGemm<T>& gemm, const Parallel& parallel) {
  const int64_t rows = gemm.rows, x_row = gemm.x_row(), a_row = gemm.a_row();
  const int count = num_panels(gemm.columns);
  float* packed = scratch(kShared, int64_t(gemm.groups) * count * gemm.panel_size());
  parallel.run(int64_t(gemm.groups) * count, [&](int64_t task) {
    pack(gemm.b.data + (task / count) * gemm.b.group_stride, gemm.depth, gemm.columns, gemm.b.row_stride,
         gemm.b.column_stride, int(task % count) * kTileColumns, packed + task * gemm.panel_size());
  });
  int64_t chunk = std::max<int64_t>(kTileRows, kL2Floats / 4 / x_row / kTileRows * kTileRows);
  chunk = std::min(chunk, std::max<int64_t>(kTileRows, rows / (parallel.threads * 4) / kTileRows * kTileRows));
  parallel.run((rows + chunk - 1) / chunk, [&](int64_t task) {
    const int64_t begin = task * chunk, height = std::min(chunk, rows - begin);
    const float* a = gemm.in_place() ? float_or_null(gemm.x) + begin * x_row : nullptr;
    if (!a) {
      float* wide = scratch(1, height * a_row);
      widen(gemm.x + begin * x_row, height, x_row, x_row, wide, a_row);
      a = wide;
    }
    for (int group = 0; group < gemm.groups; ++group)
      for (int panel = 0; panel < count; ++panel) {
        const float* group_a = a + int64_t(group) * gemm.depth;
        const float* b = packed + (int64_t(group) * count + panel) * gemm.panel_size();
        // The first panel's rows have not been copied, so they are not in the cache.
        const bool first = gemm.in_place() && gemm.groups == 1 && panel == 0;
        gemm.multiply(group_a, b, first ? next_rows(group_a, a_row, height) : next_panel(b, gemm.depth, height), begin,
                      height, group, panel);
      }
  });
}

template <class T>
void multiply(const GroupedGemm<T>& gemm, const Parallel& parallel) {
  const bool few_rows = gemm.rows * gemm.x_row() < gemm.y_row() * gemm.depth && gemm.rows * gemm.depth <= 4 * kL2Floats;
  if (few_rows) multiply_panels(gemm, parallel);
  else multiply_rows(gemm, parallel);
}

}  // namespace

template <class T>
void pointwise(const Pointwise& p, const T* x, const float* kernel, const float* bias, const T* residual, T* y,
               Activation activation, const Parallel& parallel) {
  const Matrices weights = {kernel, p.out_channels_per_group, int64_t(p.groups) * p.out_channels_per_group, 1};
  multiply<T>({p.rows,
               p.groups,
               p.in_channels_per_group,
               p.out_channels_per_group,
               x,
               weights,
               {bias, residual, activation},
               y},
              parallel);
}

template <class T>
void pointwise_input_gradient(const Pointwise& p, const T* dy, const float* kernel, T* dx, const Parallel& parallel) {
  const Matrices transposed = {kernel, p.out_channels_per_group, 1, int64_t(p.groups) * p.out_channels_per_group};
  multiply<T>({p.rows,
               p.groups,
               p.out_channels_per_group,
               p.in_channels_per_group,
               dy,
               transposed,
               {nullptr, nullptr, Activation::kNone},
               dx},
              parallel);
}

#define BLOCKS_INSTANTIATE(T)                                                                                  \
  template void pointwise<T>(const Pointwise&, const T*, const float*, const float*, const T*, T*, Activation, \
                             const Parallel&);                                                                 \
  template void pointwise_input_gradient<T>(const Pointwise&, const T*, const float*, T*, const Parallel&);
BLOCKS_INSTANTIATE(float)
BLOCKS_INSTANTIATE(bf16)
#undef BLOCKS_INSTANTIATE

}  // namespace blocks
