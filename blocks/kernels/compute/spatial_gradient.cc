// Gradient of the filters of a spatial convolution in groups.
//
// For a vector of output channels, a row of the kernel and some input channels, the sums over all positions of a few
// rows stay in registers. Rows of both sides are staged as in spatial.cc.
#include <algorithm>
#include <vector>

#include "spatial.h"
#include "taps.h"
#include "window.h"

namespace blocks {
namespace {

constexpr int kPositions = 4;                      // that are summed at a time; gradients beyond a row are zeros
constexpr int kChannels = kLanes == 16 ? 8 : 4;    // input channels whose sums are in registers
constexpr int64_t kStagedFloats = 1 << 15;          // of each side, that are staged at a time, or one block's
constexpr int kEnough = 128;                       // columns of either side that outweigh moving the sums
constexpr int kFewest = 8;  // steps of kPositions, below which asking ahead costs more than it saves

// Staged rows that meet in one row of the kernel: offsets in any block of channels.
struct Meeting {
  int x, dy;
};

struct Sides {
  const float *x, *dy;  // a block of each
  const std::vector<Meeting>* meetings;
  int x_pixel, dy_pixel;  // floats from one pixel to the next
  int columns, step;  // of the gradients, and columns of x between neighbours
  int depth;  // input channels of a group
  Upcoming* next;
};

// sums[c][t] += sum over meetings and columns j of x[j * S + t][channel + c] * dy[j]
// `Pixel` is that of both sides where it is known beforehand, else 0.
template <int K, int S, int C, bool Spread, int Pixel>
void add_rows(const Sides& sides, int channel, float* sums) {
  Vec acc[C][K];  // in registers, once every loop over it is unrolled
#pragma GCC unroll 32
  for (int i = 0; i < C * K; ++i) acc[i / K][i % K] = load(sums + i * kLanes);
  const Bits first = Spread ? first_of_group(sides.depth) + channel : Bits{};
  const int64_t x_pixel = Pixel ? Pixel : sides.x_pixel, dy_pixel = Pixel ? Pixel : sides.dy_pixel;
  Upcoming::Share ahead = sides.next->next();
  for (const auto& meeting : *sides.meetings) {
    const float *x = sides.x + meeting.x + (Spread ? 0 : channel), *dy = sides.dy + meeting.dy;
    for (int j = 0; j < sides.columns; j += kPositions, x += kPositions * S * x_pixel, dy += kPositions * dy_pixel) {
      ahead.ask();
      Vec gradients[kPositions];
#pragma GCC unroll 4
      for (int i = 0; i < kPositions; ++i) gradients[i] = load(dy + i * dy_pixel);
#pragma GCC unroll 16
      for (int p = 0; p < (kPositions - 1) * S + K; ++p) {
#pragma GCC unroll 8
        for (int c = 0; c < C; ++c) {
          const Vec value = value_at<Spread>(x + p * x_pixel, c, first + c);
#pragma GCC unroll 8
          for (int t = 0; t < K; ++t)
            if (p >= t && (p - t) % S == 0 && (p - t) / S < kPositions) acc[c][t] += value * gradients[(p - t) / S];
        }
      }
    }
  }
#pragma GCC unroll 32
  for (int i = 0; i < C * K; ++i) store(sums + i * kLanes, acc[i / K][i % K]);
}

// The same for any number of taps and any step, one channel.
template <bool Spread>
void add_rows_any(const Sides& sides, int taps, int channel, float* sums) {
  const Bits index = Spread ? first_of_group(sides.depth) + channel : Bits{};
  for (int t = 0; t < taps; ++t) {
    Vec sum = load(sums + t * kLanes);
    for (const auto& meeting : *sides.meetings)
      for (int j = 0; j < sides.columns; ++j)
        sum += value_at<Spread>(sides.x + meeting.x + (j * sides.step + t) * sides.x_pixel, channel, index) *
               load(sides.dy + meeting.dy + j * sides.dy_pixel);
    store(sums + t * kLanes, sum);
  }
}

template <int K, int S, bool Spread, int Pixel>
void add_channels_of(const Sides& sides, float* sums) {
  constexpr int kMost = K > 3 ? 4 : kChannels;
  for (int c = 0; c < sides.depth;) {
    float* of = sums + int64_t(c) * K * kLanes;
    const int left = sides.depth - c;
    if (left >= kMost) add_rows<K, S, kMost, Spread, Pixel>(sides, c, of), c += kMost;
    else if (left >= 4) add_rows<K, S, 4, Spread, Pixel>(sides, c, of), c += 4;
    else add_rows<K, S, 1, Spread, Pixel>(sides, c, of), ++c;
  }
}

template <int K, int S, bool Spread>
void add_channels(const Sides& sides, float* sums) {
  const int pixel = sides.x_pixel == sides.dy_pixel ? sides.x_pixel : 0;
  if (Spread || pixel == kLanes) return add_channels_of<K, S, Spread, kLanes>(sides, sums);
  if (pixel == 2 * kLanes) return add_channels_of<K, S, false, 2 * kLanes>(sides, sums);
  add_channels_of<K, S, false, 0>(sides, sums);
}

template <bool Spread>
void add_channels(const Sides& sides, int taps, float* sums) {
  using Unrolled = TapsList<Taps<3, 1>, Taps<5, 1>, Taps<3, 2>, Taps<5, 2>>;
  with_taps(
      Unrolled(), taps, sides.step,
      [&](auto known) { add_channels<decltype(known)::count, decltype(known)::stride, Spread>(sides, sums); },
      [&] {
        for (int c = 0; c < sides.depth; ++c) add_rows_any<Spread>(sides, taps, c, sums + int64_t(c) * taps * kLanes);
      });
}

// What is summed apart: for each block and each of its vectors [row of the kernel][channel][tap][kLanes].
struct Units {
  bool spread;
  int blocks, each;  // vectors of a block
  int64_t row, size;  // floats of a row of the kernel, and of a vector

  explicit Units(const Spatial& s)
      : spread(spreads(s)),
        blocks(spread ? vectors(s.groups * s.outputs) : s.groups),
        each(spread ? 1 : vectors_of_group(s.outputs)),
        row(int64_t(s.inputs) * s.kernel_width * kLanes),
        size(row * s.kernel_height) {}
};

// Adds images [begin, end) for blocks [first, last).
template <class T, bool Spread>
void add_images(const Spatial& s, const Units& units, const T* x, const T* dy, float* sums, int64_t begin, int64_t end,
                int first, int last) {
  const int columns = (s.out_width + kPositions - 1) / kPositions * kPositions;
  const int enough = kEnough / s.stride_width;
  const int span = std::min(s.out_height, (enough + s.out_width - 1) / s.out_width);
  const int needed = std::max(0, std::min(s.width, (s.out_width - 1) * s.stride_width + s.kernel_width - s.left));
  Staged inputs(0, Spread ? kLanes : s.inputs, s.left, (columns - 1) * s.stride_width + s.kernel_width,
                span * s.stride_height + s.kernel_height, last - first, kStagedFloats);
  Staged gradients(1, Spread ? kLanes : s.outputs, 0, columns, span, inputs.blocks, kStagedFloats);
  std::vector<std::vector<Meeting>> meetings(s.kernel_height);
  const int goes = span * columns / kPositions;
  const int shares = units.each * s.kernel_height * ((s.inputs + kChannels - 1) / kChannels);
  Upcoming upcoming;
  Sides sides = {nullptr, nullptr,        nullptr,  inputs.pixel, gradients.pixel,
                 columns, s.stride_width, s.inputs, &upcoming};
  const int x_channels = s.groups * s.inputs, dy_channels = s.groups * s.outputs;
  const auto x_row = [&](int64_t image, int y) { return x + (image * s.height + y) * s.width * x_channels; };
  const auto dy_row = [&](int64_t image, int y) { return dy + (image * s.out_height + y) * s.out_width * dy_channels; };
  const auto met_by = [&](const Step& step) {  // first row of x that these gradients meet, and the one behind
    return std::make_pair(std::max(0, step.top * s.stride_height - s.top),
                          std::min(s.height, (step.bottom - 1) * s.stride_height + s.kernel_height - s.top));
  };
  const std::vector<Step> steps =
      steps_of(begin * s.out_height, end * s.out_height, s.out_height, span, first, last, gradients.blocks);
  int ready = 0;  // rows of x before this one are staged, or not needed
  for (size_t i = 0; i < steps.size(); ++i) {
    const Step& now = steps[i];
    const auto [low, behind] = met_by(now);
    for (int y = now.fresh ? low : std::max(ready, low); y < behind; ++y)
      inputs.fill<Spread>(x_row(now.image, y), y, needed, x_channels, now.block, now.blocks);
    ready = now.fresh ? behind : std::max(ready, behind);
    for (int y = now.top; y < now.bottom; ++y)
      gradients.fill<Spread>(dy_row(now.image, y), y, s.out_width, dy_channels, now.block, now.blocks);
    for (int ky = 0; ky < s.kernel_height; ++ky) {
      meetings[ky].clear();
      for (int y = now.top; y < now.bottom; ++y) {
        const int met = y * s.stride_height + ky - s.top;
        if (met >= 0 && met < s.height) meetings[ky].push_back({inputs.row(met), gradients.row(y)});
      }
    }
    Ahead next_x, next_dy;
    int following = 0;
    if (i + 1 < steps.size()) {
      const Step& next = steps[i + 1];
      const auto [lowest, beyond] = met_by(next);
      const int from = next.fresh ? lowest : std::max(ready, lowest);
      following = next.block;
      next_x = Ahead(x_row(next.image, from), std::max(0, beyond - from) * s.width, x_channels * sizeof(T));
      next_dy = Ahead(dy_row(next.image, next.top), (next.bottom - next.top) * s.out_width, dy_channels * sizeof(T));
      if (goes >= kFewest) upcoming.divide(next_x.pieces + next_dy.pieces, shares, goes);
    }
    for (int block = 0; block < now.blocks; ++block) {
      const int at = following + block;
      upcoming.first = next_x.shifted((Spread ? offset_of(at, x_channels) : at * s.inputs) * int64_t(sizeof(T)));
      upcoming.second = next_dy.shifted((Spread ? offset_of(at, dy_channels) : at * s.outputs) * int64_t(sizeof(T)));
      for (int v = 0; v < units.each; ++v)
        for (int ky = 0; ky < s.kernel_height; ++ky) {
          sides.x = inputs.block(block);
          sides.dy = gradients.block(block) + (Spread ? 0 : offset_in_group(v, s.outputs));
          sides.meetings = &meetings[ky];
          add_channels<Spread>(sides, s.kernel_width,
                               sums + ((now.block + block) * units.each + v) * units.size + ky * units.row);
        }
    }
  }
}

}  // namespace

template <class T>
void spatial_filter_gradient(const Spatial& s, const T* x, const T* dy, float* d_kernel, const Parallel& parallel) {
  const Units units(s);
  // Threads share the blocks; where these are too few, the images too, whose sums are added up afterwards.
  const int shares = std::min(units.blocks, parallel.threads);
  const int64_t parts = std::max<int64_t>(1, std::min<int64_t>(s.batch, parallel.threads / shares));
  const int64_t size = units.blocks * units.each * units.size;
  float* sums = scratch(kShared, size * parts);
  parallel.run(shares * parts, [&](int64_t task) {
    const int64_t part = task / shares, share = task % shares;
    const int first = int(units.blocks * share / shares), last = int(units.blocks * (share + 1) / shares);
    float* own = sums + part * size;
    std::memset(own + first * units.each * units.size, 0, sizeof(float) * (last - first) * units.each * units.size);
    const int64_t begin = s.batch * part / parts, end = s.batch * (part + 1) / parts;
    if (units.spread) add_images<T, true>(s, units, x, dy, own, begin, end, first, last);
    else add_images<T, false>(s, units, x, dy, own, begin, end, first, last);
  });
  const int64_t channels = int64_t(s.groups) * s.outputs;
  const int lanes = units.spread ? kLanes : std::min(kLanes, s.outputs);
  parallel.run(shares, [&](int64_t share) {
    const int first = int(units.blocks * share / shares), last = int(units.blocks * (share + 1) / shares);
    for (int unit = first * units.each; unit < last * units.each; ++unit) {
      const int block = unit / units.each;
      float* to = d_kernel + (units.spread ? offset_of(block, int(channels))
                                           : block * s.outputs + offset_in_group(unit % units.each, s.outputs));
      const float* from = sums + unit * units.size;
      for (int ky = 0; ky < s.kernel_height; ++ky)
        for (int c = 0; c < s.inputs; ++c)
          for (int kx = 0; kx < s.kernel_width; ++kx, from += kLanes) {
            Vec sum = load(from);
            for (int64_t part = 1; part < parts; ++part) sum += load(from + part * size);
            store_some(to + ((int64_t(ky) * s.kernel_width + kx) * s.inputs + c) * channels, sum, lanes);
          }
    }
  });
}

#define BLOCKS_INSTANTIATE(T) \
  template void spatial_filter_gradient<T>(const Spatial&, const T*, const T*, float*, const Parallel&);
BLOCKS_INSTANTIATE(float)
BLOCKS_INSTANTIATE(bf16)

}  // namespace blocks
