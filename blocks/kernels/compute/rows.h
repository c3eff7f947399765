// Rows of a matrix product: tiles one after the other, with bias, residual and activation.
#pragma once

#include <algorithm>

#include "tile.h"

namespace blocks {

template <class T>
struct Epilogue {
  const float* bias;
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

// Rows of y = a * B for one panel of B, of V vectors.
template <class T, int V>
void rows_of_panel(const Sum& sum, int columns, T* y, int64_t y_row, int64_t rows, const Epilogue<T>& e, int first,
                   Activation activation) {
  alignas(64) float buffer[kRows * kColumns];
  const int step = even_rows(rows);
  const bool whole = columns == V * kLanes;
  float* out = as_is(y);
  Sum of = sum;
  const auto next = [&](int64_t row) -> const Sum& {
    of.ahead.next = sum.ahead.next + row / step * sum.ahead.tile;
    return of;
  };
  if (out && whole && activation == Activation::kNone && !e.bias && !e.residual) {
    for (int64_t row = 0; row < rows; row += step)
      tile_of<V, false>(int(std::min<int64_t>(step, rows - row)))(next(row), row * sum.row, out + row * y_row, y_row);
    return;
  }
  with_activation(activation, [&](auto act) {
    constexpr Activation A = decltype(act)::value;
    for (int64_t row = 0; row < rows; row += step) {
      const int some = int(std::min<int64_t>(step, rows - row));
      tile_of<V, false>(some)(next(row), row * sum.row, buffer, kColumns);
      const Epilogue<T> here{e.bias, e.residual ? e.residual + row * e.residual_row : nullptr, e.residual_row};
      (whole ? finish<T, A, V, true> : finish<T, A, V, false>)(buffer, some, columns, y + row * y_row, y_row, here,
                                                               first);
    }
  });
}

template <class T>
void rows_of_panel(const Sum& sum, int columns, T* y, int64_t y_row, int64_t rows, const Epilogue<T>& e, int first,
                   Activation activation) {
  (columns > kLanes ? rows_of_panel<T, 2> : rows_of_panel<T, 1>)(sum, columns, y, y_row, rows, e, first, activation);
}

}  // namespace blocks
