// The gradient of a pointwise convolution's filters: a product that sums over all positions.
#include <algorithm>

#include "tile.h"

namespace blocks {
namespace {

// Columns [first, first + width) of some rows, one after the other: out[r * width + i].
template <class T>
void pack_rows(const T* x, int64_t x_row, int64_t rows, int first, int width, int64_t columns, float* out) {
  const int64_t room = columns - first;  // what may be read of a row
  for (int64_t r = 0; r < rows; ++r, x += x_row, out += width) {
    // Whole vectors, the end of which the next row overwrites.
    store(out, room >= kLanes ? load(x + first) : load_some(x + first, int(std::min<int64_t>(room, width))));
  }
}

// What the next rows are made of, for the tiles of those before them to fetch, each some lines.
struct NextRows {
  const void *x, *dy;
  int64_t x_lines, dy_lines;

  Fetched take(int64_t lines) {
    const bool of_x = x_lines > 0;
    int64_t& left = of_x ? x_lines : dy_lines;
    const void*& from = of_x ? x : dy;
    if (left <= 0) return {};
    const Fetched result(from);
    from = result.next + lines * kLine;
    left -= lines;
    return result;
  }
};

// total[k][c] = sum over rows of x[row][k] * dy[row][c], for k in [first, last), added to what is there if Add: one
// group's part.
template <bool Add, class T>
void accumulate(const T* x, int64_t x_row, int64_t inputs, const T* dy, int64_t dy_row, int64_t rows, int first,
                int last, int columns, NextRows next, float* total, int64_t total_row) {
  const int step = even_rows(last - first);
  // A copy, where many tiles use it.
  const float* x_direct = columns > 2 * kColumns && inputs > 64 ? nullptr : as_is(x);
  const float* dy_direct = last - first > 2 * step || columns % kLanes ? nullptr : as_is(dy);
  float* packed = scratch(1, rows * (last - first + step) + kLanes);
  for (int k = first; k < last && !x_direct; k += step)
    pack_rows(x, x_row, rows, k, std::min(step, last - k), inputs, packed + rows * (k - first));
  float* panel = scratch(2, rows * kColumns);
  for (int c = 0; c < columns; c += kColumns) {
    if (!dy_direct) pack(dy, rows, columns, dy_row, 1, c, panel);
    for (int k = first; k < last; k += step) {
      const int some = std::min(step, last - k);
      const Tile run = columns - c > kLanes ? tile_of<2, Add>(some) : tile_of<1, Add>(some);
      const Stretch stretch{x_direct ? x_direct + k : packed + rows * (k - first), dy_direct ? dy_direct + c : panel};
      run({&stretch, 1, rows, 1, x_direct ? x_row : some, dy_direct ? dy_row : kColumns, next.take(rows)}, 0,
          total + k * total_row + c, total_row);
    }
  }
}

}  // namespace

template <class T>
void pointwise_filter_gradient(const Pointwise& p, const T* x, const T* dy, float* d_kernel, const Parallel& parallel) {
  const int64_t x_row = int64_t(p.groups) * p.inputs, dy_row = int64_t(p.groups) * p.outputs;
  const int64_t width = padded_row(int64_t(panels(p.outputs)) * kColumns);  // of a group's totals
  const int64_t size = int64_t(p.groups) * p.inputs * width;
  // Either the rows are shared out, each task with totals of its own, or, where those would be large, the inputs.
  const int64_t most = parallel.threads == 1 ? 1 : parallel.threads * 2;
  int64_t row_tasks = std::max<int64_t>(1, std::min<int64_t>(most, p.rows / 256));
  if (size > kNear || row_tasks < parallel.threads) row_tasks = 1;
  const int slices = row_tasks > 1 ? 1 : int(std::min<int64_t>((p.inputs + kRows - 1) / kRows, most));
  const int slice = ((p.inputs + slices - 1) / slices + kRows - 1) / kRows * kRows;
  const int64_t block = 128;  // rows whose share of a panel stays in the first-level cache
  // Where one task sums whole vectors of an input's filters, it does so in their place.
  const bool in_place =
      row_tasks == 1 && p.groups == 1 && p.outputs % kLanes == 0 && (!aliased(p.outputs) || p.rows <= 2 * block);
  float* totals = in_place ? d_kernel : scratch(kShared, row_tasks * size);
  const int64_t total_row = in_place ? p.outputs : width;
  parallel.run(row_tasks * p.groups * slices, [&](int64_t task) {
    const int64_t part = task / (int64_t(p.groups) * slices);
    const int group = int(task / slices % p.groups), first = int(task % slices) * slice;
    const int last = std::min(p.inputs, first + slice);
    if (first >= last) return;
    const int64_t begin = p.rows * part / row_tasks, end = p.rows * (part + 1) / row_tasks;
    for (int64_t row = begin; row < end; row += block) {
      const int64_t some = std::min(block, end - row);
      // Only what lies in one piece.
      const int64_t lines = p.groups > 1 || row + some >= end ? 0 : some * int64_t(sizeof(T));
      const NextRows next{x + (row + some) * x_row, dy + (row + some) * dy_row, slices > 1 ? 0 : lines * x_row / kLine,
                          lines * dy_row / kLine};
      (row > begin ? accumulate<true, T>
                   : accumulate<false, T>)(x + row * x_row + int64_t(group) * p.inputs, x_row, p.inputs,
                                           dy + row * dy_row + int64_t(group) * p.outputs, dy_row, some, first, last,
                                           p.outputs, next, totals + part * size + group * p.inputs * total_row,
                                           total_row);
    }
  });
  if (in_place) return;
  parallel.run(std::min(p.inputs, parallel.threads), [&](int64_t task) {
    const int tasks = std::min(p.inputs, parallel.threads);
    for (int64_t k = p.inputs * task / tasks; k < p.inputs * (task + 1) / tasks; ++k)
      for (int group = 0; group < p.groups; ++group)
        for (int c = 0; c < p.outputs; c += kLanes) {
          Vec sum = {};
          for (int64_t part = 0; part < row_tasks; ++part)
            sum += load(totals + part * size + (group * int64_t(p.inputs) + k) * width + c);
          float* to = d_kernel + k * dy_row + int64_t(group) * p.outputs + c;
          if (p.outputs - c >= kLanes) store(to, sum);
          else store_some(to, sum, p.outputs - c);
        }
  });
}

template void pointwise_filter_gradient<float>(const Pointwise&, const float*, const float*, float*, const Parallel&);
template void pointwise_filter_gradient<bf16>(const Pointwise&, const bf16*, const bf16*, float*, const Parallel&);

}  // namespace blocks
