// Tiles of a matrix product, and the panels that they read.
#pragma once

#include <algorithm>

#include "simd.h"

namespace blocks {

constexpr int kColumns = 2 * kLanes;  // of a tile
constexpr int64_t kNear = 1 << 18;    // floats that stay in a core's second-level cache (1 MiB)

inline int panels(int columns) { return (columns + kColumns - 1) / kColumns; }

// Memory that is needed soon: at each of its steps a tile fetches the line at `next`, and goes `step` bytes further.
struct Fetched {
  const char* next = kNothing;
  int64_t step = 0;
  int64_t tile = 0;  // bytes from what one tile fetches to what the next one does

  static constexpr char kNothing[kLine] = {};  // where there is nothing to fetch
  Fetched() = default;
  explicit Fetched(const void* from, int64_t step = kLine, int64_t tile = 0)
      : next(static_cast<const char*>(from)), step(step), tile(tile) {}
};

// What a tile sums up: products over one or several stretches of `depth` steps, each of which begins at its a and b.
struct Stretch {
  const float *a, *b;
};
struct Sum {
  const Stretch* stretches;
  int count;
  int64_t depth;
  int64_t row, next;   // of a, from one row of the tile, and one step, to the next
  int64_t width;       // of b, from one step to the next
  Fetched ahead = {};
};

// out[r] (V vectors) = sum over stretches and k of a[shift + r * row + k * next] * b[k * width ...], added to what is
// there if Add.
template <int R, int V, bool Add>
void tile(const Sum& sum, int64_t shift, float* out, int64_t out_row) {
  Vec acc[R][V];  // in registers, once every loop over it is unrolled
#pragma GCC unroll 16
  for (int r = 0; r < R; ++r)
#pragma GCC unroll 2
    for (int v = 0; v < V; ++v) acc[r][v] = Add ? load(out + r * out_row + v * kLanes) : Vec{};
  const int64_t row = sum.row, next = sum.next, width = sum.width, ahead_step = sum.ahead.step;
  const char* ahead = sum.ahead.next;
  for (int i = 0; i < sum.count; ++i) {
    const float *a = sum.stretches[i].a + shift, *b = sum.stretches[i].b;
    for (int64_t k = sum.depth; k > 0; --k, b += width, a += next) {
      Vec values[V];
      __builtin_prefetch(ahead);
      ahead += ahead_step;
#pragma GCC unroll 2
      for (int v = 0; v < V; ++v) values[v] = load(b + v * kLanes);
#pragma GCC unroll 16
      for (int r = 0; r < R; ++r) {
        const Vec value = splat(a[r * row]);
#pragma GCC unroll 2
        for (int v = 0; v < V; ++v) acc[r][v] += value * values[v];
      }
    }
  }
#pragma GCC unroll 16
  for (int r = 0; r < R; ++r)
#pragma GCC unroll 2
    for (int v = 0; v < V; ++v) store(out + r * out_row + v * kLanes, acc[r][v]);
}

typedef void (*Tile)(const Sum&, int64_t, float*, int64_t);

template <int V, bool Add>
Tile tile_of(int rows) {
  static constexpr Tile tiles[] = {nullptr,          tile<1, V, Add>,  tile<2, V, Add>,  tile<3, V, Add>,
                                   tile<4, V, Add>,  tile<5, V, Add>,  tile<6, V, Add>,  tile<7, V, Add>,
                                   tile<8, V, Add>,  tile<9, V, Add>,  tile<10, V, Add>, tile<11, V, Add>,
                                   tile<12, V, Add>, tile<13, V, Add>, tile<14, V, Add>};
  return tiles[rows];
}

// Rows of each tile, so that `rows` of them fall into tiles of nearly one size.
inline int even_rows(int64_t rows) {
  const int64_t tiles = (rows + kRows - 1) / kRows;
  return int((rows + tiles - 1) / tiles);
}

// Whether rows lie so far apart that those of a tile fall into the same few lines of the first-level cache.
inline bool aliased(int64_t row) { return row % 512 == 0; }

// Floats from one row to the next in a copy of rows of `columns` entries: whole vectors, and never aliased.
inline int64_t padded_row(int64_t columns) {
  const int64_t row = (columns + kLanes - 1) / kLanes * kLanes;
  return aliased(row) ? row + kLanes : row;
}

// Rows [0, rows) as float, into `wide`, `row` floats apart.
template <class T>
void widen(const T* from, int64_t rows, int64_t columns, int64_t stride, float* wide, int64_t row) {
  for (int64_t r = 0; r < rows; ++r) {
    int64_t c = 0;
    for (; c + kLanes <= columns; c += kLanes) store(wide + r * row + c, load(from + r * stride + c));
    if (c < columns) store(wide + r * row + c, load_some(from + r * stride + c, int(columns - c)));
  }
}

// The values where they lie, for a tile to read or write; nothing where they have to be converted.
inline float* as_is(float* values) { return values; }
inline float* as_is(bf16*) { return nullptr; }
inline const float* as_is(const float* values) { return values; }
inline const float* as_is(const bf16*) { return nullptr; }

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
  // Blocks of kLanes x kLanes where the entries of a column lie side by side, and the rest one by one.
  const int64_t whole = down == 1 ? depth / kLanes * kLanes : 0;
  const int columns_whole = count / kLanes * kLanes;
  for (int64_t k = 0; k < whole; k += kLanes)
    for (int c = 0; c < columns_whole; c += kLanes) {
      Vec block[kLanes];
      for (int i = 0; i < kLanes; ++i) block[i] = load(b + (first + c + i) * across + k);
      transpose(block);
      for (int i = 0; i < kLanes; ++i) store(out + (k + i) * kColumns + c, block[i]);
    }
  for (int64_t k = 0; k < depth; ++k)
    for (int c = k < whole ? columns_whole : 0; c < count; ++c)
      out[k * kColumns + c] = scalar(b[(first + c) * across + k * down]);
}

// Panels [begin, end), one after the other; strips of rows at a time, so that neighbouring panels share what is read.
template <class T>
void pack_several(const T* b, int64_t depth, int columns, int64_t down, int64_t across, int begin, int end,
                  float* out) {
  const int64_t strip = across == 1 ? 32 : depth;  // a transposed panel reads long pieces as it is
  for (int64_t start = 0; start < depth; start += strip) {
    const int64_t some = std::min(strip, depth - start);
    for (int panel = begin; panel < end; ++panel)
      pack(b + start * down, some, columns, down, across, panel * kColumns,
           out + ((panel - begin) * depth + start) * kColumns);
  }
}

}  // namespace blocks
