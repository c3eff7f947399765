// Tiles of a spatial convolution's outputs: their shapes, and how they are computed and written.
#pragma once

#include <algorithm>
#include <array>
#include <iterator>
#include <utility>

#include "epilogue.h"
#include "window.h"

namespace blocks {

// A tile's shape: rows, columns and vectors, 16 sums or a few less. What lies beyond the outputs is computed in vain.
struct TileShape {
  int rows, columns, vectors;

  bool operator==(const TileShape& other) const {
    return rows == other.rows && columns == other.columns && vectors == other.vectors;
  }
};

constexpr TileShape kShapes[] = {{1, 16, 1}, {1, 14, 1}, {2, 8, 1}, {2, 7, 1},
                                 {4, 4, 1},  {1, 8, 2},  {1, 7, 2}, {2, 4, 2}};

inline TileShape shape_of(int columns, int rows, int vectors) {
  TileShape best = kShapes[0];
  double min_cost = 1e300;
  for (const auto& shape : kShapes) {
    if (shape.vectors != vectors) continue;
    const double cost = double((columns + shape.columns - 1) / shape.columns) * ((rows + shape.rows - 1) / shape.rows) *
                        (shape.rows * shape.columns + 1);
    if (cost < min_cost) best = shape, min_cost = cost;
  }
  return best;
}

// Where a tile's outputs are written, and with what epilogue.
template <class T>
struct Target {
  const Epilogue<T>& epilogue;
  T* y;
  int64_t column_stride, row_stride;  // from one output to the next
  int channel;                        // the first one's
  int second_vector;                  // channels from the first vector to the second
  int lanes;
};

// What run_tile writes of the sums of a tile of `columns`: one function for tiles of all shapes, as the sums are in
// memory anyhow.
template <class T, int V>
[[gnu::noinline]] void write_sums(const Target<T>& target, const Vec* sums, int columns, int64_t start, int rows,
                                  int count) {
  // Copies: a store of an image's entries could change what is behind a reference, as far as the compiler knows.
  const T* const residual = target.epilogue.residual;
  T* const y = target.y;
  const int64_t row_stride = target.row_stride, column_stride = target.column_stride;
  const int lanes = target.lanes, second_vector = target.second_vector;
  with_activation(target.epilogue.activation, [=](auto activation) {
    for (int r = 0; r < rows; ++r)
      for (int v = 0; v < V; ++v) {
        const Vec* from = sums + r * columns * V + v;
        const int64_t first = start + r * row_stride + v * second_vector;
        if (lanes == kLanes && !residual) {
          T* to = y + first;
          for (int i = 0; i < count; ++i, to += column_stride, from += V) store(to, activate<activation>(*from));
          continue;
        }
        int64_t at = first;
        for (int i = 0; i < count; ++i, at += column_stride, from += V) {
          if (lanes == kLanes) store(y + at, activate<activation>(*from + load(residual + at)));
          else {
            Vec sum = *from;
            if (residual) sum += load_tail(residual + at, lanes);
            store_tail(y + at, activate<activation>(sum), lanes);
          }
        }
      }
  });
}

// `rows` by `count` outputs of a tile from `start` on.
template <class T, int R, int J, int V, bool MultiGroup>
void run_tile(const Target<T>& target, const Window& window, TileOrigin origin, int taps, int stride, int64_t start,
              int rows, int count, Prefetcher& prefetcher) {
  start += target.channel;
  if (MultiGroup)  // so little work that writing would have to wait for the memory
    for (int r = 0; r < rows; ++r)
      for (int i = 0; i < count; ++i)
        __builtin_prefetch(target.y + start + r * target.row_stride + i * target.column_stride, 1);
  Vec first[V] = {}, sums[R * J * V];
  if (const float* bias = target.epilogue.bias)
    for (int v = 0; v < V; ++v) first[v] = load_tail(bias + target.channel + v * target.second_vector, target.lanes);
  accumulate<R, J, V, MultiGroup>(window, origin, first, sums, taps, stride, prefetcher);
  write_sums<T, V>(target, sums, J, start, rows, count);
}

template <class T>
using Tile = decltype(&run_tile<T, 1, 16, 1, false>);

// The code for each of kShapes. Where vectors multi_group over several groups, they are taken one at a time.
template <class T, bool MultiGroup, size_t... I>
constexpr std::array<Tile<T>, sizeof...(I)> tiles_of(std::index_sequence<I...>) {
  return {run_tile < T, kShapes[I].rows, kShapes[I].columns, kShapes[I].vectors,
          MultiGroup && kShapes[I].vectors == 1 > ...};
}

// `shape` is one of kShapes.
template <class T, bool MultiGroup>
Tile<T> tile_of(const TileShape& shape) {
  constexpr auto tiles = tiles_of<T, MultiGroup>(std::make_index_sequence<std::size(kShapes)>());
  return tiles[std::find(std::begin(kShapes), std::end(kShapes), shape) - std::begin(kShapes)];
}

}  // namespace blocks
