// The gradient of a pointwise convolution's filters: a product that sums over all positions.
#include <algorithm>

#include "tile.h"

namespace blocks {
namespace {

// Columns [first, first + width) of some rows as words, one step after the other: of floats out[r * width + i], of
// bfloat16 out[r / 2 * width + i] with rows r and r + 1.
template <class F, class T>
void pack_rows(const T* x, int64_t x_row, int64_t rows, int first, int width, int64_t columns, float* out) {
  const int64_t room = columns - first;  // what may be read of a row
  const auto part = [&](const T* row, int i) {
    return room - i >= kLanes ? load(row + first + i)
                              : load_tail(row + first + i, int(std::min<int64_t>(room, width) - i));
  };
  for (int64_t r = 0; r < rows; r += kStepFactors<F>, x += x_row * kStepFactors<F>, out += width) {
    // Whole vectors, the end of which the next step overwrites: one, where vectors are longer than tiles are high.
    for (int i = 0; i < (kTileRows > kLanes ? width : 1); i += kLanes) {
      if constexpr (std::is_same_v<F, float>) store(out + i, part(x, i));
      else store(out + i, pairs(part(x, i), r + 1 < rows ? part(x + x_row, i) : Vec{}));
    }
  }
}

// Where the next rows are, for the tiles of those before them to prefetch, each some lines.
struct NextRows {
  const void *x, *dy;
  int64_t x_lines, dy_lines;

  TilePrefetch take(int64_t lines) {
    const bool of_x = x_lines > 0;
    int64_t& remaining = of_x ? x_lines : dy_lines;
    const void*& from = of_x ? x : dy;
    if (remaining <= 0) return {};
    const TilePrefetch prefetch(from);
    from = prefetch.address + lines * kCacheLine;
    remaining -= lines;
    return prefetch;
  }
};

// total[k][c] = sum over rows of x[row][k] * dy[row][c], for k in [first, last), added to what is there if Add: one
// group's part.
template <bool Add, class T>
void accumulate(const T* x, int64_t x_row, int64_t inputs, const T* dy, int64_t dy_row, int64_t rows, int first,
                int last, int columns, NextRows next, float* total, int64_t total_row) {
  using F = Factor<T>;
  const int step = balanced_rows(last - first);
  const int64_t steps = num_steps<F>(rows);
  // Else a copy: where many tiles use it, or where a word holds several rows.
  const F* x_direct = nullptr;
  if constexpr (std::is_same_v<T, float>) x_direct = columns > 2 * kTileColumns && inputs > 64 ? nullptr : x;
  const float* dy_direct = last - first > 2 * step || columns % kLanes ? nullptr : float_or_null(dy);
  float* packed = scratch(1, steps * (last - first + step) + kLanes);
  for (int k = first; k < last && !x_direct; k += step)
    pack_rows<F>(x, x_row, rows, k, std::min(step, last - k), inputs, packed + steps * (k - first));
  float* panel = scratch(2, steps * kTileColumns);
  for (int c = 0; c < columns; c += kTileColumns) {
    if (!dy_direct) pack<F>(dy, rows, columns, dy_row, 1, c, panel);
    for (int k = first; k < last; k += step) {
      const int height = std::min(step, last - k);
      const Tile<F> run = columns - c > kLanes ? tile_of<F, 2, Add>(height) : tile_of<F, 1, Add>(height);
      const F* a = x_direct ? x_direct + k : reinterpret_cast<const F*>(packed + steps * (k - first));
      const GemmSegment<F> segment{a, dy_direct ? dy_direct + c : panel, steps};
      run({&segment, 1, kStepFactors<F>, x_direct ? x_row : height * kStepFactors<F>, dy_direct ? dy_row : kTileColumns,
           next.take(steps)},
          0, total + k * total_row + c, total_row);
    }
  }
}

constexpr int64_t kBlockRows = 128;  // whose part of a panel stays in the first-level cache

// How the sums are divided: either by rows, each task with totals of its own, or, where those would be large, by input
// channels. A part's totals are (groups, in_channels_per_group, total_row), of which out_channels_per_group are used.
struct Division {
  int64_t row_tasks;
  int slices, slice;  // of a group's input channels: how many, and the channels of each
  bool in_place;      // whether one task sums whole vectors of an input's filters, in the gradient itself
  int64_t total_row, part_size;

  Division(const Pointwise& p, int threads) {
    const int inputs = p.in_channels_per_group, outputs = p.out_channels_per_group;
    const int64_t padded = padded_row<float>(int64_t(num_panels(outputs)) * kTileColumns);
    part_size = int64_t(p.groups) * inputs * padded;
    const int64_t max_tasks = threads == 1 ? 1 : threads * 2;
    row_tasks = std::max<int64_t>(1, std::min<int64_t>(max_tasks, p.rows / 256));
    if (part_size > kL2Floats || row_tasks < threads) row_tasks = 1;
    slices = row_tasks > 1 ? 1 : int(std::min<int64_t>((inputs + kTileRows - 1) / kTileRows, max_tasks));
    slice = ((inputs + slices - 1) / slices + kTileRows - 1) / kTileRows * kTileRows;
    in_place = row_tasks == 1 && p.groups == 1 && outputs % kLanes == 0 &&
               (!aliased<float>(outputs) || p.rows <= 2 * kBlockRows);
    total_row = in_place ? outputs : padded;
  }
};

// The totals of one task: rows [begin, end) and input channels [first, last) of a group.
template <class T>
void sum_rows(const Pointwise& p, const Division& division, const T* x, const T* dy, int64_t begin, int64_t end,
              int group, int first, int last, float* totals) {
  const int inputs = p.in_channels_per_group, outputs = p.out_channels_per_group;
  const int64_t x_row = int64_t(p.groups) * inputs, dy_row = int64_t(p.groups) * outputs;
  for (int64_t row = begin; row < end; row += kBlockRows) {
    const int64_t rows = std::min(kBlockRows, end - row);
    // Only what is contiguous.
    const int64_t lines = p.groups > 1 || row + rows >= end ? 0 : rows * int64_t(sizeof(T));
    const NextRows next{x + (row + rows) * x_row, dy + (row + rows) * dy_row,
                        division.slices > 1 ? 0 : lines * x_row / kCacheLine, lines * dy_row / kCacheLine};
    (row > begin ? accumulate<true, T> : accumulate<false, T>)(x + row * x_row + int64_t(group) * inputs, x_row, inputs,
                                                               dy + row * dy_row + int64_t(group) * outputs, dy_row,
                                                               rows, first, last, outputs, next,
                                                               totals + int64_t(group) * inputs * division.total_row,
                                                               division.total_row);
  }
}

// The sums of all tasks' totals, for input channels [first, last) of every group.
void add_totals(const Pointwise& p, const Division& division, const float* totals, int64_t first, int64_t last,
                float* d_kernel) {
  const int outputs = p.out_channels_per_group;
  for (int64_t k = first; k < last; ++k)
    for (int group = 0; group < p.groups; ++group)
      for (int c = 0; c < outputs; c += kLanes) {
        const float* from = totals + (group * int64_t(p.in_channels_per_group) + k) * division.total_row + c;
        Vec sum = {};
        for (int64_t part = 0; part < division.row_tasks; ++part) sum += load(from + part * division.part_size);
        float* to = d_kernel + (k * p.groups + group) * outputs + c;
        if (outputs - c >= kLanes) store(to, sum);
        else store_tail(to, sum, outputs - c);
      }
}

}  // namespace

template <class T>
void pointwise_filter_gradient(const Pointwise& p, const T* x, const T* dy, float* d_kernel, const Parallel& parallel) {
  const Division division(p, parallel.threads);
  float* totals = division.in_place ? d_kernel : scratch(kShared, division.row_tasks * division.part_size);
  const int64_t slices = int64_t(p.groups) * division.slices;
  parallel.run(division.row_tasks * slices, [&](int64_t task) {
    const int64_t part = task / slices;
    const int group = int(task / division.slices % p.groups), first = int(task % division.slices) * division.slice;
    const int last = std::min(p.in_channels_per_group, first + division.slice);
    if (first < last)
      sum_rows(p, division, x, dy, p.rows * part / division.row_tasks, p.rows * (part + 1) / division.row_tasks, group,
               first, last, totals + part * division.part_size);
  });
  if (division.in_place) return;
  const int64_t inputs = p.in_channels_per_group, tasks = std::min<int64_t>(inputs, parallel.threads);
  parallel.run(tasks, [&](int64_t task) {
    add_totals(p, division, totals, inputs * task / tasks, inputs * (task + 1) / tasks, d_kernel);
  });
}

template void pointwise_filter_gradient<float>(const Pointwise&, const float*, const float*, float*, const Parallel&);
template void pointwise_filter_gradient<bf16>(const Pointwise&, const bf16*, const bf16*, float*, const Parallel&);

}  // namespace blocks
