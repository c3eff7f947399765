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

// Factors of one step, which a word of 32 bits holds: one float, or a pair of bfloat16, whose products are summed up.
template <class F>
constexpr int kStepFactors = int(sizeof(float) / sizeof(F));
template <class F>
int64_t num_steps(int64_t factors) {
  return (factors + kStepFactors<F> - 1) / kStepFactors<F>;
}

inline Vec splat_step(const float* from) { return splat(*from); }
inline Vec multiply_add(const float*, Vec a, Vec b, Vec sum) { return sum + a * b; }
#if defined(__AVX512BF16__)
inline Vec splat_step(const bf16* from) {
  int32_t pair;
  std::memcpy(&pair, from, sizeof pair);
  return (Vec)_mm512_set1_epi32(pair);
}
inline Vec multiply_add(const bf16*, Vec a, Vec b, Vec sum) {
  return (Vec)_mm512_dpbf16_ps((__m512)sum, (__m512bh)a, (__m512bh)b);
}
#endif

// What a tile sums up: products over one or several segments of steps, each of which begins at its a, which are
// factors, and its b, which are words.
template <class F>
struct GemmSegment {
  const F* a;
  const float* b;
  int64_t steps;
};
template <class F>
struct GemmArgs {
  const GemmSegment<F>* segments;
  int num_segments;
  int64_t a_row_stride, a_step;  // factors from one row of the tile, and from one step, to the next
  int64_t b_step;                // words
  TilePrefetch prefetch = {};
};

// out[r] (V vectors) = sum over segments and k of a[shift + r * a_row_stride + k * a_step] * b[k * b_step ...], added
// to what is there if Add.
template <class F, int R, int V, bool Add>
void tile(const GemmArgs<F>& args, int64_t shift, float* out, int64_t out_row) {
  Vec acc[R][V];  // in registers, once every loop over it is unrolled
#pragma GCC unroll 16
  for (int r = 0; r < R; ++r)
#pragma GCC unroll 2
    for (int v = 0; v < V; ++v) acc[r][v] = Add ? load(out + r * out_row + v * kLanes) : Vec{};
  const int64_t row = args.a_row_stride, a_step = args.a_step, b_step = args.b_step;
  const int64_t prefetch_step = args.prefetch.step;
  const char* prefetch = args.prefetch.address;
  for (int i = 0; i < args.num_segments; ++i) {
    const F* a = args.segments[i].a + shift;
    const float* b = args.segments[i].b;
    for (int64_t k = args.segments[i].steps; k > 0; --k, b += b_step, a += a_step) {
      Vec values[V];
      __builtin_prefetch(prefetch);
      prefetch += prefetch_step;
#pragma GCC unroll 2
      for (int v = 0; v < V; ++v) values[v] = load(b + v * kLanes);
#pragma GCC unroll 16
      for (int r = 0; r < R; ++r) {
        const Vec value = splat_step(a + r * row);
#pragma GCC unroll 2
        for (int v = 0; v < V; ++v) acc[r][v] = multiply_add(a, value, values[v], acc[r][v]);
      }
    }
  }
#pragma GCC unroll 16
  for (int r = 0; r < R; ++r)
#pragma GCC unroll 2
    for (int v = 0; v < V; ++v) store(out + r * out_row + v * kLanes, acc[r][v]);
}

template <class F>
using Tile = void (*)(const GemmArgs<F>&, int64_t, float*, int64_t);

template <class F, int V, bool Add>
Tile<F> tile_of(int rows) {
  static constexpr Tile<F> tiles[] = {nullptr,
                                      tile<F, 1, V, Add>,
                                      tile<F, 2, V, Add>,
                                      tile<F, 3, V, Add>,
                                      tile<F, 4, V, Add>,
                                      tile<F, 5, V, Add>,
                                      tile<F, 6, V, Add>,
                                      tile<F, 7, V, Add>,
                                      tile<F, 8, V, Add>,
                                      tile<F, 9, V, Add>,
                                      tile<F, 10, V, Add>,
                                      tile<F, 11, V, Add>,
                                      tile<F, 12, V, Add>,
                                      tile<F, 13, V, Add>,
                                      tile<F, 14, V, Add>};
  return tiles[rows];
}

// The rows of each tile that divide `rows` into tiles of nearly one size.
inline int balanced_rows(int64_t rows) {
  const int64_t tiles = (rows + kTileRows - 1) / kTileRows;
  return int((rows + tiles - 1) / tiles);
}

// Memory of the calling thread, as scratch() in kernels.h, for factors.
template <class F>
F* factors_scratch(int slot, int64_t factors) {
  return reinterpret_cast<F*>(scratch(slot, num_steps<F>(factors)));
}

// Whether the rows of a tile, so many factors apart, fall into the same few sets of the first-level cache.
template <class F>
bool aliased(int64_t row) {
  return row * int64_t(sizeof(F)) % 2048 == 0;
}

// Factors from one row to the next in a copy of rows of `columns` entries: whole vectors, and never aliased.
template <class F>
int64_t padded_row(int64_t columns) {
  constexpr int64_t vector = kLanes * kStepFactors<F>;
  const int64_t row = (columns + vector - 1) / vector * vector;
  return aliased<F>(row) ? row + vector : row;
}

// Rows [0, rows) of `groups` times `depth` entries, `stride` apart, as factors, `row` apart, with zeros where the last
// step of a group is not full.
template <class T>
void copy_rows(const T* from, int64_t rows, int64_t groups, int64_t depth, int64_t stride, float* to, int64_t row) {
  const int64_t columns = groups * depth;
  for (int64_t r = 0; r < rows; ++r) {
    int64_t c = 0;
    for (; c + kLanes <= columns; c += kLanes) store(to + r * row + c, load(from + r * stride + c));
    if (c < columns) store(to + r * row + c, load_tail(from + r * stride + c, int(columns - c)));
  }
}
inline void copy_rows(const bf16* from, int64_t rows, int64_t groups, int64_t depth, int64_t stride, bf16* to,
                      int64_t row) {
  if (depth % kStepFactors<bf16> == 0) {
    depth *= groups;
    groups = 1;
  }
  const int64_t padded = num_steps<bf16>(depth) * kStepFactors<bf16>;
  for (int64_t r = 0; r < rows; ++r)
    for (int64_t group = 0; group < groups; ++group) {
      bf16* to_group = to + r * row + group * padded;
      std::memcpy(to_group, from + r * stride + group * depth, depth * sizeof(bf16));
      if (padded > depth) to_group[depth] = {};
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
void pack_floats(const T* b, int64_t depth, int columns, int64_t row_stride, int64_t column_stride, int first,
                 float* out) {
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

inline Vec round_to_bf16(Vec value) {
  bf16 rounded[kLanes];
  store(rounded, value);
  return load(rounded);
}

// Each word a pair: `low`, in the lower bits, and `high`, values that bfloat16 has.
inline Vec pairs(Vec low, Vec high) { return (Vec)(((Bits)low >> 16) | ((Bits)high & 0xffff0000)); }

// The same as words: of bfloat16 one holds rows 2k and 2k + 1, or a zero past the last.
template <class F, class T>
void pack(const T* b, int64_t depth, int columns, int64_t row_stride, int64_t column_stride, int first, float* out) {
  if constexpr (std::is_same_v<F, float>) pack_floats(b, depth, columns, row_stride, column_stride, first, out);
  else {
    float strip[2 * kLanes * kTileColumns];
    for (int64_t start = 0; start < depth; start += 2 * kLanes) {
      const int64_t height = std::min<int64_t>(2 * kLanes, depth - start);
      pack_floats(b + start * row_stride, height, columns, row_stride, column_stride, first, strip);
      for (int64_t k = 0; k < height; k += 2)
        for (int c = 0; c < kTileColumns; c += kLanes, out += kLanes) {
          const Vec low = load(strip + k * kTileColumns + c);
          const Vec high = k + 1 < height ? load(strip + (k + 1) * kTileColumns + c) : Vec{};
          store(out, sizeof(T) == sizeof(bf16) ? pairs(low, high) : pairs(round_to_bf16(low), round_to_bf16(high)));
        }
    }
  }
}

// Panels [begin, end), one after the other; strips of rows at a time, so that neighbouring panels share what is read.
template <class F, class T>
void pack_several(const T* b, int64_t depth, int columns, int64_t row_stride, int64_t column_stride, int begin, int end,
                  float* out) {
  const int64_t strip = column_stride == 1 ? 32 : depth;  // a transposed panel reads long rows as it is
  for (int64_t start = 0; start < depth; start += strip) {
    const int64_t height = std::min(strip, depth - start);
    for (int panel = begin; panel < end; ++panel)
      pack<F>(b + start * row_stride, height, columns, row_stride, column_stride, panel * kTileColumns,
              out + ((panel - begin) * num_steps<F>(depth) + start / kStepFactors<F>)*kTileColumns);
  }
}

}  // namespace blocks
