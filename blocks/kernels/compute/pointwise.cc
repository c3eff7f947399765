// Pointwise convolution as matrix products: panels of the weights are packed, rows of the images are read in place.
#include <algorithm>
#include <vector>

#include "rows.h"

namespace blocks {

namespace {

// While a tile sums up its rows, it prefetches those of the next tile.
template <class F>
TilePrefetch next_rows(const F* a, int64_t a_row, int64_t rows) {
  const int64_t tile = balanced_rows(rows) * a_row;
  return TilePrefetch(a + tile, kCacheLine, tile * int64_t(sizeof(F)));
}

// Where the rows are near already, it prefetches its part of the next panel of weights.
TilePrefetch next_panel(const float* panel, int64_t steps, int64_t rows) {
  const int64_t tiles = (rows + kTileRows - 1) / kTileRows;
  const int64_t step = std::min<int64_t>(kCacheLine, kTileColumns * 4 / tiles);
  return TilePrefetch(panel + steps * kTileColumns, step, steps * step);
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
  using F = Factor<T>;
  int64_t rows;
  int groups, depth, columns;
  const T* x;
  Matrices b;
  Epilogue<T> epilogue;
  T* y;

  int64_t x_row() const { return int64_t(groups) * depth; }
  int64_t y_row() const { return int64_t(groups) * columns; }
  int64_t steps() const { return num_steps<F>(depth); }
  int64_t panel_size() const { return steps() * kTileColumns; }  // words
  int64_t a_depth() const { return steps() * kStepFactors<F>; }  // of a group, in whole steps
  // x from `row` on where tiles can read it as it is, else null.
  const F* in_place(int64_t row) const {
    if constexpr (std::is_same_v<T, F>)
      if (depth == a_depth() && !aliased<F>(x_row())) return x + row * x_row();
    return nullptr;
  }
  int64_t a_row() const { return in_place(0) ? x_row() : padded_row<F>(groups * a_depth()); }
  void copy(int64_t row, int64_t count, F* a) const {
    copy_rows(x + row * x_row(), count, groups, depth, x_row(), a, a_row());
  }

  // Rows from `row` on, in one group's panel: those of a (its group's, a_row apart) times the packed panel.
  void multiply(const F* a, const float* packed, TilePrefetch prefetch, int64_t row, int64_t count, int group,
                int panel) const {
    const GemmSegment<F> segment{a, packed, steps()};
    const int first = group * columns + panel * kTileColumns;
    const GemmArgs<F> args{&segment, 1, a_row(), kStepFactors<F>, kTileColumns, prefetch};
    rows_of_panel(args, std::min(kTileColumns, columns - panel * kTileColumns), y + row * y_row() + first, y_row(),
                  count, epilogue.shifted(row * y_row()), first);
  }
};

// Where the weights outweigh the images: a task packs some panels, a few at a time so that it reads long parts of the
// weights' rows, and takes all images through them.
template <class T>
void multiply_panels(const GroupedGemm<T>& gemm, const Parallel& parallel) {
  using F = Factor<T>;
  const int64_t rows = gemm.rows, a_row = gemm.a_row();
  const F* a = gemm.in_place(0);
  if (!a) {
    F* copied = factors_scratch<F>(kShared, rows * a_row);
    const int64_t tasks = std::min<int64_t>(rows, parallel.threads);
    parallel.run(tasks, [&](int64_t task) {
      const int64_t begin = rows * task / tasks;
      gemm.copy(begin, rows * (task + 1) / tasks - begin, copied + begin * a_row);
    });
    a = copied;
  }
  const int count = num_panels(gemm.columns);
  const int panels_of_task = std::max(1, std::min(4, gemm.groups * count / (parallel.threads * 2)));
  const int tasks_of_group = (count + panels_of_task - 1) / panels_of_task;
  parallel.run(int64_t(gemm.groups) * tasks_of_group, [&](int64_t task) {
    const int group = int(task / tasks_of_group), begin = int(task % tasks_of_group) * panels_of_task;
    const int end = std::min(count, begin + panels_of_task);
    float* packed = scratch(2, panels_of_task * gemm.panel_size());
    pack_several<F>(gemm.b.data + group * gemm.b.group_stride, gemm.depth, gemm.columns, gemm.b.row_stride,
                    gemm.b.column_stride, begin, end, packed);
    const F* group_a = a + group * gemm.a_depth();
    const TilePrefetch prefetch = gemm.groups == 1 ? next_rows(group_a, a_row, rows) : TilePrefetch();
    for (int panel = begin; panel < end; ++panel)
      gemm.multiply(group_a, packed + (panel - begin) * gemm.panel_size(), prefetch, 0, rows, group, panel);
  });
}

// Else all panels are packed first, and a task takes rows through them, in chunks that stay in the cache meanwhile.
template <class T>
void multiply_rows(const GroupedGemm<T>& gemm, const Parallel& parallel) {
  using F = Factor<T>;
  const int64_t rows = gemm.rows, x_row = gemm.x_row(), a_row = gemm.a_row();
  const int count = num_panels(gemm.columns);
  float* packed = scratch(kShared, int64_t(gemm.groups) * count * gemm.panel_size());
  parallel.run(int64_t(gemm.groups) * count, [&](int64_t task) {
    pack<F>(gemm.b.data + (task / count) * gemm.b.group_stride, gemm.depth, gemm.columns, gemm.b.row_stride,
            gemm.b.column_stride, int(task % count) * kTileColumns, packed + task * gemm.panel_size());
  });
  int64_t chunk = std::max<int64_t>(kTileRows, kL2Floats / 4 / x_row / kTileRows * kTileRows);
  chunk = std::min(chunk, std::max<int64_t>(kTileRows, rows / (parallel.threads * 4) / kTileRows * kTileRows));
  parallel.run((rows + chunk - 1) / chunk, [&](int64_t task) {
    const int64_t begin = task * chunk, height = std::min(chunk, rows - begin);
    const F* a = gemm.in_place(begin);
    const bool in_cache = !a;  // after copying
    if (!a) {
      F* copied = factors_scratch<F>(1, height * a_row);
      gemm.copy(begin, height, copied);
      a = copied;
    }
    for (int group = 0; group < gemm.groups; ++group)
      for (int panel = 0; panel < count; ++panel) {
        const F* group_a = a + group * gemm.a_depth();
        const float* b = packed + (int64_t(group) * count + panel) * gemm.panel_size();
        const bool first = !in_cache && gemm.groups == 1 && panel == 0;
        gemm.multiply(group_a, b, first ? next_rows(group_a, a_row, height) : next_panel(b, gemm.steps(), height),
                      begin, height, group, panel);
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
