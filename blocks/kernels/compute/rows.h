// Rows of a matrix product: tiles one after the other, with their epilogue.
#pragma once

#include <algorithm>

#include "epilogue.h"
#include "tile.h"

namespace blocks {

// Writes a tile of `rows` x `columns` from its buffer, with its epilogue. Whole: columns fill V vectors.
template <class T, Activation A, int V, bool Whole>
void write_tile(const float* buffer, int rows, int columns, T* y, int64_t y_row, const Epilogue<T>& epilogue,
                int first) {
  for (int r = 0; r < rows; ++r) {
    for (int v = 0; v < V; ++v) {
      const int c = v * kLanes, lanes = Whole ? kLanes : std::min(kLanes, columns - c);
      Vec z = load(buffer + r * kTileColumns + c);
      if (const float* bias = epilogue.bias)
        z += lanes == kLanes ? load(bias + first + c) : load_tail(bias + first + c, lanes);
      if (epilogue.residual) {
        const T* from = epilogue.residual + r * y_row + first + c;
        z += lanes == kLanes ? load(from) : load_tail(from, lanes);
      }
      z = activate<A>(z);
      if (lanes == kLanes) store(y + r * y_row + c, z);
      else store_tail(y + r * y_row + c, z, lanes);
    }
  }
}

// Rows of y = a * B for one panel of B, of V vectors, whose first column is column `first` of all.
template <class T, int V, class F>
void rows_of_panel(const GemmArgs<F>& args, int columns, T* y, int64_t y_row, int64_t rows, const Epilogue<T>& epilogue,
                   int first) {
  alignas(64) float buffer[kTileRows * kTileColumns];
  const int step = balanced_rows(rows);
  const bool whole = columns == V * kLanes;
  float* out = float_or_null(y);
  GemmArgs<F> tile_args = args;
  const auto args_of = [&](int64_t row) -> const GemmArgs<F>& {
    tile_args.prefetch.address = args.prefetch.address + row / step * args.prefetch.tile_stride;
    return tile_args;
  };
  if (out && whole && epilogue.activation == Activation::kNone && !epilogue.bias && !epilogue.residual) {
    for (int64_t row = 0; row < rows; row += step)
      tile_of<F, V, false>(int(std::min<int64_t>(step, rows - row)))(args_of(row), row * args.a_row_stride,
                                                                     out + row * y_row, y_row);
    return;
  }
  with_activation(epilogue.activation, [&](auto activation) {
    constexpr Activation A = activation;
    for (int64_t row = 0; row < rows; row += step) {
      const int count = int(std::min<int64_t>(step, rows - row));
      tile_of<F, V, false>(count)(args_of(row), row * args.a_row_stride, buffer, kTileColumns);
      (whole ? write_tile<T, A, V, true> : write_tile<T, A, V, false>)(buffer, count, columns, y + row * y_row, y_row,
                                                                       epilogue.shifted(row * y_row), first);
    }
  });
}

template <class T, class F>
void rows_of_panel(const GemmArgs<F>& args, int columns, T* y, int64_t y_row, int64_t rows, const Epilogue<T>& epilogue,
                   int first) {
  (columns > kLanes ? rows_of_panel<T, 2, F> : rows_of_panel<T, 1, F>)(args, columns, y, y_row, rows, epilogue, first);
}

}  // namespace blocks
