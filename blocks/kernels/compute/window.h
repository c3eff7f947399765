// Sums over a kernel's taps for a tile of neighbouring outputs, from rows that were staged beforehand.
#pragma once

#include <algorithm>
#include <utility>

#include "simd.h"
#include "taps.h"

namespace blocks {

constexpr int kMaxTileRows = 4;
constexpr int kMaxKernelRows = 11;

// Memory that is needed next: `count` lines, `step` bytes apart.
struct PrefetchRange {
  const char* address = nullptr;
  int64_t step = 0;
  int count = 0;  // none are left where it is not positive

  PrefetchRange() = default;
  PrefetchRange(const void* address_, int64_t count_, int64_t step_)
      : address(static_cast<const char*>(address_)), step(step_), count(int(count_)) {}
  // As many lines, `bytes` further on.
  PrefetchRange shifted(int64_t bytes) const {
    PrefetchRange result = *this;
    if (count > 0) result.address += bytes;
    return result;
  }
};

// Prefetches two ranges, one after the other, into the second-level cache while other things are computed. Each of
// these, a tile say, has a stream of one range's lines and issues a few of them at a time, `issues` times: nothing has
// to be counted meanwhile.
struct Prefetcher {
  PrefetchRange first, second;
  int issues = 1, lines_per_issue = 0;

  struct Stream {
    const char* address = nullptr;
    int64_t step = 0;
    int lines_per_issue = 0;

    void issue() {
      for (int n = lines_per_issue; n > 0; --n, address += step) __builtin_prefetch(address, 0, 2);
    }
  };

  // Sets how many lines are issued at a time, so that `streams` streams are enough for `lines` lines.
  void schedule(int lines, int streams, int issues_) {
    issues = issues_, lines_per_issue = (lines + streams * issues - 1) / (streams * issues);
  }
  Stream next_stream() {
    PrefetchRange& range = first.count > 0 ? first : second;
    Stream stream;
    const int lines = issues * lines_per_issue;
    if (range.count * 4 < lines) return stream;  // more trouble than they are worth
    stream.address = range.address, stream.step = range.step, stream.lines_per_issue = lines_per_issue;
    range.address += lines * range.step;
    range.count -= lines;
    return stream;
  }
};

// What a row of tiles reads, in any block of staged channels: for some rows of the kernel, one staged row of the source
// for each row of a tile, and the weights [depth][K][V][kLanes]. All are offsets in floats.
//
// A staged pixel has `depth` values, the same for all lanes, or, if MultiGroup, one for each lane: its vector holds the
// channels of several groups, and each lane takes those of its own.
struct Window {
  int pixel;  // floats from one staged pixel to the next
  int depth;
  int kernel_rows;
  int rows[kMaxKernelRows][kMaxTileRows];
  int weights[kMaxKernelRows];
};

// Value c of a pixel for all lanes. If MultiGroup, `index` says which of the pixel's channels each lane takes.
template <bool MultiGroup>
inline Vec value_at(const float* pixel, int c, Bits index) {
  if (!MultiGroup) return splat(pixel[c]);
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

// Where a tile's window begins: the staged pixel of its first output's first tap, and the weights.
struct TileOrigin {
  const float *pixels, *weights;
};

// sums[r][j][v] = first[v] + sum over taps t and values c of rows[r][j * S + t][c] * weights[c][t][v]
// `Pixel` is the window's where it is known beforehand, else 0.
template <int K, int S, int R, int J, int V, bool MultiGroup, int Pixel>
void accumulate(const Window& window, TileOrigin origin, const Vec* first, Vec* sums, Prefetcher& prefetcher) {
  Vec acc[R][J][V];  // in registers, once every loop over it is unrolled
#pragma GCC unroll 16
  for (int i = 0; i < R * J * V; ++i) acc[i / (J * V)][i / V % J][i % V] = first[i % V];
  const Bits lane = MultiGroup ? first_of_group(window.depth) : Bits{};
  const int64_t pixel = Pixel ? Pixel : window.pixel;
  Prefetcher::Stream prefetch = prefetcher.next_stream();
  for (int i = 0; i < window.kernel_rows; ++i) {
    const float* weights = origin.weights + window.weights[i];
    const float* rows[R];
#pragma GCC unroll 4
    for (int r = 0; r < R; ++r) rows[r] = origin.pixels + window.rows[i][r];
    for (int c = 0; c < window.depth; ++c, weights += K * V * kLanes) {
      prefetch.issue();
      Vec taps[K][V];
#pragma GCC unroll 16
      for (int t = 0; t < K * V; ++t) taps[t / V][t % V] = load(weights + t * kLanes);
#pragma GCC unroll 4
      for (int r = 0; r < R; ++r) {
#pragma GCC unroll 40
        for (int p = 0; p < (J - 1) * S + K; ++p) {
          const Vec value = value_at<MultiGroup>(rows[r] + p * pixel, c, lane + c);
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
template <int R, int J, int V, bool MultiGroup>
void accumulate_any(const Window& window, TileOrigin origin, const Vec* first, Vec* sums, int taps, int step) {
  for (int i = 0; i < R * J * V; ++i) sums[i] = first[i % V];
  const Bits lane = MultiGroup ? first_of_group(window.depth) : Bits{};
  for (int i = 0; i < window.kernel_rows; ++i) {
    const float* weights = origin.weights + window.weights[i];
    for (int c = 0; c < window.depth; ++c)
      for (int t = 0; t < taps; ++t, weights += V * kLanes)
        for (int r = 0; r < R; ++r) {
          const float* pixel = origin.pixels + window.rows[i][r] + t * window.pixel;
          for (int j = 0; j < J; ++j, pixel += step * window.pixel) {
            const Vec value = value_at<MultiGroup>(pixel, c, lane + c);
            for (int v = 0; v < V; ++v) sums[(r * J + j) * V + v] += value * load(weights + v * kLanes);
          }
        }
  }
}

template <int K, int S, int R, int J, int V, bool MultiGroup>
void accumulate(const Window& window, TileOrigin origin, const Vec* first, Vec* sums, Prefetcher& prefetcher) {
  if (MultiGroup || window.pixel == kLanes)
    return accumulate<K, S, R, J, V, MultiGroup, kLanes>(window, origin, first, sums, prefetcher);
  if constexpr (V == 2)  // a group with more channels than it has outputs is rare
    if (window.pixel == 2 * kLanes)
      return accumulate<K, S, R, J, V, false, 2 * kLanes>(window, origin, first, sums, prefetcher);
  accumulate<K, S, R, J, V, false, 0>(window, origin, first, sums, prefetcher);
}

// Not inlined: the same code serves all types of entries.
template <int R, int J, int V, bool MultiGroup>
[[gnu::noinline]] void accumulate(const Window& window, TileOrigin origin, const Vec* first, Vec* sums, int taps,
                                  int step, Prefetcher& prefetcher) {
  using Unrolled = TapsList<Taps<1, 1>, Taps<2, 1>, Taps<3, 1>, Taps<5, 1>, Taps<3, 2>, Taps<5, 2>>;
  with_taps(
      Unrolled(), taps, step,
      [&](auto known) {
        accumulate<decltype(known)::count, decltype(known)::stride, R, J, V, MultiGroup>(window, origin, first, sums,
                                                                                         prefetcher);
      },
      [&] { accumulate_any<R, J, V, MultiGroup>(window, origin, first, sums, taps, step); });
}

}  // namespace blocks
