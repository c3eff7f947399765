// Tiles of a matrix product, and the panels that they read.
#pragma once

#include <algorithm>

#include "simd.h"

namespace blocks {

constexpr int kTileColumns = 2 * kLanes;
constexpr int64_t kL2Floats = 1 << 18;  // that stay in a core's second-level cache (1 MiB)

inline int num_panels(int columns) { return (columns + kTileColumns - 1) / kTileColumns; }

// What a tile prefetches: at each step of its depth the line at `address`, which then goes `step` bytes further.
struct TilePrefetch {
  const char* address = kNothing;
  int64_t step = 0;
  int64_t tile_stride = 0;  // bytes from what one tile prefetches to what the next one does

  static constexpr char kNothing[kCacheLine] = {};  // where there is nothing to prefetch
  TilePrefetch() = default;
  explicit TilePrefetch(const void* from, int64_t step = kCacheLine, int64_t tile_stride = 0)
      : address(static_cast<const char*>(from)), step(step), tile_stride(tile_stride) {}
};

// What a tile sums up: products over one or several segments of `depth` steps, each of which begins at its a and b.
struct GemmSegment {
  const float *a, *b;
};
struct GemmArgs {
  const GemmSegment* segments;
  int num_segments;
  int64_t depth;
  int64_t a_row_stride, a_step;  // from one row of the tile, and from one step, to the next
  int64_t b_step;
  TilePrefetch prefetch = {};
};

// out[r] (V vectors) = sum over segments and k of a[shift + r * a_row_stride + k * a_step] * b[k * b_step ...], added
// to what is there if Add.
template <int R, int V, bool Add>
void tile(const GemmArgs& args, int64_t shift, float* out, int64_t out_row) {
  Vec acc[R][V];  // in registers, once every loop over it is unrolled
#pragma GCC unroll 16
  for (int r = 0; r < R; ++r)
#pragma GCC unroll 2
    for (int v = 0; v < V; ++v) acc[r][v] = Add ? load(out + r * out_row + v * kLanes) : Vec{};
  const int64_t row = args.a_row_stride, a_step = args.a_step, b_step = args.b_step;
  const int64_t prefetch_step = args.prefetch.step;
  const char* prefetch = args.prefetch.address;
  for (int i = 0; i < args.num_segments; ++i) {
    const float *a = args.segments[i].a + shift, *b = args.segments[i].b;
    for (int64_t k = args.depth; k > 0; --k, b += b_step, a += a_step) {
      Vec values[V];
      __builtin_prefetch(prefetch);
      prefetch += prefetch_step;
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

typedef void (*Tile)(const GemmArgs&, int64_t, float*, int64_t);

template <int V, bool Add>
Tile tile_of(int rows) {
  static constexpr Tile tiles[] = {nullptr,          tile<1, V, Add>,  tile<2, V, Add>,  tile<3, V, Add>,
                                   tile<4, V, Add>,  tile<5, V, Add>,  tile<6, V, Add>,  tile<7, V, Add>,
                                   tile<8, V, Add>,  tile<9, V, Add>,  tile<10, V, Add>, tile<11, V, Add>,
                                   tile<12, V, Add>, tile<13, V, Add>, tile<14, V, Add>};
  return tiles[rows];
}

// The rows of each tile that divide `rows` into tiles of nearly one size.
inline int balanced_rows(int64_t rows) {
  const int64_t tiles = (rows + kTileRows - 1) / kTileRows;
  return int((rows + tiles - 1) / tiles);
}

// Whether the rows of a tile fall into the same few sets of the first-level cache.
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
    if (c < columns) store(wide + r * row + c, load_tail(from + r * stride + c, int(columns - c)));
  }
}

// The values in place, for a tile to read or write; null where they have to be converted.
inline float* float_or_null(float* values) { return values; }
inline float* float_or_null(bf16*) { return nullptr; }
inline const float* float_or_null(const float* values) { return values; }
inline const float* float_or_null(const bf16*) { return nullptr; }

// One panel of kTileColumns columns: out[k][column] = b[k * row_stride + (first + column) * column_stride], zeros past
// the last.
template <class T>
void pack(const T* b, int64_t depth, int columns, int64_t row_stride, int64_t column_stride, int first, float* out) {
  const int count = std::min(kTileColumns, columns - first);
  if (column_stride == 1) {
    for (int64_t k = 0; k < depth; ++k) {
      const T* from = b + k * row_stride + first;
      for (int c = 0; c < kTileColumns; c += kLanes) {
        const int lanes = std::max(0, std::min(kLanes, count - c));
        store(out + k * kTileColumns + c, lanes == kLanes ? load(from + c)
                                          : lanes         ? load_tail(from + c, lanes)
                                                          : Vec{});
      }
    }
    return;
  }
  if (count < kTileColumns) std::memset(out, 0, sizeof(float) * depth * kTileColumns);
  // Blocks of kLanes x kLanes where the entries of a column are contiguous, and the rest one by one.
  const int64_t whole = row_stride == 1 ? depth / kLanes * kLanes : 0;
  const int whole_columns = count / kLanes * kLanes;
  for (int64_t k = 0; k < whole; k += kLanes)
    for (int c = 0; c < whole_columns; c += kLanes) {
      Vec block[kLanes];
      for (int i = 0; i < kLanes; ++i) block[i] = load(b + (first + c + i) * column_stride + k);
      transpose(block);
      for (int i = 0; i < kLanes; ++i) store(out + (k + i) * kTileColumns + c, block[i]);
    }
  for (int64_t k = 0; k < depth; ++k)
    for (int c = k < whole ? whole_columns : 0; c < count; ++c)
      out[k * kTileColumns + c] = scalar(b[(first + c) * column_stride + k * row_stride]);
}

// Panels [begin, end), one after the other; strips of rows at a time, so that neighbouring panels share what is read.
template <class T>
void pack_several(const T* b, int64_t depth, int columns, int64_t row_stride, int64_t column_stride, int begin, int end,
                  float* out) {
  const int64_t strip = column_stride == 1 ? 32 : depth;  // a transposed panel reads long rows as it is
  for (int64_t start = 0; start < depth; start += strip) {
    const int64_t height = std::min(strip, depth - start);
    for (int panel = begin; panel < end; ++panel)
      pack(b + start * row_stride, height, columns, row_stride, column_stride, panel * kTileColumns,
           out + ((panel - begin) * depth + start) * kTileColumns);
  }
}

}  // namespace blocks
