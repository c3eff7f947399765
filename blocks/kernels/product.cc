// Pointwise convolution as matrix products: panels of the weights are packed, rows of the images are read in place.
#include <algorithm>
#include <vector>

#include "simd.h"

namespace blocks {

int fewest_channels() { return kLanes; }

float* scratch(int slot, int64_t floats) {
  static thread_local std::vector<float> buffers[4];
  auto& buffer = buffers[slot];
  if (int64_t(buffer.size()) < floats + kLanes) buffer.resize(floats + kLanes);
  const auto address = reinterpret_cast<uintptr_t>(buffer.data());
  return reinterpret_cast<float*>((address + kLanes * 4 - 1) / (kLanes * 4) * (kLanes * 4));
}

namespace {

constexpr int kColumns = 2 * kLanes;  // of a tile
constexpr int64_t kNear = 1 << 18;    // floats that stay in a core's second-level cache (1 MiB)

int panels(int columns) { return (columns + kColumns - 1) / kColumns; }

// out[r] (V vectors) = sum over k of a[r * row + k * next] * b[k * width ...], added to what is there if Add.
template <int R, int V, bool Add>
void tile(int64_t depth, const float* a, int64_t row, int64_t next, const float* b, int64_t width, float* out,
          int64_t out_row) {
  Vec acc[R][V];  // in registers, once every loop over it is unrolled
#pragma GCC unroll 16
  for (int r = 0; r < R; ++r)
#pragma GCC unroll 2
    for (int v = 0; v < V; ++v) acc[r][v] = Add ? load(out + r * out_row + v * kLanes) : Vec{};
  for (int64_t k = 0; k < depth; ++k, b += width, a += next) {
    Vec values[V];
#pragma GCC unroll 2
    for (int v = 0; v < V; ++v) values[v] = load(b + v * kLanes);
#pragma GCC unroll 16
    for (int r = 0; r < R; ++r) {
      const Vec value = splat(a[r * row]);
#pragma GCC unroll 2
      for (int v = 0; v < V; ++v) acc[r][v] += value * values[v];
    }
  }
#pragma GCC unroll 16
  for (int r = 0; r < R; ++r)
#pragma GCC unroll 2
    for (int v = 0; v < V; ++v) store(out + r * out_row + v * kLanes, acc[r][v]);
}

typedef void (*Tile)(int64_t, const float*, int64_t, int64_t, const float*, int64_t, float*, int64_t);

template <int V, bool Add>
Tile tile_of(int rows) {
  static constexpr Tile tiles[] = {nullptr,          tile<1, V, Add>,  tile<2, V, Add>,  tile<3, V, Add>,
                                   tile<4, V, Add>,  tile<5, V, Add>,  tile<6, V, Add>,  tile<7, V, Add>,
                                   tile<8, V, Add>,  tile<9, V, Add>,  tile<10, V, Add>, tile<11, V, Add>,
                                   tile<12, V, Add>, tile<13, V, Add>, tile<14, V, Add>};
  return tiles[rows];
}

// Rows of each tile, so that `rows` of them fall into tiles of nearly one size.
int even_rows(int64_t rows) {
  const int64_t tiles = (rows + kRows - 1) / kRows;
  return int((rows + tiles - 1) / tiles);
}

// A block of rows as float: in place where it is that already, else widened into scratch memory.
inline const float* as_float(const float* from, int64_t, int64_t, int64_t, int64_t& row, int) { return from; }
inline const float* as_float(const bf16* from, int64_t rows, int64_t columns, int64_t stride, int64_t& row, int slot) {
  row = (columns + kLanes - 1) / kLanes * kLanes;
  float* wide = scratch(slot, rows * row);
  for (int64_t r = 0; r < rows; ++r) {
    int64_t c = 0;
    for (; c + kLanes <= columns; c += kLanes) store(wide + r * row + c, load(from + r * stride + c));
    if (c < columns) store(wide + r * row + c, load_some(from + r * stride + c, int(columns - c)));
  }
  return wide;
}

// One panel of kColumns columns: out[k][column] = b[k * down + (first + column) * across], zeros past the last.
template <class T>
void pack(const T* b, int64_t depth, int columns, int64_t down, int64_t across, int first, float* out) {
  const int count = std::min(kColumns, columns - first);
  if (across == 1) {
    for (int64_t k = 0; k < depth; ++k) {
      const T* from = b + k * down + first;
      for (int c = 0; c < kColumns; c += kLanes) {
        const int some = std::max(0, std::min(kLanes, count - c));
        store(out + k * kColumns + c, some == kLanes ? load(from + c) : some ? load_some(from + c, some) : Vec{});
      }
    }
    return;
  }
  if (count < kColumns) std::memset(out, 0, sizeof(float) * depth * kColumns);
  constexpr int64_t kStrip = 32;  // rows of the transposed panel written at once: they stay in the first-level cache
  for (int64_t start = 0; start < depth; start += kStrip) {
    const int64_t stop = std::min(depth, start + kStrip);
    for (int c = 0; c < count; ++c) {
      const T* from = b + (first + c) * across;
      for (int64_t k = start; k < stop; ++k) out[k * kColumns + c] = scalar(from[k * down]);
    }
  }
}

template <class T>
struct Epilogue {
  const T* bias;
  const T* residual;
  int64_t residual_row;
};

// Writes a tile of `rows` x `columns` from its buffer: bias, residual, activation. Whole: columns fill V vectors.
template <class T, Activation A, int V, bool Whole>
void finish(const float* buffer, int rows, int columns, T* y, int64_t y_row, const Epilogue<T>& e, int first) {
  for (int r = 0; r < rows; ++r) {
    for (int v = 0; v < V; ++v) {
      const int c = v * kLanes, some = Whole ? kLanes : std::min(kLanes, columns - c);
      Vec z = load(buffer + r * kColumns + c);
      if (e.bias) z += some == kLanes ? load(e.bias + first + c) : load_some(e.bias + first + c, some);
      if (e.residual) {
        const T* from = e.residual + r * e.residual_row + first + c;
        z += some == kLanes ? load(from) : load_some(from, some);
      }
      z = activate<A>(z);
      if (some == kLanes) store(y + r * y_row + c, z);
      else store_some(y + r * y_row + c, z, some);
    }
  }
}

inline bool in_place(float* y, float*& out) { return out = y, true; }
inline bool in_place(bf16*, float*&) { return false; }

// Rows of y = a * B for one panel of B, of V vectors.
template <class T, int V>
void rows_of_panel(const float* a, int64_t a_row, int64_t depth, const float* panel, int columns, T* y, int64_t y_row,
                   int64_t rows, const Epilogue<T>& e, int first, Activation activation) {
  alignas(64) float buffer[kRows * kColumns];
  const int step = even_rows(rows);
  const bool whole = columns == V * kLanes;
  float* out = nullptr;
  if (whole && activation == Activation::kNone && !e.bias && !e.residual && in_place(y, out)) {
    for (int64_t row = 0; row < rows; row += step)
      tile_of<V, false>(int(std::min<int64_t>(step, rows - row)))(depth, a + row * a_row, a_row, 1, panel, kColumns,
                                                                  out + row * y_row, y_row);
    return;
  }
  with_activation(activation, [&](auto act) {
    constexpr Activation A = decltype(act)::value;
    for (int64_t row = 0; row < rows; row += step) {
      const int some = int(std::min<int64_t>(step, rows - row));
      tile_of<V, false>(some)(depth, a + row * a_row, a_row, 1, panel, kColumns, buffer, kColumns);
      const Epilogue<T> here{e.bias, e.residual ? e.residual + row * e.residual_row : nullptr, e.residual_row};
      (whole ? finish<T, A, V, true> : finish<T, A, V, false>)(buffer, some, columns, y + row * y_row, y_row, here,
                                                               first);
    }
  });
}

template <class T>
void rows_of_panel(const float* a, int64_t a_row, int64_t depth, const float* panel, int columns, T* y, int64_t y_row,
                   int64_t rows, const Epilogue<T>& e, int first, Activation activation) {
  (columns > kLanes ? rows_of_panel<T, 2> : rows_of_panel<T, 1>)(a, a_row, depth, panel, columns, y, y_row, rows, e,
                                                                 first, activation);
}

// y (rows, groups * columns) = x (rows, groups * depth) times one matrix a group.
// Entry (k, c) of group g's matrix is b[g * apart + k * down + c * across].
template <class T>
void products(int64_t rows, int groups, int depth, int columns, const T* x, const T* b, int64_t apart, int64_t down,
              int64_t across, T* y, const T* bias, const T* residual, Activation activation,
              const Parallel& parallel) {
  const int64_t x_row = int64_t(groups) * depth, y_row = int64_t(groups) * columns;
  const int count = panels(columns);
  const int64_t panel_size = int64_t(depth) * kColumns;
  const Epilogue<T> epilogue{bias, residual, y_row};
  const bool few_rows = rows * x_row < int64_t(groups) * depth * columns && rows * depth <= 4 * kNear;
  if (few_rows) {
    // The weights outweigh the images: a task packs one panel and takes all rows through it.
    int64_t a_row = x_row;
    const float* wide = as_float(x, rows, x_row, x_row, a_row, kShared);
    parallel.run(int64_t(groups) * count, [&](int64_t task) {
      const int group = int(task / count), first = int(task % count) * kColumns;
      float* panel = scratch(2, panel_size);
      pack(b + group * apart, depth, columns, down, across, first, panel);
      const float* a = wide + int64_t(group) * depth;
      rows_of_panel(a, a_row, depth, panel, std::min(kColumns, columns - first), y + int64_t(group) * columns + first,
                    y_row, rows, epilogue, group * columns + first, activation);
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
    int64_t a_row = x_row;
    const float* a = as_float(x + begin * x_row, some, x_row, x_row, a_row, 1);
    const Epilogue<T> here{bias, residual ? residual + begin * y_row : nullptr, y_row};
    for (int group = 0; group < groups; ++group)
      for (int panel = 0; panel < count; ++panel)
        rows_of_panel(a + int64_t(group) * depth, a_row, depth, packed + (int64_t(group) * count + panel) * panel_size,
                      std::min(kColumns, columns - panel * kColumns),
                      y + begin * y_row + int64_t(group) * columns + panel * kColumns, y_row, some, here,
                      group * columns + panel * kColumns, activation);
  });
}

// Columns [first, first + width) of some rows, one after the other: out[r * width + i].
template <class T>
void pack_rows(const T* x, int64_t x_row, int64_t rows, int first, int width, int64_t columns, float* out) {
  const int64_t room = columns - first;  // what may be read of a row
  for (int64_t r = 0; r < rows; ++r, x += x_row, out += width) {
    // Whole vectors, the end of which the next row overwrites.
    store(out, room >= kLanes ? load(x + first) : load_some(x + first, int(std::min<int64_t>(room, width))));
  }
}

// Whether float rows are read in place: not worth a copy where few tiles use it.
inline const float* unpacked(const float* from, bool enough) { return enough ? nullptr : from; }
inline const float* unpacked(const bf16*, bool) { return nullptr; }

// total[k][c] += sum over rows of x[row][k] * dy[row][c], for k in [first, last): one group's part.
template <class T>
void accumulate(const T* x, int64_t x_row, int64_t inputs, const T* dy, int64_t dy_row, int64_t rows, int first,
                int last, int columns, float* total, int64_t total_row) {
  const int step = even_rows(last - first);
  const float* x_direct = unpacked(x, columns > 2 * kColumns && inputs > 64);
  const float* dy_direct = unpacked(dy, last - first > 2 * step || columns % kLanes);
  float* packed = scratch(1, rows * (last - first + step) + kLanes);
  for (int k = first; k < last && !x_direct; k += step)
    pack_rows(x, x_row, rows, k, std::min(step, last - k), inputs, packed + rows * (k - first));
  float* panel = scratch(2, rows * kColumns);
  for (int c = 0; c < columns; c += kColumns) {
    if (!dy_direct) pack(dy, rows, columns, dy_row, 1, c, panel);
    for (int k = first; k < last; k += step) {
      const int some = std::min(step, last - k);
      const Tile run = columns - c > kLanes ? tile_of<2, true>(some) : tile_of<1, true>(some);
      run(rows, x_direct ? x_direct + k : packed + rows * (k - first), 1, x_direct ? x_row : some,
          dy_direct ? dy_direct + c : panel, dy_direct ? dy_row : kColumns, total + k * total_row + c, total_row);
    }
  }
}

}  // namespace

template <class T>
void pointwise(const Pointwise& p, const T* x, const T* kernel, const T* bias, const T* residual, T* y,
               Activation activation, const Parallel& parallel) {
  products(p.rows, p.groups, p.inputs, p.outputs, x, kernel, p.outputs, int64_t(p.groups) * p.outputs, 1, y, bias,
           residual, activation, parallel);
}

template <class T>
void pointwise_input_gradient(const Pointwise& p, const T* dy, const T* kernel, T* dx, const Parallel& parallel) {
  products<T>(p.rows, p.groups, p.outputs, p.inputs, dy, kernel, p.outputs, 1, int64_t(p.groups) * p.outputs, dx,
              nullptr, nullptr, Activation::kNone, parallel);
}

template <class T>
void pointwise_filter_gradient(const Pointwise& p, const T* x, const T* dy, T* d_kernel, const Parallel& parallel) {
  const int64_t x_row = int64_t(p.groups) * p.inputs, dy_row = int64_t(p.groups) * p.outputs;
  const int64_t width = int64_t(panels(p.outputs)) * kColumns;  // of a group's totals
  const int64_t size = int64_t(p.groups) * p.inputs * width;
  // Either the rows are shared out, each task with totals of its own, or, where those would be large, the inputs.
  const int64_t most = parallel.threads == 1 ? 1 : parallel.threads * 2;
  int64_t row_tasks = std::max<int64_t>(1, std::min<int64_t>(most, p.rows / 256));
  if (size > 4 * kNear || row_tasks < parallel.threads) row_tasks = 1;
  const int slices = row_tasks > 1 ? 1 : int(std::min<int64_t>((p.inputs + kRows - 1) / kRows, most));
  const int slice = ((p.inputs + slices - 1) / slices + kRows - 1) / kRows * kRows;
  const int64_t block = 128;  // rows whose share of a panel stays in the first-level cache
  float* totals = scratch(kShared, row_tasks * size);
  parallel.run(row_tasks * p.groups * slices, [&](int64_t task) {
    const int64_t part = task / (int64_t(p.groups) * slices);
    const int group = int(task / slices % p.groups), first = int(task % slices) * slice;
    const int last = std::min(p.inputs, first + slice);
    if (first >= last) return;
    std::memset(totals + part * size + (int64_t(group) * p.inputs + first) * width, 0,
                sizeof(float) * (last - first) * width);
    const int64_t end = p.rows * (part + 1) / row_tasks;
    for (int64_t row = p.rows * part / row_tasks; row < end; row += block) {
      const int64_t some = std::min(block, end - row);
      accumulate(x + row * x_row + int64_t(group) * p.inputs, x_row, p.inputs,
                 dy + row * dy_row + int64_t(group) * p.outputs, dy_row, some, first, last, p.outputs,
                 totals + part * size + group * p.inputs * width, width);
    }
  });
  parallel.run(std::min(p.inputs, parallel.threads), [&](int64_t task) {
    const int tasks = std::min(p.inputs, parallel.threads);
    for (int64_t k = p.inputs * task / tasks; k < p.inputs * (task + 1) / tasks; ++k)
      for (int group = 0; group < p.groups; ++group)
        for (int c = 0; c < p.outputs; c += kLanes) {
          Vec sum = {};
          for (int64_t part = 0; part < row_tasks; ++part)
            sum += load(totals + part * size + (group * int64_t(p.inputs) + k) * width + c);
          T* to = d_kernel + k * dy_row + int64_t(group) * p.outputs + c;
          if (p.outputs - c >= kLanes) store(to, sum);
          else store_some(to, sum, p.outputs - c);
        }
  });
}

#define BLOCKS_INSTANTIATE(T)                                                                                      \
  template void pointwise<T>(const Pointwise&, const T*, const T*, const T*, const T*, T*, Activation,             \
                             const Parallel&);                                                                     \
  template void pointwise_input_gradient<T>(const Pointwise&, const T*, const T*, T*, const Parallel&);            \
  template void pointwise_filter_gradient<T>(const Pointwise&, const T*, const T*, T*, const Parallel&);
BLOCKS_INSTANTIATE(float)
BLOCKS_INSTANTIATE(bf16)

}  // namespace blocks
