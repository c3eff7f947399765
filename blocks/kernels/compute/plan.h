// Which rows and columns a spatial convolution, or the gradient of its inputs, reads, and the weights in that order.
#pragma once

#include <algorithm>
#include <utility>
#include <vector>

#include "integers.h"
#include "simd.h"

namespace blocks {

// One convolution over rows of source images, of which every output is a sum of consecutive columns.
// The gradient of a strided convolution is one for each remainder of the column: a phase.
struct Phase {
  int first, step;  // of the columns of the outputs
  int count;  // of outputs in a row
  int shift;  // the column of the first tap of the first output
  std::vector<int> taps;  // columns of the kernel, in the order of the source's columns
};

struct Plan {
  int height, width, channels;  // of the sources
  int out_height, out_width, out_channels;
  int stride;  // columns of the source between neighbouring outputs
  int depth;                   // source channels of a group
  int out_channels_per_group;
  bool transposed;
  std::vector<Phase> phases;
  int before;  // zeros in front of a staged row
};

// The row of the source that output row y reads with row `ky` of the kernel; negative where there is none.
inline int source_row(const Spatial& s, bool transposed, int y, int ky) {
  if (!transposed) {
    const int row = y * s.stride_height + ky - s.pad_top;
    return row < s.height ? row : -1;
  }
  const int dilated_row = y + s.pad_top - ky;
  if (dilated_row < 0 || dilated_row % s.stride_height) return -1;
  return dilated_row / s.stride_height < s.out_height ? dilated_row / s.stride_height : -1;
}

// First and last row of the source that output rows [top, bottom) read.
inline std::pair<int, int> source_rows(const Spatial& s, const Plan& plan, int top, int bottom) {
  if (!plan.transposed)
    return {std::max(0, top * s.stride_height - s.pad_top),
            std::min(s.height - 1, (bottom - 1) * s.stride_height + s.kernel_height - 1 - s.pad_top)};
  return {std::max(0, floor_div(top + s.pad_top - s.kernel_height + 1, s.stride_height)),
          std::min(s.out_height - 1, floor_div(bottom - 1 + s.pad_top, s.stride_height))};
}

// How many rows of the source `count` neighbouring output rows read at most.
inline int max_source_rows(const Spatial& s, bool transposed, int count) {
  if (!transposed) return (count - 1) * s.stride_height + s.kernel_height;
  return (count + s.kernel_height - 2 + s.stride_height - 1) / s.stride_height + 1;
}

inline Plan plan_of(const Spatial& s, bool transposed) {
  Plan plan;
  plan.transposed = transposed;
  if (!transposed) {
    plan = {s.height,
            s.width,
            s.groups * s.in_channels_per_group,
            s.out_height,
            s.out_width,
            s.groups * s.out_channels_per_group,
            s.stride_width,
            s.in_channels_per_group,
            s.out_channels_per_group,
            false,
            {},
            0};
    Phase phase{0, 1, s.out_width, -s.pad_left, {}};
    for (int kx = 0; kx < s.kernel_width; ++kx) phase.taps.push_back(kx);
    plan.phases.push_back(phase);
  } else {
    plan = {s.out_height,
            s.out_width,
            s.groups * s.out_channels_per_group,
            s.height,
            s.width,
            s.groups * s.in_channels_per_group,
            1,
            s.out_channels_per_group,
            s.in_channels_per_group,
            true,
            {},
            0};
    for (int first = 0; first < std::min(s.stride_width, s.width); ++first) {
      Phase phase{first, s.stride_width, (s.width - first + s.stride_width - 1) / s.stride_width, 0, {}};
      for (int kx = s.kernel_width - 1; kx >= 0; --kx) {
        const int dilated_column = first + s.pad_left - kx;
        if (dilated_column - floor_div(dilated_column, s.stride_width) * s.stride_width) continue;
        if (phase.taps.empty()) phase.shift = floor_div(dilated_column, s.stride_width);
        phase.taps.push_back(kx);
      }
      plan.phases.push_back(phase);
    }
  }
  for (const auto& phase : plan.phases) plan.before = std::max(plan.before, -phase.shift);
  return plan;
}

// Weights of `count` vectors of outputs, `second_vector` channels apart: for each phase and row of the kernel
// [depth][taps][count][kLanes].
inline void pack_weights(const Spatial& s, const Plan& plan, const float* kernel, int channel, int second_vector,
                         int count, int lanes, float* to) {
  const int64_t row = int64_t(s.groups) * s.out_channels_per_group,
                tap = row * s.in_channels_per_group;  // floats of the kernel
  std::vector<int64_t> places(count * kLanes);  // transposed: where the weights of each input channel begin
  for (int v = 0; v < count; ++v)
    for (int lane = 0; lane < kLanes; ++lane) {
      const int c = channel + v * second_vector + std::min(lane, lanes - 1);
      places[v * kLanes + lane] =
          c % s.in_channels_per_group * row + c / s.in_channels_per_group * s.out_channels_per_group;
    }
  for (const auto& phase : plan.phases)
    for (int ky = 0; ky < s.kernel_height; ++ky)
      for (int c = 0; c < plan.depth; ++c)
        for (int kx : phase.taps) {
          const float* from = kernel + (int64_t(ky) * s.kernel_width + kx) * tap;
          for (int v = 0; v < count; ++v, to += kLanes) {
            if (!plan.transposed) store(to, load_tail(from + c * row + channel + v * second_vector, lanes));
            else
              for (int lane = 0; lane < kLanes; ++lane) to[lane] = from[places[v * kLanes + lane] + c];
          }
        }
}

}  // namespace blocks
