// Tiles of a spatial convolution's outputs: their shapes, and how they are computed and written.
#pragma once

#include <algorithm>
#include <array>
#include <iterator>
#include <utility>

#include "window.h"

namespace blocks {

// A tile's shape: rows, columns and vectors, 16 sums or a few less. What lies beyond the outputs is computed in vain.
struct Shape {
  int rows, columns, vectors;

  bool operator==(const Shape& other) const {
    return rows == other.rows && columns == other.columns && vectors == other.vectors;
  }
};

// What is added to a sum, and how it is written.
template <class T>
struct Finish {
  const float* bias;
  const T* residual;
  Activation activation;
};

constexpr Shape kShapes[] = {{1, 16, 1}, {1, 14, 1}, {2, 8, 1}, {2, 7, 1}, {4, 4, 1}, {1, 8, 2}, {1, 7, 2}, {2, 4, 2}};

inline Shape shape_of(int columns, int rows, int vectors) {
  Shape best = kShapes[0];
  double least = 1e300;
  for (const auto& shape : kShapes) {
    if (shape.vectors != vectors) continue;
    const double cost = double((columns + shape.columns - 1) / shape.columns) * ((rows + shape.rows - 1) / shape.rows) *
                        (shape.rows * shape.columns + 1);
    if (cost < least) best = shape, least = cost;
  }
  return best;
}

// What is written: where, and what it is made of.
template <class T>
struct Target {
  const Finish<T>& finish;
  T* y;
  int64_t step, row_step;   // from one output to the next
  int channel, second;      // first of the outputs, and from the first vector's channel to that of the second
  int lanes;
};

// `rows` by `count` outputs of a tile from `start` on.
template <class T, int R, int J, int V, bool Spread>
void run_tile(const Target<T>& target, const Window& window, Place place, int taps, int stride, int64_t start, int rows,
              int count, Upcoming& next) {
  start += target.channel;
  if (Spread)  // so little work that writing would have to wait for the memory
    for (int r = 0; r < rows; ++r)
      for (int i = 0; i < count; ++i) __builtin_prefetch(target.y + start + r * target.row_step + i * target.step, 1);
  Vec first[V] = {}, sums[R * J * V];
  if (const float* bias = target.finish.bias)
    for (int v = 0; v < V; ++v) first[v] = load_some(bias + target.channel + v * target.second, target.lanes);
  accumulate<R, J, V, Spread>(window, place, first, sums, taps, stride, next);
  const T* residual = target.finish.residual;
  with_activation(target.finish.activation, [&](auto act) {
    for (int r = 0; r < rows; ++r)
      for (int v = 0; v < V; ++v) {
        int64_t at = start + r * target.row_step + v * target.second;
        for (int i = 0; i < count; ++i, at += target.step) {
          Vec sum = sums[(r * J + i) * V + v];
          if (target.lanes == kLanes) {
            if (residual) sum += load(residual + at);
            store(target.y + at, activate<decltype(act)::value>(sum));
          } else {
            if (residual) sum += load_some(residual + at, target.lanes);
            store_some(target.y + at, activate<decltype(act)::value>(sum), target.lanes);
          }
        }
      }
  });
}

template <class T>
using Tile = decltype(&run_tile<T, 1, 16, 1, false>);

// The code for each of kShapes. Where vectors spread over several groups, they are taken one at a time.
template <class T, bool Spread, size_t... I>
constexpr std::array<Tile<T>, sizeof...(I)> tiles_of(std::index_sequence<I...>) {
  return {run_tile < T, kShapes[I].rows, kShapes[I].columns, kShapes[I].vectors,
          Spread && kShapes[I].vectors == 1 > ...};
}

// `shape` is one of kShapes.
template <class T, bool Spread>
Tile<T> tile_of(const Shape& shape) {
  constexpr auto tiles = tiles_of<T, Spread>(std::make_index_sequence<std::size(kShapes)>());
  return tiles[std::find(std::begin(kShapes), std::end(kShapes), shape) - std::begin(kShapes)];
}

}  // namespace blocks
