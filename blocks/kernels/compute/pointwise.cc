// Pointwise convolution as matrix products: panels of the weights are packed, rows of the images are read in place.
#include <algorithm>
#include <vector>

#include "rows.h"

namespace blocks {

int fewest_channels() { return kLanes; }

namespace {

// What a tile fetches while it sums up its rows: the rows of the next tile.
Fetched next_rows(const float* a, int64_t a_row, int64_t rows) {
  const int64_t tile = even_rows(rows) * a_row;
  return Fetched(a + tile, kLine, tile * 4);
}

// What a tile fetches where the rows are near already: its part of the next panel of weights.
Fetched next_panel(const float* panel, int64_t depth, int64_t rows) {
  const int64_t tiles = (rows + kRows - 1) / kRows, step = std::min<int64_t>(kLine, kColumns * 4 / tiles);
  return Fetched(panel + depth * kColumns, step, depth * step);
}

// y (rows, groups * columns) = x (rows, groups * depth) times one matrix a group.
// Entry (k, c) of group g's matrix is b[g * apart + k * down + c * across].
template <class T>
void products(int64_t rows, int groups, int depth, int columns, const T* x, const float* b, int64_t apart, int64_t down,
              int64_t across, T* y, const float* bias, const T* residual, Activation activation,
              const Parallel& parallel) {
  const int64_t x_row = int64_t(groups) * depth, y_row = int64_t(groups) * columns;
  const int count = panels(columns);
  const int64_t panel_size = int64_t(depth) * kColumns;
  const Epilogue<T> epilogue{bias, residual, y_row};
  const bool ready = as_is(x) && !aliased(x_row);  // to be read in place
  const int64_t a_row = ready ? x_row : padded_row(x_row);
  const bool few_rows = rows * x_row < int64_t(groups) * depth * columns && rows * depth <= 4 * kNear;
  if (few_rows) {
    // The weights outweigh the images: a task packs some panels, a few at a time so that it reads long pieces of the
    // weights' rows, and takes all images through them.
    float* wide = ready ? nullptr : scratch(kShared, rows * a_row);
    if (!ready) {
      const int64_t tasks = std::min<int64_t>(rows, parallel.threads);
      parallel.run(tasks, [&](int64_t task) {
        const int64_t begin = rows * task / tasks;
        widen(x + begin * x_row, rows * (task + 1) / tasks - begin, x_row, x_row, wide + begin * a_row, a_row);
      });
    }
    const int some = std::max(1, std::min(4, groups * count / (parallel.threads * 2)));  // panels of a task
    const int per_group = (count + some - 1) / some;
    parallel.run(int64_t(groups) * per_group, [&](int64_t task) {
      const int group = int(task / per_group), begin = int(task % per_group) * some;
      const int end = std::min(count, begin + some);
      float* panel = scratch(2, some * panel_size);
      pack_several(b + group * apart, depth, columns, down, across, begin, end, panel);
      const float* a = (ready ? as_is(x) : wide) + int64_t(group) * depth;
      for (int i = begin; i < end; ++i) {
        const Stretch stretch{a, panel + (i - begin) * panel_size};
        const Fetched ahead = groups == 1 ? next_rows(a, a_row, rows) : Fetched();
        rows_of_panel({&stretch, 1, depth, a_row, 1, kColumns, ahead}, std::min(kColumns, columns - i * kColumns),
                      y + int64_t(group) * columns + i * kColumns, y_row, rows, epilogue,
                      group * columns + i * kColumns, activation);
      }
    });
    return;
  }
  float* packed = scratch(kShared, int64_t(groups) * count * panel_size);
  parallel.run(int64_t(groups) * count, [&](int64_t task) {
    pack(b + (task / count) * apart, depth, columns, down, across, int(task % count) * kColumns,
         packed + task * panel_size);
  });
  // Rows in chunks that stay in the cache while every panel passes over them.
  int64_t chunk = std::max<int64_t>(kRows, kNear / 4 / x_row / kRows * kRows);
  chunk = std::min(chunk, std::max<int64_t>(kRows, rows / (parallel.threads * 4) / kRows * kRows));
  parallel.run((rows + chunk - 1) / chunk, [&](int64_t task) {
    const int64_t begin = task * chunk, some = std::min(chunk, rows - begin);
    const float* a = ready ? as_is(x) + begin * x_row : nullptr;
    if (!ready) {
      float* wide = scratch(1, some * a_row);
      widen(x + begin * x_row, some, x_row, x_row, wide, a_row);
      a = wide;
    }
    const Epilogue<T> here{bias, residual ? residual + begin * y_row : nullptr, y_row};
    for (int group = 0; group < groups; ++group)
      for (int panel = 0; panel < count; ++panel) {
        const Stretch stretch{a + int64_t(group) * depth, packed + (int64_t(group) * count + panel) * panel_size};
        const bool first = ready && groups == 1 && panel == 0;  // whose rows have not been copied, so not seen
        const Fetched ahead = first ? next_rows(a, a_row, some) : next_panel(stretch.b, depth, some);
        rows_of_panel({&stretch, 1, depth, a_row, 1, kColumns, ahead}, std::min(kColumns, columns - panel * kColumns),
                      y + begin * y_row + int64_t(group) * columns + panel * kColumns, y_row, some, here,
                      group * columns + panel * kColumns, activation);
      }
  });
}

}  // namespace

template <class T>
void pointwise(const Pointwise& p, const T* x, const float* kernel, const float* bias, const T* residual, T* y,
               Activation activation, const Parallel& parallel) {
  products(p.rows, p.groups, p.inputs, p.outputs, x, kernel, p.outputs, int64_t(p.groups) * p.outputs, 1, y, bias,
           residual, activation, parallel);
}

template <class T>
void pointwise_input_gradient(const Pointwise& p, const T* dy, const float* kernel, T* dx, const Parallel& parallel) {
  products<T>(p.rows, p.groups, p.outputs, p.inputs, dy, kernel, p.outputs, 1, int64_t(p.groups) * p.outputs, dx,
              nullptr, nullptr, Activation::kNone, parallel);
}

#define BLOCKS_INSTANTIATE(T)                                                                                  \
  template void pointwise<T>(const Pointwise&, const T*, const float*, const float*, const T*, T*, Activation, \
                             const Parallel&);                                                                 \
  template void pointwise_input_gradient<T>(const Pointwise&, const T*, const float*, T*, const Parallel&);
BLOCKS_INSTANTIATE(float)
BLOCKS_INSTANTIATE(bf16)

}  // namespace blocks
