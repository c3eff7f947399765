// Sums over a kernel's taps for a tile of neighbouring outputs, from rows that were staged beforehand.
#pragma once

#include <algorithm>
#include <utility>

#include "simd.h"
#include "taps.h"

namespace blocks {

constexpr int kMostRows = 4;     // of a tile
constexpr int kMostTaps = 11;    // rows of a kernel

// Memory that is needed next: pieces of it, `step` bytes apart.
struct Ahead {
  const char* at = nullptr;
  int64_t step = 0;
  int pieces = 0;  // none are left where it is not positive

  Ahead() = default;
  Ahead(const void* from, int64_t pieces_, int64_t step_)
      : at(static_cast<const char*>(from)), step(step_), pieces(int(pieces_)) {}
  // As many pieces, `bytes` further on.
  Ahead shifted(int64_t bytes) const {
    Ahead result = *this;
    result.at += bytes;
    return result;
  }
};

// Two of these, one after the other, are fetched into the second-level cache while other things are computed. Each of
// these, a tile say, asks for a few pieces of one of them at a time, `goes` times: nothing has to be counted meanwhile.
struct Upcoming {
  Ahead first, second;
  int goes = 1, at_a_time = 0;

  struct Share {
    const char* at = nullptr;
    int64_t step = 0;
    int at_a_time = 0;

    void ask() {
      for (int n = at_a_time; n > 0; --n, at += step) __builtin_prefetch(at, 0, 2);
    }
  };

  // Sets how many are asked for at a time, so that `shares` shares are enough for so many pieces.
  void divide(int pieces, int shares, int goes_) {
    goes = goes_, at_a_time = (pieces + shares * goes - 1) / (shares * goes);
  }
  Share next() {
    Ahead& of = first.pieces > 0 ? first : second;
    Share share;
    const int pieces = goes * at_a_time;
    if (of.pieces * 4 < pieces) return share;  // more trouble than they are worth
    share.at = of.at, share.step = of.step, share.at_a_time = at_a_time;
    of.at += pieces * of.step;
    of.pieces -= pieces;
    return share;
  }
};

// What a row of tiles reads, in any block of staged channels: for some rows of the kernel, one staged row of the source
// for each row of a tile, and the weights [depth][K][V][kLanes]. All are offsets in floats.
//
// A staged pixel has `depth` values, the same for all lanes, or, if Spread, one for each lane: its vector holds the
// channels of several groups, and each lane takes those of its own. `pixel` floats lie between neighbours.
struct Window {
  int pixel;
  int depth;
  int count;  // rows of the kernel
  int rows[kMostTaps][kMostRows];
  int weights[kMostTaps];
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

// Where a tile's window is: the staged pixel of its first output's first tap, and the weights.
struct Place {
  const float *pixels, *weights;
};

// sums[r][j][v] = first[v] + sum over taps t and values c of rows[r][j * S + t][c] * weights[c][t][v]
// `Pixel` is the window's where it is known beforehand, else 0.
template <int K, int S, int R, int J, int V, bool Spread, int Pixel>
void accumulate(const Window& window, Place place, const Vec* first, Vec* sums, Upcoming& next) {
  Vec acc[R][J][V];  // in registers, once every loop over it is unrolled
#pragma GCC unroll 16
  for (int i = 0; i < R * J * V; ++i) acc[i / (J * V)][i / V % J][i % V] = first[i % V];
  const Bits lane = Spread ? first_of_group(window.depth) : Bits{};
  const int64_t pixel = Pixel ? Pixel : window.pixel;
  Upcoming::Share ahead = next.next();
  for (int i = 0; i < window.count; ++i) {
    const float* weights = place.weights + window.weights[i];
    const float* rows[R];
#pragma GCC unroll 4
    for (int r = 0; r < R; ++r) rows[r] = place.pixels + window.rows[i][r];
    for (int c = 0; c < window.depth; ++c, weights += K * V * kLanes) {
      ahead.ask();
      Vec taps[K][V];
#pragma GCC unroll 16
      for (int t = 0; t < K * V; ++t) taps[t / V][t % V] = load(weights + t * kLanes);
#pragma GCC unroll 4
      for (int r = 0; r < R; ++r) {
#pragma GCC unroll 40
        for (int p = 0; p < (J - 1) * S + K; ++p) {
          const Vec value = value_at<Spread>(rows[r] + p * pixel, c, lane + c);
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
void accumulate_any(const Window& window, Place place, const Vec* first, Vec* sums, int taps, int step) {
  for (int i = 0; i < R * J * V; ++i) sums[i] = first[i % V];
  const Bits lane = Spread ? first_of_group(window.depth) : Bits{};
  for (int i = 0; i < window.count; ++i) {
    const float* weights = place.weights + window.weights[i];
    for (int c = 0; c < window.depth; ++c)
      for (int t = 0; t < taps; ++t, weights += V * kLanes)
        for (int r = 0; r < R; ++r) {
          const float* pixel = place.pixels + window.rows[i][r] + t * window.pixel;
          for (int j = 0; j < J; ++j, pixel += step * window.pixel) {
            const Vec value = value_at<Spread>(pixel, c, lane + c);
            for (int v = 0; v < V; ++v) sums[(r * J + j) * V + v] += value * load(weights + v * kLanes);
          }
        }
  }
}

template <int K, int S, int R, int J, int V, bool Spread>
void accumulate(const Window& window, Place place, const Vec* first, Vec* sums, Upcoming& next) {
  if (Spread || window.pixel == kLanes)
    return accumulate<K, S, R, J, V, Spread, kLanes>(window, place, first, sums, next);
  if (window.pixel == 2 * kLanes) return accumulate<K, S, R, J, V, false, 2 * kLanes>(window, place, first, sums, next);
  accumulate<K, S, R, J, V, false, 0>(window, place, first, sums, next);
}

template <int R, int J, int V, bool Spread>
void accumulate(const Window& window, Place place, const Vec* first, Vec* sums, int taps, int step, Upcoming& next) {
  using Unrolled = TapsList<Taps<1, 1>, Taps<2, 1>, Taps<3, 1>, Taps<5, 1>, Taps<3, 2>, Taps<5, 2>>;
  with_taps(
      Unrolled(), taps, step,
      [&](auto known) {
        accumulate<decltype(known)::count, decltype(known)::stride, R, J, V, Spread>(window, place, first, sums, next);
      },
      [&] { accumulate_any<R, J, V, Spread>(window, place, first, sums, taps, step); });
}

}  // namespace blocks
