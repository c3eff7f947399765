// Sums over a kernel's taps for a tile of neighbouring outputs, from rows that were staged beforehand.
#pragma once

#include <algorithm>

#include "simd.h"

namespace blocks {

constexpr int kMostRows = 4;     // of a tile
constexpr int kMostTaps = 11;    // rows of a kernel

// Pixels that will be staged after these tiles: memory is asked for them while the tiles are computed.
struct Ahead {
  const char* at;
  int pixels, tiles;   // that are left
  int64_t step;        // bytes from one pixel to the next

  Ahead(const void* from, int pixels_, int64_t step_, int tiles_)
      : at(static_cast<const char*>(from)), pixels(pixels_), tiles(tiles_), step(step_) {}

  // What one tile asks for.
  struct Share {
    const char* at;
    int64_t step;
    int count, each;   // pixels, and at a time
  };

  Share next(int times) {
    const int count = tiles > 0 ? (pixels + tiles - 1) / tiles : 0;
    const Share share = {at, step, count, (count + times - 1) / std::max(times, 1)};
    at += count * step;
    pixels -= count;
    --tiles;
    return share;
  }
};

// What a tile reads: for some rows of the kernel, one staged row of the source for each of its own rows, and the
// weights [depth][K][V][kLanes].
//
// A staged pixel has `depth` values, the same for all lanes, or, if Spread, one for each lane: its vector holds the
// channels of several groups, and each lane takes those of its own. `pixel` floats lie between neighbours.
struct Window {
  int64_t pixel;
  int depth;
  int count = 0;  // rows of the kernel
  const float* rows[kMostTaps][kMostRows];
  const float* weights[kMostTaps];
  Ahead::Share ahead;
};

// Value c of a pixel for all lanes. Spread: `index` says which of the pixel's channels each lane takes.
template <bool Spread>
inline Vec value_at(const float* pixel, int c, Bits index) {
  if (!Spread) return splat(pixel[c]);
#if defined(__clang__)
  const Vec value = load(pixel);
  Vec result;
  for (int lane = 0; lane < kLanes; ++lane) result[lane] = value[index[lane]];
  return result;
#else
  return __builtin_shuffle(load(pixel), index);
#endif
}

// The first channel of each lane's group, in vectors whose groups have `depth` channels.
inline Bits first_of_group(int depth) {
  Bits index;
  for (int lane = 0; lane < kLanes; ++lane) index[lane] = lane / depth * depth;
  return index;
}

// sums[r][j][v] += sum over taps t and values c of rows[r][j * S + t][c] * weights[c][t][v]
template <int K, int S, int R, int J, int V, bool Spread>
void accumulate(const Window& window, int64_t offset, Vec* sums) {
  Vec acc[R][J][V];  // in registers, once every loop over it is unrolled
#pragma GCC unroll 16
  for (int i = 0; i < R * J * V; ++i) acc[i / (J * V)][i / V % J][i % V] = sums[i];
  const Bits first = Spread ? first_of_group(window.depth) : Bits{};
  const char* ahead = window.ahead.at;
  int left = window.ahead.count;
  for (int i = 0; i < window.count; ++i) {
    const float* weights = window.weights[i];
    const float* rows[R];
#pragma GCC unroll 4
    for (int r = 0; r < R; ++r) rows[r] = window.rows[i][r] + offset;
    for (int c = 0; c < window.depth; ++c, weights += K * V * kLanes) {
      for (int n = std::min(left, window.ahead.each); n > 0; --n, --left, ahead += window.ahead.step)
        __builtin_prefetch(ahead);
      Vec taps[K][V];
#pragma GCC unroll 16
      for (int t = 0; t < K * V; ++t) taps[t / V][t % V] = load(weights + t * kLanes);
#pragma GCC unroll 4
      for (int r = 0; r < R; ++r) {
#pragma GCC unroll 40
        for (int p = 0; p < (J - 1) * S + K; ++p) {
          const Vec value = value_at<Spread>(rows[r] + p * window.pixel, c, first + c);
#pragma GCC unroll 8
          for (int t = 0; t < K; ++t)
            if (p >= t && (p - t) % S == 0 && (p - t) / S < J)
#pragma GCC unroll 2
              for (int v = 0; v < V; ++v) acc[r][(p - t) / S][v] += value * taps[t][v];
        }
      }
    }
  }
#pragma GCC unroll 16
  for (int i = 0; i < R * J * V; ++i) sums[i] = acc[i / (J * V)][i / V % J][i % V];
}

// The same for any number of taps and any step.
template <int R, int J, int V, bool Spread>
void accumulate_any(const Window& window, int64_t offset, Vec* sums, int taps, int step) {
  const Bits first = Spread ? first_of_group(window.depth) : Bits{};
  for (int i = 0; i < window.count; ++i) {
    const float* weights = window.weights[i];
    for (int c = 0; c < window.depth; ++c)
      for (int t = 0; t < taps; ++t, weights += V * kLanes)
        for (int r = 0; r < R; ++r) {
          const float* pixel = window.rows[i][r] + offset + t * window.pixel;
          for (int j = 0; j < J; ++j, pixel += step * window.pixel) {
            const Vec value = value_at<Spread>(pixel, c, first + c);
            for (int v = 0; v < V; ++v) sums[(r * J + j) * V + v] += value * load(weights + v * kLanes);
          }
        }
  }
}

template <int R, int J, int V, bool Spread>
void accumulate(const Window& window, int64_t offset, Vec* sums, int taps, int step) {
  switch (step * 100 + taps) {
    case 101: return accumulate<1, 1, R, J, V, Spread>(window, offset, sums);
    case 102: return accumulate<2, 1, R, J, V, Spread>(window, offset, sums);
    case 103: return accumulate<3, 1, R, J, V, Spread>(window, offset, sums);
    case 105: return accumulate<5, 1, R, J, V, Spread>(window, offset, sums);
    case 203: return accumulate<3, 2, R, J, V, Spread>(window, offset, sums);
    case 205: return accumulate<5, 2, R, J, V, Spread>(window, offset, sums);
    default: return accumulate_any<R, J, V, Spread>(window, offset, sums, taps, step);
  }
}

}  // namespace blocks
